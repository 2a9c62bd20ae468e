"""Figures from records alone: `python -m experiments.figures 'records=[results/paper]'`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.plotting import is_spread, save_all, save_spread


@experiment
def main(config: Config, folder: Path) -> None:
    """Draw what the folders in `records` hold (default: the paper's) into this run's folder."""
    folders = [Path(name) for name in config.records or [config.paper.folder]]
    missing = [str(f) for f in folders if not ((f / "records.parquet").is_file() and (f / "samples.parquet").is_file())]
    if missing:
        raise InputError(
            f"records: expected records.parquet and samples.parquet in {', '.join(missing)}; run paper first."
        )
    records = pd.concat([pd.read_parquet(f / "records.parquet") for f in folders], ignore_index=True)
    samples = pd.concat([pd.read_parquet(f / "samples.parquet") for f in folders], ignore_index=True)
    if is_spread(records):
        save_spread(records, folder / "figures")
    else:
        save_all(records, samples, folder / "figures")


if __name__ == "__main__":
    main()
