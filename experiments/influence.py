"""Influence of every training row on a criterion: `python -m experiments.influence criterion=cost`."""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, number
from experiments.groups import Group
from experiments.loads import FORECASTER, build_criterion, build_study
from unlearn.linalg.options import IhvpOptions


@experiment(**FORECASTER, ihvp=IhvpOptions, criterion=Group("criterion", later=True))
def main(job: Job, folder: Path) -> Ending:
    """Write the influence of each row (positive: its removal makes the criterion worse) and a summary."""
    import pandas as pd

    from unlearn.records import write_parquet

    cost = job.grid.build()
    criterion = build_criterion(job, cost)
    study = build_study(job, cost, own_criteria=[criterion])
    influence = pd.Series(study.influence(criterion.name))
    rows = study.training_rows
    scores = pd.DataFrame({"row": rows, "time": study.dataset.timestamps[rows], "influence": influence})
    write_parquet(scores, folder / "influence.parquet")
    table = study.records("influence")
    summary = {"mean": influence.mean(), "std": influence.std(), "min": influence.min(), "max": influence.max()}
    for name, value in summary.items():
        table.add(f"influence_{name}", float(value), criterion.unit, method="original", criterion=criterion.name)
    table.add("helpful_share", float((influence > 0).mean()), "share", criterion=criterion.name)
    records = write_records(job, table.to_frame(), folder)
    names = {
        "helpful_share": f"Training rows whose removal makes the {criterion.name} worse",
        "influence_max": "Influence of the most helpful row",
        "influence_min": "Influence of the most harmful row",
    }
    return Ending([number(name, records, metric=metric) for metric, name in names.items()], folder)


if __name__ == "__main__":
    main()
