"""What every entry point shares: typed configuration, threads, provenance, clear errors."""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from experiments.schema import Config, register
from unlearn.errors import UnlearnError
from unlearn.records import config_hash, provenance, write_json

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


def write_card(config: Config, folder: Path, seconds: float) -> None:
    """Write the configuration, its hash, the versions and the wall time."""
    settings = asdict(config)
    card = {"config": settings, "config_hash": config_hash(settings), "seconds": round(seconds, 1), **provenance()}
    write_json(card, folder / "run.json")
