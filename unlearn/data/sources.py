"""Sources of hourly loads by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.data.dataset import LoadDataset
from unlearn.data.gefcom2012 import read_gefcom2012
from unlearn.data.synthetic import make_synthetic
from unlearn.data.tables import read_tables
from unlearn.data.tx123bt import read_tx123bt
from unlearn.errors import InputError


def reader_of(source: str, sources: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the reader of a source, refusing an unknown name."""
    if source not in sources:
        raise InputError(f"source: expected one of {', '.join(sorted(sources))}; got {source!r}.")
    return sources[source]


def check_options(
    source: str, reader: Callable[..., Any], options: Collection[str], hidden: Collection[str] = ()
) -> set[str]:
    """Refuse options that a reader does not know, and missing ones that it needs.

    Args:
        source: name of the source, for messages.
        reader: the function that reads it.
        options: names of the options given.
        hidden: parameters of the reader that messages do not offer, for they are set in another way.

    Returns:
        Names of the parameters that the reader has.

    Raises:
        InputError: an unknown or a missing option.
    """
    parameters = inspect.signature(reader).parameters
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        offered = sorted(set(parameters) - set(hidden))
        raise InputError(f"{source}: expected options among {', '.join(offered)}; got {', '.join(unknown)}.")
    absent = [name for name, p in parameters.items() if p.default is p.empty and name not in options]
    if absent:
        raise InputError(f"{source}: expected the options {', '.join(absent)}, got none. Pass them by name.")
    return set(parameters)


SOURCES: dict[str, Callable[..., LoadDataset]] = {
    "gefcom2012": read_gefcom2012,
    "synthetic": make_synthetic,
    "tables": read_tables,
    "tx123bt": read_tx123bt,
}


def load_dataset(
    source: str,
    *,
    nominal_mw: ArrayLike | None = None,
    scale_over: str = "train",
    base_mva: float | None = None,
    **options: Any,
) -> LoadDataset:
    """Load a data set by the name of its source, and scale it to a grid where one is given.

    Args:
        source: "gefcom2012", "synthetic", "tables" or "tx123bt".
        nominal_mw: nominal load of each bus with load, shape (B,). Sources that choose how many
            loads they have then provide B of them.
        scale_over: rows that each load's maximum is taken over: "train", or "all" as published.
        base_mva: power base of the grid; None keeps 100 MVA.
        **options: arguments of the source's reader, such as `year` and `split`.

    Raises:
        InputError: an unknown source or option, a missing option, or nominal loads that do not fit the
            data set.
        DataError: whatever the reader refuses.
    """
    reader = reader_of(source, SOURCES)
    known = check_options(source, reader, options, hidden=("nominal_mw",))
    if nominal_mw is None:
        return reader(**options)
    if "n_loads" in known and options.get("buses") is None:
        options.setdefault("n_loads", int(np.size(nominal_mw)))
    return reader(**options).scaled_to(nominal_mw, scale_over, base_mva)
