"""From a typed configuration to the library's objects."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

import unlearn
from experiments.schema import Config
from unlearn.checks import IntArray
from unlearn.data import FAIR, PUBLISHED, LoadDataset, SplitSpec
from unlearn.errors import InputError
from unlearn.evaluation import Study
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import config_hash, source_fingerprint
from unlearn.unlearning import select

log = logging.getLogger(__name__)


def build_cost(config: Config) -> OperatingCost:
    """Compile the grid's programs."""
    grid = config.grid
    return OperatingCost(unlearn.load_case(grid.case), grid.derivative, grid.form, grid.bounds)


def build_split(config: Config) -> SplitSpec:
    """The split of the protocol, with whatever the configuration changes in it."""
    split = config.split
    base = PUBLISHED if config.protocol == "published" else FAIR
    return SplitSpec(
        train=base.train if split.train is None else split.train,
        validation=base.validation if split.validation is None else split.validation,
        core=split.core,
        core_choice=split.core_choice,
        seed=split.seed,
    )


def build_dataset(config: Config, cost: OperatingCost) -> LoadDataset:
    """Load the data and scale it to the grid: over the whole year as published, or over training rows."""
    options = asdict(config.data)
    over = "all" if config.protocol == "published" else "train"
    return unlearn.load_dataset(
        options.pop("source"),
        nominal_mw=cost.case.nominal_load_mw,
        scale_over=over,
        split=build_split(config),
        **options,
    )


def build_model(config: Config, dataset: LoadDataset) -> Forecaster:
    """Fit the forecaster, or take the same one from the folder of models."""
    network = config.forecaster.kind != "linear"
    identity = {
        "kind": config.forecaster.kind,
        "l2": config.forecaster.l2,
        "fingerprint": dataset.fingerprint,
        "source": source_fingerprint(),
        **({"training": asdict(config.training), "seed": config.seed} if network else {}),
    }
    folder = Path(config.models) / f"{config.forecaster.kind}-{config_hash(identity)}"
    if (folder / "card.json").is_file():
        log.info("model from %s", folder)
        return unlearn.load_forecaster(folder)
    model: Forecaster
    if network:
        training = unlearn.TrainingOptions(**asdict(config.training))
        model = unlearn.fit_network(dataset, config.forecaster.kind, training, config.seed, config.forecaster.l2)
    else:
        model = unlearn.fit_linear(dataset, config.forecaster.l2)
    unlearn.save_forecaster(model, folder)
    log.info("model fitted and saved to %s", folder)
    return model


def build_study(config: Config) -> Study:
    """Grid, data and model together, under the configuration's protocol."""
    cost = build_cost(config)
    dataset = build_dataset(config, cost)
    unlearning = config.unlearning
    return Study(
        model=build_model(config, dataset),
        dataset=dataset,
        cost=cost,
        protocol=config.protocol,
        select_by=unlearning.select_by,
        selection=unlearning.selection if unlearning.selection in ("helpful", "harmful", "random") else "random",
        hours=config.evaluation.hours,
        ihvp=unlearn.IhvpOptions(**asdict(config.ihvp)),
        linf_budget=unlearning.linf_budget,
        seed=config.seed,
        labels={"config_hash": config_hash(asdict(config))},
    )


def rows_to_unlearn(config: Config, study: Study) -> IntArray:
    """Positions in the head's training rows that the configuration asks to forget."""
    wanted = config.unlearning
    if wanted.selection == "time_range":
        hours = study.dataset.timestamps[study.training_rows]
        return select.in_time_range(hours, str(wanted.start), str(wanted.end))
    if wanted.selection == "mask":
        return select.by_mask(_read_mask(str(wanted.mask)), len(study.training_rows))
    return study.rows_to_unlearn(wanted.share)


def _read_mask(path: str) -> np.ndarray:
    try:
        table = pd.read_parquet(path)
    except (FileNotFoundError, OSError) as error:
        raise InputError(
            f"unlearning.mask: {path}: expected a parquet file with one boolean column ({error})."
        ) from error
    if table.shape[1] != 1:
        raise InputError(f"unlearning.mask: {path}: expected one boolean column, got {list(table.columns)}.")
    return table.iloc[:, 0].to_numpy()
