"""Records of the study `tuning` that are committed: `python -m experiments.committed FOLDER` writes those of a run.

The paper's page shows them beside its own run. They are what that part of the page needs, as CSV: a first line that
says which run they are of, then a row per method and cell with a column per metric, in an order of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.jobs import CARD, RECORDS
from unlearn.errors import DataError, InputError, UnlearnError
from unlearn.records import joined, read_json, read_parquet
from unlearn.reporting.style import is_tiny
from unlearn.reporting.verdict import Block, select
from unlearn.store.files import write

FILE = Path(__file__).with_name("tuning_records.csv")
#: What is kept of each part: metrics with their units. Those of all parts but the audit are of test rows.
KEPT = {
    "main": {"cost": "money/h", "mape": "percent", "bias": "pu", "sheds": "share", "seconds": "s"},
    "prices": {"cost": "money/h"},
    "audit": {"auc": "", "bits_differ": "share"},
}
#: Significant digits of a number.
DIGITS = 6

_TEXTS = ["part", "data", "grid", "forecaster", "protocol", "selection", "method", "criterion", "attack"]
_NUMBERS = ["proportion", "price_ratio", "seed", "l1_budget"]
_KEYS, _ENDS = [*_TEXTS, *_NUMBERS], ["low", "high"]
_MAKE = "python -m experiments.committed FOLDER, with the folder of a run of experiments.tuning"


def write_committed(folder: Path, path: Path = FILE) -> Path:
    """Write what is kept of a run's records; the same run gives the same bytes.

    Args:
        folder: of a run of the study, with its records and its card.
        path: where they go.

    Raises:
        InputError: a run of something else, or a tiny one.
    """
    records, card = read_parquet(folder / RECORDS), read_json(folder / CARD)
    found = sorted(map(str, set(records["experiment"])))
    if found != ["tuning"] or is_tiny(records):
        got = "a tiny run" if found == ["tuning"] else f"one of {', '.join(found)}"
        raise InputError(f"{folder}: expected the folder of a whole run of tuning, got {got}. Name another folder.")
    body = _wide(records.reindex(columns=list(dict.fromkeys([*records, *_KEYS, *_ENDS])))).to_csv(
        index=False, lineterminator="\n"
    )
    about = {name: card[name] for name in ("written_utc", "source", "config_hash")}
    about |= {"records": len(records), "sha256": hashlib.sha256(body.encode()).hexdigest()}
    write(path, f"# {json.dumps(about)}\n{body}".encode())
    return path


def read_committed(path: Path = FILE) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read committed records, a row per number again, and what their first line says of their run.

    Raises:
        DataError: the file is damaged or was edited; says how to write it anew.
    """
    first, _, body = path.read_text(encoding="utf-8").partition("\n")
    try:
        about = json.loads(first.removeprefix("#"))
        whole = about["sha256"] == hashlib.sha256(body.encode()).hexdigest()
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DataError(
            f"{path}: expected records as they were written, with a first line that gives their SHA-256; got a file "
            f"that was edited or is damaged. Restore it, or write it anew: {_MAKE}."
        )
    wide = pd.read_csv(io.StringIO(body), dtype=str, keep_default_na=False)
    split = wide["part"].map(lambda part: None if part == "audit" else "test")
    metrics = {metric: unit for part in KEPT.values() for metric, unit in part.items()}
    tables = []
    for metric, unit in metrics.items():
        own = wide[wide[metric] != ""]
        table = own[_TEXTS].replace("", None).assign(experiment="tuning", metric=metric, unit=unit, split=split)
        numbers = own[[*_NUMBERS, *(_ENDS if metric == "auc" else [])]].replace("", np.nan).astype(float)
        tables.append(pd.concat([table, numbers, own[metric].astype(float).rename("value")], axis="columns"))
    return joined(tables).assign(config_hash=about["config_hash"]), about


def committed_section(path: Path = FILE) -> list[Block]:
    """The study in short for the paper's page: from committed records, or how to make them where there are none."""
    from unlearn.studies.tuning.report import figure
    from unlearn.studies.tuning.verdict import QUESTION, section

    if not path.is_file():
        return [
            Block(
                QUESTION,
                "No records of the study tuning are committed here, so that it is left out. Run "
                f"python -m experiments.tuning, then {_MAKE}.",
            )
        ]
    records, about = read_committed(path)
    said = (
        f"Committed records of a run of {about['written_utc'][:10]} (source {about['source']}, configuration "
        f"{about['config_hash']}), not of this page's own run."
    )
    return section(records, figure(records), said)


def _wide(records: pd.DataFrame) -> pd.DataFrame:
    """A row per method and cell, all texts: what tells it from others, then its metrics; sorted."""
    metrics = list(dict.fromkeys(metric for part in KEPT.values() for metric in part))
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for part, kept in KEPT.items():
        own = select(records, part=part, metric=list(kept), **({} if part == "audit" else {"split": "test"}))
        for row in own[[*_KEYS, *_ENDS, "metric", "value"]].itertuples(index=False):
            *key, low, high, metric, value = row
            cells = found.setdefault(tuple(map(_text, key)), {})
            cells[metric] = _text(value)
            cells |= {"low": _text(low), "high": _text(high)} if metric == "auc" else {}
    rows = [dict(zip(_KEYS, key, strict=True)) | found[key] for key in sorted(found)]
    return pd.DataFrame(rows, columns=[*_KEYS, *metrics, *_ENDS]).fillna("")


def _text(value: Any) -> str:
    """A cell: numbers with `DIGITS` digits, nothing for what is empty."""
    if value is None or value != value:
        return ""
    return value if isinstance(value, str) else f"{float(value):.{DIGITS}g}"


def main(words: Sequence[str] | None = None) -> None:
    """Write the committed records of the run in a folder."""
    parser = argparse.ArgumentParser(prog="experiments.committed", description="Commit records of the study tuning.")
    parser.add_argument("folder", type=Path, help=f"of a run of tuning, with {RECORDS} and {CARD}")
    try:
        path = write_committed(parser.parse_args(words).folder)
    except UnlearnError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
