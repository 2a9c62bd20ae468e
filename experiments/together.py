"""What `fidelity`, `utility`, `attack` show: each run its records, figure and page; several runs one for all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.app import write_records
from experiments.internal import only_for_owner
from experiments.jobs import RECORDS
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.records import read_parquet
from unlearn.studies.deletion.report import save_deletion, write_deletion_page
from unlearn.studies.deletion.verdict import summarise_deletion
from unlearn.studies.detection.report import save_anomaly, write_anomaly_page
from unlearn.studies.detection.thresholds_report import save_thresholds, write_thresholds_page
from unlearn.studies.detection.thresholds_verdict import summarise_thresholds
from unlearn.studies.detection.verdict import summarise_anomaly
from unlearn.studies.fidelity.report import save_fidelity, write_fidelity_page
from unlearn.studies.fidelity.verdict import summarise_fidelity
from unlearn.studies.leakage.report import save_leakage, write_leakage_page
from unlearn.studies.leakage.verdict import summarise_leakage
from unlearn.studies.poisoning.report import save_poisoning, write_poisoning_page
from unlearn.studies.poisoning.verdict import summarise_poisoning
from unlearn.studies.private_training.report import save_private_training, write_private_training_page
from unlearn.studies.private_training.verdict import summarise_private_training
from unlearn.studies.utility.report import save_utility, write_utility_page
from unlearn.studies.utility.verdict import summarise_utility

#: Of each experiment: figure, page, sentences.
_SHOWN = {
    "fidelity": (save_fidelity, write_fidelity_page, summarise_fidelity),
    "attack": (save_leakage, write_leakage_page, summarise_leakage),
    "utility": (save_utility, write_utility_page, summarise_utility),
    "private_training": (save_private_training, write_private_training_page, summarise_private_training),
    "anomaly": (save_anomaly, write_anomaly_page, summarise_anomaly),
    "thresholds": (save_thresholds, write_thresholds_page, summarise_thresholds),
    "poisoning": (save_poisoning, write_poisoning_page, summarise_poisoning),
    "unlearning_audit": (save_deletion, write_deletion_page, summarise_deletion),
}

#: Those whose runs can be drawn together.
TOGETHER = ("fidelity", "utility", "attack")


def publish(config: Config, name: str, records: pd.DataFrame, folder: Path) -> Path:
    """Write a run's records, figure and page, and print what they say; return the page."""
    save, write_page, summarise = _SHOWN[name]
    records = write_records(config, records, folder)
    page = folder / "index.html"
    write_page(records, save(records, folder / name), page)
    sys.stdout.write("\n".join(summarise(records)) + "\n")
    return page


def draw_together(name: str, jobs: Sequence[Path], folder: Path) -> bool:
    """Draw all runs of one experiment in one figure and page; what they share, such as real data, counts once.

    Runs with a release in steps of an hour measure real days in hours, too, whose numbers are others: beside runs in
    shorter steps they have a figure and page of their own, named after the steps of a day.

    Returns:
        Whether there was any run of the experiment among the jobs.

    Raises:
        InputError: the runs measured the same thing with different results, so their settings differ.
    """
    tables = [table for table in (read_parquet(job / RECORDS) for job in jobs) if (table["experiment"] == name).all()]
    # Bus loads are in hours in every run: the steps of a run are those of its other numbers, where it has any.
    steps = [int(table["n_steps"].max()) for table in tables]
    save, write_page, _ = _SHOWN[name]
    if tables:
        only_for_owner(folder)
    for n_steps in set(steps):
        records = _joined(name, [table for table, own in zip(tables, steps, strict=True) if own == n_steps])
        stem = name if n_steps == max(steps) else f"{name}_{n_steps}_steps"
        png = save(records, folder / stem)
        write_page(records, png, folder / f"{stem}.html")
    return bool(tables)


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
