"""Pearson correlation of two parties' series, of which only r is told, to few digits.

Each owner scales its own series to mean zero and length one, so that r is one sum of products in secret. Then r is
rounded in secret, too: with all digits it would let each party test guesses of the other's series.

Trust: at most `threshold` parties put what they see together, and all follow the protocol. r near 1 or -1 tells each
party the other's series up to mean and scale: that is in the result. Series of a few intervals tell much, and r of many
pairs that share a series narrows it down.
"""

from __future__ import annotations

from functools import partial
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.whole import receivers

#: Scaled series are kept in steps of 2^-28.
FRACTION_BITS = 28
#: Fewest intervals, for two points always correlate fully.
LEAST_INTERVALS = 24


async def correlation(context: Context, public: Public) -> Payload:
    """Pearson's r between `first` of one party and `second` of another.

    Both hold finite numbers with shape (intervals,) or (intervals, columns), such as charging and solar production of
    the same households in the same order; column by column then.

    Args:
        context: see `Context`.
        public: `digits` of r that are told, 1 to 4, by default 3; `pooled`, whether only the mean of r over columns is
            told, at least three; `to`, who learns it, by default all.

    Returns:
        `r`, one number or shape (columns,), a whole multiple of 10^-digits; `error`, what it differs from r by at most:
        half of 10^-digits, plus `encoding_error`.

    Raises:
        InputError: a series of one's own that is constant; fewer than 24 intervals.
        ProtocolError: not exactly one party brings each, or shapes differ.

    >>> import pytest; _ = pytest.importorskip("mpyc")
    >>> from unlearn.privacy.mpc.context import rehearse
    >>> hours = np.arange(48.0)
    >>> float(rehearse(correlation, {"cars": {"first": hours}, "roofs": {"second": -2 * hours + 1}})["r"])
    -1.0
    """
    to, digits = receivers(context, public), public.get("digits", 3)
    if isinstance(digits, bool) or digits not in (1, 2, 3, 4):
        raise InputError(f"digits: expected 1 to 4, got {digits!r}. More would let parties test guesses.")
    shape, pooled = _shape(context), bool(public.get("pooled", False))
    if pooled and (len(shape) != 2 or shape[1] < 3):
        raise InputError(f"pooled: expected at least 3 columns, over which to average, got shape {shape}.")
    columns = shape[1] if len(shape) == 2 else 1
    scale, step = 10**digits, 2 ** (2 * FRACTION_BITS)
    # Bits of one, times the scale, with room for rounding and for the sign.
    kind = context.mpc.SecInt(2 * FRACTION_BITS + scale.bit_length() + 3)
    (x,) = context.shared("first", kind, partial(encode, pooled=pooled)).values()
    (y,) = context.shared("second", kind, partial(encode, pooled=pooled)).values()
    if pooled:
        x, y = x.reshape(1, x.size), y.reshape(y.size, 1)
    else:
        x = x.reshape(shape[0], columns).transpose(1, 0).reshape(columns, 1, shape[0])
        y = y.reshape(shape[0], columns).transpose(1, 0).reshape(columns, shape[0], 1)
    inner = context.mpc.np_matmul(x, y).flatten()
    # Rounded to the nearest, in secret: what is above the lowest bits is all that is opened.
    raised = inner * scale + step // 2
    lowest = context.mpc.np_from_bits(context.mpc.np_to_bits(raised, l=2 * FRACTION_BITS))
    opened = await context.reveal(raised - lowest, to)
    if opened is None:
        return {}
    error = 0.5 / scale + encoding_error(shape[0] * (columns if pooled else 1))
    told = np.array([int(one) // step for one in np.asarray(opened, dtype=object)], dtype=np.float64)
    return {"r": told.reshape(shape[1:] if not pooled else ()) / scale, "error": np.array(error)}


def encode(series: NDArray, pooled: bool = False) -> NDArray:
    """Series scaled to mean zero and length one, in whole steps of 2^-28, column by column.

    Pooled columns have length one together, so that the sum of all products is the mean of r.

    Raises:
        InputError: a constant series, which correlates with nothing.
    """
    values = np.asarray(series, dtype=np.float64)
    largest = np.abs(values).max(axis=0, keepdims=True)
    values = values / np.where(largest > 0, largest, 1)  # so that squares neither overflow nor vanish
    centred = values - values.mean(axis=0, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=0, keepdims=True))
    if (length <= 1e-9 * sqrt(len(values))).any():
        raise InputError("series: expected readings that vary in every column, got a constant one. Leave it out.")
    if pooled:
        length = length * sqrt(values.shape[1])
    return np.rint(centred / length * 2.0**FRACTION_BITS).astype(np.int64)


def encoding_error(intervals: int) -> float:
    """How far r of encoded series lies from r at most, beside float64's own rounding.

    Pooled, `intervals` counts those of all columns. Each encoded series differs from one of length one by at most
    sqrt(n) 2^-29 in length (n places, half a step each); by Cauchy and Schwarz, r differs by at most twice that and its
    square.

    >>> encoding_error(1488) < 2e-7
    True
    """
    apart = sqrt(intervals) * 2.0 ** -(FRACTION_BITS + 1)
    return 2 * apart + apart**2


def _shape(context: Context) -> tuple[int, ...]:
    owners = context.owners("first"), context.owners("second")
    if len(owners[0]) != 1 or len(owners[1]) != 1 or owners[0] == owners[1]:
        raise ProtocolError("correlation: expected `first` of exactly one party and `second` of another, got others.")
    shapes = context.shapes[owners[0][0]]["first"], context.shapes[owners[1][0]]["second"]
    if shapes[0] != shapes[1] or len(shapes[0]) not in (1, 2):
        raise ProtocolError(
            f"correlation: expected series of one shape, (intervals,) or (intervals, columns), got {shapes}."
        )
    if shapes[0][0] < LEAST_INTERVALS:
        raise InputError(f"correlation: expected at least {LEAST_INTERVALS} intervals, got {shapes[0][0]}.")
    return shapes[0]
