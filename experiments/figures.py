"""Figures from records alone: `python -m experiments.figures 'records=[results/paper]'`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.jobs import RECORDS, gather
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.plotting import is_spread, save_all, save_spread
from unlearn.records import collect


@experiment
def main(config: Config, folder: Path) -> None:
    """Draw what the folders in `records` and below hold (default: the paper's) into this run's folder."""
    folders = config.records or [config.paper.folder]
    jobs = gather(folders)
    samples = [file for job in jobs for file in sorted(job.glob("samples*.parquet"))]
    if not samples:
        raise InputError(f"records: expected samples.parquet in {', '.join(folders)}, got none; run paper first.")
    records = collect([job / RECORDS for job in jobs])
    drawn = pd.concat([pd.read_parquet(file) for file in samples], ignore_index=True)
    if is_spread(records):
        save_spread(records, folder / "figures")
    else:
        save_all(records, drawn, folder / "figures")


if __name__ == "__main__":
    main()
