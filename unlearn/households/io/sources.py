"""The one way to load households and buildings by the name of their source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn.data.sources import check_options, reader_of
from unlearn.errors import InputError
from unlearn.households.buildings import BuildingSeries, buildings_of
from unlearn.households.by_household import HouseholdProfiles, check_choice, select_households
from unlearn.households.io.lcl import read_lcl
from unlearn.households.io.lead import read_lead
from unlearn.households.io.npz import read_npz
from unlearn.households.io.wide import read_wide
from unlearn.households.simulator.households import simulate_households

#: Options of some readers that every source has here.
_CHOICE = ("max_households", "min_days")

HOUSEHOLD_SOURCES: dict[str, Callable[..., HouseholdProfiles]] = {
    "lcl": read_lcl,
    "npz": read_npz,
    "simulator": simulate_households,
    "table": read_wide,
}


def load_households(
    source: str,
    *,
    max_households: int | None = None,
    min_days: int = 1,
    min_households: int = 2,
    **options: Any,
) -> HouseholdProfiles:
    """Load the daily profiles of households by the name of their source.

    Args:
        source: "lcl", "npz", "simulator" or "table".
        max_households: keep the first so many that have enough days; None keeps all.
        min_days: complete days that a household must have; others are dropped and counted.
        min_households: fewer households are refused; the default is what a split needs.
        **options: arguments of the source's reader, such as `path` and `year`.

    Raises:
        InputError: an unknown source or option, a missing option, or inverted bounds.
        DataError: whatever the reader refuses, or too few households.
    """
    reader = reader_of(source, HOUSEHOLD_SOURCES)
    known = check_options(source, reader, options, hidden=_CHOICE)
    check_choice(max_households, min_days, min_households)
    choice = {"max_households": max_households, "min_days": min_days}
    # A reader that can stop early is told; the others read everything.
    early = {name: value for name, value in choice.items() if name in known}
    return select_households(reader(**options, **early), max_households, min_days, min_households)


def load_buildings(source: str, **options: Any) -> BuildingSeries:
    """Load hourly readings by the name of their source.

    Args:
        source: "lead" (labelled buildings), or a source of households, whose series have no labels: "lcl", "npz",
            "simulator", "table".
        **options: arguments of the source's reader, such as `path`.

    Raises:
        InputError: an unknown source or option, or a missing one.
        DataError: whatever the reader refuses.
    """
    if source == "lead":
        check_options(source, read_lead, options)
        return read_lead(**options)
    if source not in HOUSEHOLD_SOURCES:
        raise InputError(f"source: expected one of lead, {', '.join(sorted(HOUSEHOLD_SOURCES))}; got {source!r}.")
    return buildings_of(load_households(source, **options))
