"""What a study shows: each run its records, figure and page; several runs one for all. Studies are found by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd

from experiments.app import Job, write_records
from experiments.jobs import RECORDS
from unlearn.errors import InputError
from unlearn.records import read_parquet
from unlearn.store import only_for_owner


class Shown(NamedTuple):
    """How a study shows its records.

    Attributes:
        report: its module `report`: `save(records, stem)`, `write_page(records, png, path)`, and `TOGETHER` where
            several runs can be drawn together.
        verdict: its module `verdict`: `summarise(records)`.
    """

    report: ModuleType
    verdict: ModuleType


def shown(name: str) -> Shown:
    """Find how a study shows its records.

    Args:
        name: of a study in `unlearn.studies`, by its folder, or the path of any package with
            the modules `report` and `verdict`, such as "my_package.my_study".

    Raises:
        InputError: no such study; says what is expected where.
    """
    package = name if "." in name else f"unlearn.studies.{name}"
    if not is_shown(name):
        raise InputError(f"study {name!r}: expected a package {package} with the modules report and verdict, got none.")
    return Shown(import_module(f"{package}.report"), import_module(f"{package}.verdict"))


def is_shown(name: str) -> bool:
    """Whether there is such a study."""
    package = name if "." in name else f"unlearn.studies.{name}"
    try:
        return find_spec(f"{package}.report") is not None and find_spec(f"{package}.verdict") is not None
    except ModuleNotFoundError:
        return False


def publish(job: Job, name: str, records: pd.DataFrame, folder: Path) -> Path:
    """Write a run's records, figure and page, and print what they say; return the page."""
    study = shown(name)
    records = write_records(job, records, folder)
    page = folder / "index.html"
    study.report.write_page(records, study.report.save(records, folder / name.rpartition(".")[-1]), page)
    sys.stdout.write("\n".join(study.verdict.summarise(records)) + "\n")
    return page


def draw_together(jobs: Sequence[Path], folder: Path) -> list[str]:
    """Draw all runs of each study in one figure and page; what they share, such as real data, counts once.

    Runs with a release in steps of an hour measure real days in hours, too, whose numbers are others: beside runs in
    shorter steps they have a figure and page of their own, named after the steps of a day.

    Returns:
        The studies among the jobs whose runs can be drawn together.

    Raises:
        InputError: the runs measured the same thing with different results, so their settings differ.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for table in (read_parquet(job / RECORDS) for job in jobs):
        if table["experiment"].nunique() == 1:
            tables.setdefault(str(table["experiment"].iloc[0]), []).append(table)
    drawn = [name for name in tables if "." not in name and is_shown(name)]
    drawn = [name for name in drawn if getattr(shown(name).report, "TOGETHER", False)]
    for name in drawn:
        only_for_owner(folder)
        # Bus loads are in hours in every run: the steps of a run are those of its other numbers, where it has any.
        steps = [int(table["n_steps"].max()) for table in tables[name]]
        report = shown(name).report
        for n_steps in set(steps):
            records = _joined(name, [table for table, own in zip(tables[name], steps, strict=True) if own == n_steps])
            stem = name if n_steps == max(steps) else f"{name}_{n_steps}_steps"
            report.write_page(records, report.save(records, folder / stem), folder / f"{stem}.html")
    return drawn


def _joined(name: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Records of several runs, each number once."""
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
    return records
