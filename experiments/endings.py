"""How a run ends: its three main numbers with units, the path of its page, and a banner where it is no result."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

#: Units as records name them, and as people read them.
_UNITS = {"percent": "%", "pu2": "p.u.²", "kwh": "kWh", "us/h": "µs", "1": "", "relative": ""}


class Number(NamedTuple):
    """A main number of a run: what it is, its value (NaN: not measured), its unit as in records."""

    name: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {_formatted(self.value, self.unit)}"


@dataclass(frozen=True)
class Ending:
    """What a run ends with.

    Attributes:
        numbers: its main numbers, three.
        shown: its page, or the folder of its records where it has none.
    """

    numbers: Sequence[Number]
    shown: Path


def number(name: str, records: pd.DataFrame, **wanted: Any) -> Number:
    """The mean of the records whose columns have the wanted values, with their unit; NaN where there is none.

    Args:
        name: what people call it.
        records: of the run.
        wanted: column and value, such as `metric="cost", method="original"`; None asks for an empty cell.
    """
    import pandas as pd

    for column, value in wanted.items():
        own = records[column] if column in records else pd.Series(None, index=records.index, dtype=object)
        records = records[own.isna() if value is None else own == value]
    found = records["value"].dropna()
    units = records["unit"].dropna()
    return Number(name, float(found.mean()) if len(found) else math.nan, str(units.iloc[0]) if len(units) else "")


def summary(ending: Ending | None) -> dict[str, Any]:
    """What a run's card says of its ending."""
    if ending is None:
        return {}
    found = [
        {"name": own.name, "value": None if math.isnan(own.value) else own.value, "unit": own.unit}
        for own in ending.numbers
    ]
    return {"numbers": found, "shown": str(ending.shown)}


def tell(ending: Ending | None, folder: Path, tiny: bool) -> None:
    """Print what a run ends with.

    Args:
        ending: numbers and page; None if the run has no numbers.
        folder: of the run.
        tiny: whether the run is too small to be a result.
    """
    from unlearn.reporting.style import NOT_A_RESULT

    lines = [*map(str, ending.numbers), f"See {ending.shown.resolve()}"] if ending else [f"See {folder.resolve()}"]
    sys.stdout.write("\n".join([*lines, *([NOT_A_RESULT] if tiny else [])]) + "\n")
    sys.stdout.flush()


def _formatted(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "not measured" if math.isnan(value) else "∞"
    if unit == "share":
        return f"{100 * value:.3g} %"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {_UNITS.get(unit, unit)}".strip()
