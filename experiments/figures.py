"""Figures from records alone: `python -m experiments.figures 'records=[results/paper]'`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.jobs import RECORDS, gather
from experiments.together import draw_together
from unlearn.errors import InputError
from unlearn.records import collect, read_parquet


@experiment(records=("results/paper",))
def main(job: Job, folder: Path) -> Ending:
    """Draw what the folders in `records` and below hold (default: the paper's) into this run's folder."""
    folders = job.records
    jobs = gather(folders)
    before = set(folder.rglob("*.png"))
    drawn = draw_together(jobs, folder)
    samples = [file for job in jobs for file in sorted(job.glob("samples*.parquet"))]
    if samples:
        _draw_paper(jobs, samples, folder / "figures")
    elif not drawn:
        raise InputError(
            f"records: expected runs of paper, fidelity, utility or leakage in {', '.join(folders)}, got none; run one "
            "first."
        )
    numbers = [
        Number("Runs", len(jobs)),
        Number("Records", sum(len(read_parquet(job / RECORDS)) for job in jobs)),
        Number("Figures", len(set(folder.rglob("*.png")) - before)),
    ]
    return Ending(numbers, folder)


def _draw_paper(jobs: Sequence[Path], samples: Sequence[Path], folder: Path) -> None:
    from unlearn.studies.paper.report import save

    records = collect([job / RECORDS for job in jobs if (job / RECORDS).is_file()])
    save(records, folder, pd.concat([read_parquet(file) for file in samples], ignore_index=True))


if __name__ == "__main__":
    main()
