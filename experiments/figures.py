"""Figures from records alone: `python -m experiments.figures 'records=[results/paper]'`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.jobs import RECORDS, gather
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.plotting import (
    is_spread,
    save_all,
    save_fidelity,
    save_spread,
    save_utility,
    write_fidelity_page,
    write_utility_page,
)
from unlearn.records import collect

#: Experiments whose runs are drawn together, such as those of a sweep over generators: figure and page.
TOGETHER = {"fidelity": (save_fidelity, write_fidelity_page), "utility": (save_utility, write_utility_page)}


@experiment
def main(config: Config, folder: Path) -> None:
    """Draw what the folders in `records` and below hold (default: the paper's) into this run's folder."""
    folders = config.records or [config.paper.folder]
    jobs = gather(folders)
    drawn = [name for name in TOGETHER if _draw_together(name, jobs, folder)]
    samples = [file for job in jobs for file in sorted(job.glob("samples*.parquet"))]
    if samples:
        _draw_paper(jobs, samples, folder / "figures")
    elif not drawn:
        raise InputError(
            f"records: expected runs of paper, fidelity or utility in {', '.join(folders)}, got none; run one first."
        )


def _draw_paper(jobs: Sequence[Path], samples: Sequence[Path], folder: Path) -> None:
    records = collect([job / RECORDS for job in jobs if (job / RECORDS).is_file()])
    if is_spread(records):
        save_spread(records, folder)
    else:
        save_all(records, pd.concat([pd.read_parquet(file) for file in samples], ignore_index=True), folder)


def _draw_together(name: str, jobs: Sequence[Path], folder: Path) -> bool:
    """Draw all runs of one experiment in one figure and page; what they share, such as real data, counts once."""
    tables = [
        table for table in (pd.read_parquet(job / RECORDS) for job in jobs) if (table["experiment"] == name).all()
    ]
    if not tables:
        return False
    save, write_page = TOGETHER[name]
    records = pd.concat(tables, ignore_index=True)
    keys = [column for column in records.columns if column not in ("value", "config_hash")]
    records = records.drop_duplicates([*keys, "value"], ignore_index=True)
    twice = records[records.duplicated(keys, keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"records: expected runs of {name} with the same households and settings, got {len(twice)} numbers that "
            f"differ, such as {first['metric']} of {first['generator']} for seed {first['seed']}. Name other folders."
        )
    png = save(records, folder / name)
    write_page(records, png, folder / f"{name}.html")
    return True


if __name__ == "__main__":
    main()
