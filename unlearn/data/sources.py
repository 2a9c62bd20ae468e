"""The one way to load a data set by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.data.dataset import LoadDataset
from unlearn.data.gefcom2012 import read_gefcom2012
from unlearn.data.options import check_options, reader_of
from unlearn.data.synthetic import make_synthetic
from unlearn.data.tables import read_tables
from unlearn.data.tx123bt import read_tx123bt

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
