"""Fit a forecaster and measure it on the test rows: `python -m experiments.train forecaster=cnn`."""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, number
from experiments.loads import FORECASTER, build_study


@experiment(**FORECASTER)
def main(job: Job, folder: Path) -> Ending:
    """Save the model with its card, and its metrics on the test rows."""
    from unlearn.forecasters import save_forecaster

    study = build_study(job)
    save_forecaster(study.model, folder / "model")
    table = study.records("train")
    study.original.add_means(table, study.priced_test_rows, method="original", split="test")
    records = write_records(job, table.to_frame(), folder)
    names = {"cost": "Operating cost on test hours", "mape": "MAPE on test hours", "mse": "MSE on test hours"}
    return Ending([number(name, records, metric=metric) for metric, name in names.items()], folder)


if __name__ == "__main__":
    main()
