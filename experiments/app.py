"""What every entry point shares: typed configuration, threads, provenance, clear errors, jobs that are not repeated."""

from __future__ import annotations

import copy
import functools
import logging
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from threadpoolctl import threadpool_limits

from experiments.jobs import CARD, RECORDS, identity, is_complete, made_of
from experiments.schema import Config, register
from unlearn.errors import InputError, UnlearnError
from unlearn.records import config_hash, provenance, write_json, write_parquet

CONF = str(Path(__file__).resolve().parents[1] / "conf")
log = logging.getLogger(__name__)

register()


def experiment(task: Callable[[Config, Path], None]) -> Callable[[], None]:
    """Turn `task(config, folder)` into a Hydra program that writes a card beside its results.

    A job of a sweep that is complete in its folder already is not run again.
    """

    @hydra.main(version_base="1.3", config_path=CONF, config_name="config")
    @functools.wraps(task)
    def main(raw: DictConfig) -> None:
        start = time.perf_counter()
        config = to_config(raw)
        own = HydraConfig.get()
        folder = Path(own.runtime.output_dir)
        sweeping = own.mode == RunMode.MULTIRUN
        torch.set_num_threads(config.threads)
        try:
            _enter(Path(own.runtime.cwd))
            made = {"config_hash": config_hash(identity(config)), "made_of": made_of(config)}
            if sweeping and is_complete(folder, made):
                log.info("complete already, not run again: %s", folder)
                return
            # Without a card while it runs: an interrupted run is not taken for the one before.
            (folder / CARD).unlink(missing_ok=True)
            with threadpool_limits(config.threads):
                task(config, folder)
        except UnlearnError as error:
            log.error("%s: %s", type(error).__name__, error)
            if sweeping:
                raise  # a launcher lets the other jobs go on, which an exit would stop
            sys.exit(1)
        write_card(config, folder, time.perf_counter() - start, made_of=made["made_of"])
        log.info("results in %s", folder)

    return main


def _enter(folder: Path) -> None:
    """Make relative paths mean the folder that the program was started in, wherever a launcher runs the job."""
    if Path.cwd() == folder:
        return
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder that the sweep was started in on {platform.node()} too, got none. "
            "Start sweeps for several machines in a folder that they share."
        )
    os.chdir(folder)


def to_config(raw: DictConfig) -> Config:
    """Resolve a composed configuration into its dataclasses; every missing value is refused."""
    config = OmegaConf.to_object(raw)
    if not isinstance(config, Config):
        raise TypeError(f"expected the schema of experiments.schema.Config, got {type(config).__name__}")
    return config


def job_folder(*, _root_: DictConfig) -> str:
    """Name a job's folder after experiment and configuration: one job, one folder, on every machine."""
    raw = copy.deepcopy(_root_)
    with read_write(raw), open_dict(raw):
        del raw["hydra"]
    return f"{_root_.hydra.job.name}-{config_hash(identity(to_config(raw)))}"


# `token` is cached, as `now` is: all jobs of a sweep see the same one.
OmegaConf.register_new_resolver("token", lambda: secrets.token_hex(4), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def write_records(config: Config, records: pd.DataFrame, folder: Path) -> None:
    """Write a run's records, each with the hash of the configuration that `run.json` holds."""
    write_parquet(records.assign(config_hash=config_hash(identity(config))), folder / RECORDS)


def write_card(config: Config, folder: Path, seconds: float, **more: Any) -> dict[str, Any]:
    """Write and return the configuration, its hash, the versions and the wall time."""
    card = {"config": asdict(config), "config_hash": config_hash(identity(config)), "seconds": round(seconds, 1)}
    card |= {**more, **provenance()}
    write_json(card, folder / CARD)
    return card
