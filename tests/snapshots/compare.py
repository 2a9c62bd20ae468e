"""Compare two snapshots: `python -m tests.snapshots.compare BEFORE AFTER`; ends with 1 where a number differs.

Times and provenance are left out. What the later state calls otherwise is mapped by `renames.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Largest difference, as a share of the larger number.
RTOL = 1e-12
#: Differences of numbers that are 0 but for rounding.
ATOL = 1e-15

#: Columns that say where a record comes from, not what was measured.
PROVENANCE = ("config_hash", "made_of", "written_utc", "seconds")
#: Units of what depends on the machine.
OF_THE_MACHINE = ("s", "ms", "s/step", "us", "µs", "bytes", "MB", "MiB")

RENAMES = Path(__file__).with_name("renames.json")


def differences(before: Path, after: Path, renames: Mapping[str, Any] | None = None) -> list[str]:
    """Say what differs between two folders of tables; empty if nothing does.

    Args:
        before: folder that `tests.snapshots.take` wrote.
        after: another.
        renames: `columns` and `files` as {old: new}, `values` as {column: {old: new}} by the new name of the column.
    """
    renames = renames or {}
    files = {_renamed(str(file.relative_to(before)), renames): file for file in sorted(before.rglob("*.parquet"))}
    others = {str(file.relative_to(after)) for file in after.rglob("*.parquet")}
    found = [f"{name}: only before" for name in sorted(files.keys() - others)]
    found += [f"{name}: only after" for name in sorted(others - files.keys())]
    for name in sorted(files.keys() & others):
        old = _mapped(pd.read_parquet(files[name]), renames)
        found += [f"{name}: {said}" for said in table_differences(old, pd.read_parquet(after / name))]
    return found


def table_differences(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Say what differs between two tables; columns and rows may stand in another order."""
    old, new = _measured(before), _measured(after)
    if set(old) != set(new):
        gone, more = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        return [f"columns only before: {', '.join(gone) or 'none'}; only after: {', '.join(more) or 'none'}"]
    if len(old) != len(new):
        return [f"{len(old)} rows before, {len(new)} after"]
    words = [column for column in sorted(old) if not pd.api.types.is_float_dtype(old[column])]
    old, new = _in_order(old, words), _in_order(new, words)
    found = []
    for column in words:
        if wrong := int((old[column] != new[column]).sum()):
            at = int(np.flatnonzero(old[column] != new[column])[0])
            found.append(f"{column}: {wrong} of {len(old)} differ, such as {old[column][at]!r} and {new[column][at]!r}")
    for column in sorted(set(old) - set(words)):
        one, two = old[column].to_numpy(np.float64), new[column].to_numpy(np.float64)
        same = np.isclose(one, two, rtol=RTOL, atol=ATOL, equal_nan=True)
        if not same.all():
            at = int(np.flatnonzero(~same)[0])
            found.append(f"{column}: {int((~same).sum())} of {len(old)} differ, such as {one[at]!r} and {two[at]!r}")
    return found


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """A table without provenance and without what depends on the machine; its words as text."""
    if "unit" in table:
        table = table[~table["unit"].isin(OF_THE_MACHINE)]
    table = table.drop(columns=[name for name in PROVENANCE if name in table])
    # A column in which nobody has written anything is none.
    table = table.dropna(axis="columns", how="all")
    return table.assign(
        **{name: table[name].map(str) for name in table if not pd.api.types.is_float_dtype(table[name])}
    )


def _in_order(table: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """Rows by their words; those with the same words keep their order."""
    return table.sort_values(words, kind="stable", ignore_index=True) if words else table.reset_index(drop=True)


def _renamed(name: str, renames: Mapping[str, Any]) -> str:
    return renames.get("files", {}).get(name, name)


def _mapped(table: pd.DataFrame, renames: Mapping[str, Any]) -> pd.DataFrame:
    table = table.rename(columns=renames.get("columns", {}))
    for column, values in renames.get("values", {}).items():
        if column in table:
            table[column] = table[column].map(lambda value, values=values: values.get(value, value))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    asked = parser.parse_args()
    for folder in (asked.before, asked.after):
        if not any(folder.rglob("*.parquet")):
            parser.error(f"{folder}: expected tables of tests.snapshots.take, got none.")
    renames = json.loads(RENAMES.read_text()) if RENAMES.is_file() else {}
    found = differences(asked.before, asked.after, renames)
    n_tables = sum(1 for _ in asked.after.rglob("*.parquet"))
    sys.stdout.write("\n".join([*found, f"{n_tables} tables, {len(found)} differences beyond {RTOL:g}", ""]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
