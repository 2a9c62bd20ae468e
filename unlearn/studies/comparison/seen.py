"""Whether private numbers stand in recorded messages as they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

#: Consecutive numbers that are looked for, at so many places of a row.
RUN, PLACES = 4, 4
_WHOLE = ("<u2", "<i4", "<i8")
_REAL = ("<f4", "<f8")


def rows_seen(messages: Iterable[bytes], rows: ArrayLike) -> float:
    """Share of rows of which some consecutive numbers stand in a message, in a usual format of numbers.

    It finds what is sent in plain, and says nothing of what is hidden in another way.

    >>> rows_seen([np.arange(100, 110, dtype=np.int32).tobytes()], [np.arange(100, 110), np.arange(50, 60)])
    0.5

    Args:
        messages: as they were sent.
        rows: private numbers, shape (R, T).
    """
    table, sent = np.asarray(rows), b"\0".join(messages)
    return float(np.mean([any(one in sent for one in _wanted(row)) for row in table]))


def _wanted(row: np.ndarray) -> Iterable[bytes]:
    """Bytes of runs of different numbers, which hardly stand anywhere by chance."""
    runs = np.lib.stride_tricks.sliding_window_view(row, min(RUN, len(row)))
    telling = np.flatnonzero((np.diff(np.sort(runs, axis=1), axis=1) > 0).all(axis=1))
    places = telling[np.linspace(0, len(telling) - 1, min(PLACES, len(telling))).astype(np.int64)]
    whole = bool(np.all(row == np.rint(row)))
    for run in runs[places]:
        if row.dtype == np.uint64:
            yield run.astype("<u8").tobytes()
            continue
        for kind in (*_WHOLE, *_REAL) if whole else _REAL:
            if kind in _REAL or (run.min() >= np.iinfo(kind).min and run.max() <= np.iinfo(kind).max):
                yield run.astype(kind).tobytes()
