"""The one way to load hourly series of buildings by name."""

from __future__ import annotations

from typing import Any

from unlearn.data.options import check_options
from unlearn.errors import InputError
from unlearn.households.buildings.lead import read_lead
from unlearn.households.buildings.series import BuildingSeries, buildings_of
from unlearn.households.io.sources import HOUSEHOLD_SOURCES, load_households


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
