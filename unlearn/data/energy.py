"""Signs that readings of meters are no energy of each step in kWh: another unit, or a register that only rises."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np

from unlearn.checks import FloatArray
from unlearn.data.text_tables import listed
from unlearn.errors import DataError

logger = logging.getLogger(__name__)

#: Energy of one hour that no household and few buildings reach in the mean.
_MUCH_KWH = 50.0

#: Readings that a register is told by, and the least share of steps at which it rises.
_ENOUGH, _RISING = 96, 0.25

_UNIT = re.compile(r"[(\[_ ](wh|mwh|gwh|w|kw|mw)[)\]]?\s*$", re.IGNORECASE)


def refuse_other_units(where: str, titles: Sequence[str]) -> None:
    """Refuse columns whose titles end with another unit than kWh.

    Raises:
        DataError: names the column and the unit.
    """
    for title in titles:
        unit = _UNIT.search(title)
        if unit and (title.strip()[-1] in ")]" or unit[1] in ("Wh", "MWh", "GWh", "kW", "MW")):
            raise DataError(
                f"{where}: expected energy of each step in kWh, got column {title}, whose title says {unit[1]}. "
                "Convert the readings to kWh and rename it."
            )


def refuse_registers(where: str, names: Sequence[str], readings: FloatArray) -> None:
    """Refuse readings that only rise from a high start, as the register of a meter does.

    Args:
        where: file, for messages.
        names: of the meters.
        readings: shape (meters, steps), NaN where there is none.

    Raises:
        DataError: names the meters.
    """
    found = []
    for name, row in zip(names, readings, strict=True):
        there = row[np.isfinite(row)]
        steps = np.diff(there)
        if (
            len(there) >= _ENOUGH
            and (steps >= 0).all()
            and (steps > 0).mean() >= _RISING
            and there[0] > 2 * steps.mean()
        ):
            found.append(name)
    if found:
        raise DataError(
            f"{where}: expected the energy of each step, got readings that never fall, as of a register that counts "
            f"all energy so far: {listed(found)} ({len(found)} of {len(names)} meters). Take the differences of "
            "consecutive readings."
        )


def warn_of_much(where: str, mean_kwh_per_hour: float) -> None:
    """Log a warning where meters use so much in the mean that their unit may be another."""
    if mean_kwh_per_hour > _MUCH_KWH:
        logger.warning(
            "%s: meters use %.0f kWh an hour in the mean; if the readings are in Wh, divide them by 1000",
            where,
            mean_kwh_per_hour,
        )
