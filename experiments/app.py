"""What every entry point shares: typed configuration, threads, provenance, clear errors."""

from __future__ import annotations

import functools
import logging
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
from omegaconf import DictConfig, OmegaConf

from experiments.schema import Config, register
from unlearn.errors import UnlearnError
from unlearn.records import config_hash, provenance, write_json, write_parquet

CONF = str(Path(__file__).resolve().parents[1] / "conf")
log = logging.getLogger(__name__)

register()


def experiment(task: Callable[[Config, Path], None]) -> Callable[[], None]:
    """Turn `task(config, folder)` into a Hydra program that writes a card beside its results."""

    @hydra.main(version_base="1.3", config_path=CONF, config_name="config")
    @functools.wraps(task)
    def main(raw: DictConfig) -> None:
        start = time.perf_counter()
        config = to_config(raw)
        folder = Path(HydraConfig.get().runtime.output_dir)
        torch.set_num_threads(config.threads)
        try:
            task(config, folder)
        except UnlearnError as error:
            log.error("%s: %s", type(error).__name__, error)
            sys.exit(1)
        write_card(config, folder, time.perf_counter() - start)
        log.info("results in %s", folder)

    return main


def to_config(raw: DictConfig) -> Config:
    """Resolve a composed configuration into its dataclasses; every missing value is refused."""
    config = OmegaConf.to_object(raw)
    if not isinstance(config, Config):
        raise TypeError(f"expected the schema of experiments.schema.Config, got {type(config).__name__}")
    return config


def identity(config: Config) -> dict[str, Any]:
    """The configuration without what changes no result: processes, threads, folders."""
    settings = asdict(config)
    for neutral in ("threads", "models", "records"):
        settings.pop(neutral)
    for neutral in ("jobs", "folder"):
        settings["paper"].pop(neutral)
    return settings


def write_records(config: Config, records: pd.DataFrame, folder: Path) -> None:
    """Write a run's records, each with the hash of the configuration that `run.json` holds."""
    write_parquet(records.assign(config_hash=config_hash(identity(config))), folder / "records.parquet")


def write_card(config: Config, folder: Path, seconds: float, **more: Any) -> dict[str, Any]:
    """Write and return the configuration, its hash, the versions and the wall time."""
    card = {"config": asdict(config), "config_hash": config_hash(identity(config)), "seconds": round(seconds, 1)}
    card |= {**more, **provenance()}
    write_json(card, folder / "run.json")
    return card
