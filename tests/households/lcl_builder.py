"""Files in the layout of the Low Carbon London trial, and a slow reading of their rows to compare with."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

HEADER = "LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn,Acorn_grouped"


@dataclass(frozen=True)
class Row:
    """One line: the stamp in seconds since 1970, and energy in Wh or None for Null."""

    household: str
    second: int
    wh: int | None
    tariff: str = "Std"
    acorn: str = "ACORN-A"
    group: str = "Affluent"

    def line(self) -> str:
        stamp = pd.Timestamp(self.second, unit="s").strftime("%Y-%m-%d %H:%M:%S.0000000")
        energy = "Null" if self.wh is None else f" {self.wh / 1000:g} "
        return f"{self.household},{self.tariff},{stamp},{energy},{self.acorn},{self.group}"


def days_of(household: str, n_days: int = 2, first: str = "2012-10-12", **labels: str) -> list[Row]:
    """Complete days; each half-hour has another energy."""
    start = int(pd.Timestamp(first).timestamp())
    offset = int(household[-2:]) * 7
    return [Row(household, start + 1800 * t, (offset + 13 * t) % 997, **labels) for t in range(48 * n_days)]


def trial(n_days: int = 2) -> list[Row]:
    """Four households with differing labels."""
    return [
        *days_of("MAC000002", n_days),
        *days_of("MAC000003", n_days, tariff="ToU", acorn="ACORN-P", group="Adversity"),
        *days_of("MAC000004", n_days, acorn="ACORN-F", group="Comfortable"),
        *days_of("MAC000005", n_days, tariff="ToU"),
    ]


def write(path: Path, rows: list[Row], end: str = "\r\n") -> Path:
    path.write_bytes(end.join([HEADER, *(row.line() for row in rows), ""]).encode())
    return path


def write_folder(folder: Path, rows: list[Row], n_files: int) -> Path:
    """Cut the rows into files of about the same length, as the trial was, whatever household they belong to."""
    folder.mkdir(exist_ok=True)
    for i, part in enumerate(np.array_split(np.arange(len(rows)), n_files)):
        write(folder / f"LCL-June2015v2_{i}.csv", [rows[k] for k in part])
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"Small LCL Data/{file.name}")
        archive.writestr("__MACOSX/Small LCL Data/._LCL-June2015v2_0.csv", b"\x00\x05\x16")
    return path


def slow_days(rows: list[Row], shift_s: int = 0) -> dict[tuple[str, str], list[float]]:
    """The complete days by household and date, one row at a time."""
    energies: dict[tuple[str, int], set[int]] = defaultdict(set)
    for row in rows:
        if row.wh is not None and row.second % 1800 == 0:
            energies[row.household, row.second - shift_s].add(row.wh)
    days: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for (household, second), values in energies.items():
        if len(values) == 1:
            date = str(pd.Timestamp(second, unit="s").date())
            days[household, date][second % 86400] = values.pop() / 1000
    return {key: [day[s] for s in sorted(day)] for key, day in days.items() if len(day) == 48}


def changed(rows: list[Row], at: int, **changes: object) -> list[Row]:
    return [*rows[:at], replace(rows[at], **changes), *rows[at + 1 :]]
