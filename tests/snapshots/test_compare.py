"""A comparison of snapshots finds what differs, and nothing else; every program has a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.snapshots.compare import RENAMES, differences, table_differences
from tests.snapshots.take import RUNS, take

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"

#: Programs whose records are times, or that draw and gather what others have written.
WITHOUT_NUMBERS = {"benchmark", "figures"}

TABLE = pd.DataFrame(
    {
        "metric": ["mse", "cost", "time"],
        "value": [1.0, np.nan, 3.0],
        "unit": ["", "money/h", "s"],
        "config_hash": ["a", "a", "a"],
    }
)


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    table = TABLE.copy()
    table.loc[row, column] = value
    return table


def test_times_provenance_and_order_are_no_differences() -> None:
    other = changed("value", 2, 4.0).assign(config_hash="b", note=None)[["note", *TABLE.columns]][::-1]
    assert table_differences(TABLE, other) == []
    assert table_differences(TABLE, changed("value", 0, 1 + 1e-13)) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed("value", 0, 1 + 1e-11), "value: 1 of 2 differ"),
        (changed("value", 1, 0.0), "value: 1 of 2 differ"),
        (changed("metric", 0, "mape"), "metric: "),
        (TABLE.drop(index=1), "2 rows before, 1 after"),
        (TABLE.assign(split="test"), "only after: split"),
    ],
)
def test_what_differs_is_said(other: pd.DataFrame, said: str) -> None:
    found = table_differences(TABLE, other)
    assert found
    assert said in found[0]


def test_what_is_called_otherwise_now_is_mapped(tmp_path: Path) -> None:
    for name, table in (("before/old", TABLE), ("after/new", TABLE.rename(columns={"metric": "measure"}))):
        (tmp_path / name).mkdir(parents=True)
        table.replace({"cost": "operating_cost"} if "new" in name else {}).to_parquet(tmp_path / name / "t.parquet")
    renames = {
        "files": {"old/t.parquet": "new/t.parquet"},
        "columns": {"metric": "measure"},
        "values": {"measure": {"cost": "operating_cost"}},
    }
    before, after = tmp_path / "before", tmp_path / "after"
    assert differences(before, after, renames) == []
    assert differences(before, after) == ["old/t.parquet: only before", "new/t.parquet: only after"]
    renames["values"] = {}
    assert differences(before, after, renames)


def test_every_program_is_in_the_snapshot() -> None:
    programs = {file.stem for file in EXPERIMENTS.glob("*.py") if "@experiment" in file.read_text()}
    assert programs - WITHOUT_NUMBERS - {program for program, *_ in RUNS.values()} == set()
    if RENAMES.is_file():
        assert set(json.loads(RENAMES.read_text())) <= {"files", "columns", "values"}


@pytest.mark.slow
def test_a_snapshot_repeats(tmp_path: Path) -> None:
    names = ["train_linear", "unlearn_mse", "synthesize_gaussian", "collect"]
    for folder in ("one", "two"):
        take(tmp_path / folder, [name for name in RUNS if name in (*names, "train_cnn")])
    assert len(list((tmp_path / "one").rglob("*.parquet"))) == 7
    assert differences(tmp_path / "one", tmp_path / "two") == []
