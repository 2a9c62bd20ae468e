"""Influence of every training row on a criterion: `python -m experiments.influence criterion=cost`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.app import experiment, write_records
from experiments.build import build_study
from experiments.endings import Ending, number
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.records import write_parquet


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Write the influence of each row (positive: its removal makes the criterion worse) and a summary."""
    if config.criterion.name is None:
        raise InputError("influence needs a criterion: criterion=mse, criterion=mape or criterion=cost.")
    study = build_study(config)
    influence = pd.Series(study.influence(config.criterion.name))
    rows = study.training_rows
    scores = pd.DataFrame({"row": rows, "time": study.dataset.timestamps[rows], "influence": influence})
    write_parquet(scores, folder / "influence.parquet")
    table = study.records("influence")
    unit = study.criteria[config.criterion.name].unit
    summary = {"mean": influence.mean(), "std": influence.std(), "min": influence.min(), "max": influence.max()}
    for name, value in summary.items():
        table.add(f"influence_{name}", float(value), unit, method="original", criterion=config.criterion.name)
    table.add("helpful_share", float((influence > 0).mean()), "share", criterion=config.criterion.name)
    records = write_records(config, table.to_frame(), folder)
    names = {
        "helpful_share": f"Training rows whose removal makes the {config.criterion.name} worse",
        "influence_max": "Influence of the most helpful row",
        "influence_min": "Influence of the most harmful row",
    }
    return Ending([number(name, records, metric=metric) for metric, name in names.items()], folder)


if __name__ == "__main__":
    main()
