"""Identifiers TX_0001, FD_01 and MTR_000001: made and read back for whole columns at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from unlearn.checks import IntArray

#: Prefix and least number of digits, as `printf` would pad them.
TRANSFORMER = ("TX_", 4)
FEEDER = ("FD_", 2)
METER = ("MTR_", 6)


def identifiers(kind: tuple[str, int], numbers: ArrayLike) -> pa.Array:
    """Return the identifiers of these numbers (counted from 1)."""
    prefix, digits = kind
    text = pc.cast(pa.array(np.asarray(numbers, dtype=np.int64)), pa.string())
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(text, digits, "0"), "")


def numbers_of(kind: tuple[str, int], column: pa.Array) -> IntArray:
    """Return the number of each identifier; -1 for what is no identifier of this kind."""
    prefix, digits = kind
    text = pc.cast(pa.array(column), pa.string())
    fits = pc.fill_null(
        pc.match_substring_regex(text, f"^{prefix}([0-9]{{{digits}}}|[1-9][0-9]{{{digits},17}})$"), False
    )
    number = pc.cast(pc.if_else(fits, pc.utf8_slice_codeunits(text, len(prefix)), "-1"), pa.int64())
    return np.asarray(number)
