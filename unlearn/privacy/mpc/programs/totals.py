"""Totals, means and joint load curves of several parties, of which nobody sees another's part.

A total of two parties tells each the other's, and one that all but one of the parties know the rest of, too: that is in
the result, and no protocol hides it. Give parties something to hide among, or noise on top.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public

#: Fewest parties with an input whose total is opened.
LEAST = 3


async def total(context: Context, public: Public) -> Payload:
    """Sum of everyone's `values`, exact in steps of `step`.

    Each party's `values` are numbers of one shape. Every party that only computes brings none.

    Args:
        context: see `Context`.
        public: `step`, such as 0.001 for kWh in whole Wh (by default 1); `largest`, the size that no value exceeds.

    Returns:
        `total`, float64 in the shape of the values, the nearest to the exact sum of the rounded values.

    Raises:
        InputError: a value of one's own beyond `largest`.
        ProtocolError: shapes differ, or fewer than three parties have an input.
    """
    _, step = _scale(public)
    opened = await context.reveal(_sum(context, public))
    return {"total": _as_floats(opened, step)}


async def mean(context: Context, public: Public) -> Payload:
    """Mean over parties' `values`, weighted by their secret `counts` if they bring any, such as numbers of customers.

    With counts, `values` are sums and the mean is the sum over all by the count of all, which are both opened.

    Returns:
        `mean`, float64; and `count`, of everyone together.
    """
    _, step = _scale(public)
    opened = _as_floats(await context.reveal(_sum(context, public)), step)
    owners = context.owners("counts")
    if not owners:
        n = float(len(context.owners("values")))
    else:
        shared = context.shared("counts", context.mpc.SecInt(64), _whole)
        if context.owners("values") != owners:
            raise ProtocolError("mean: expected counts of every party that has values, got others.")
        n = float(np.sum(await context.reveal(reduce(add, shared.values()))))
        if n <= 0:
            raise ProtocolError("mean: expected a positive count of everyone together, got none.")
    return {"mean": opened / n, "count": np.array(n)}


async def load_curve(context: Context, public: Public) -> Payload:
    """Joint curve of parties' `values` with shape (hours,) each, and when it peaks.

    Returns:
        `curve`, shape (hours,); `peak` and `peak_hour` of it.
    """
    curve = (await total(context, public))["total"]
    if curve.ndim != 1 or not curve.size:
        raise ProtocolError(f"load_curve: expected curves with shape (hours,), got {curve.shape}.")
    return {"curve": curve, "peak": np.array(curve.max()), "peak_hour": np.array(int(curve.argmax()))}


def _scale(public: Public) -> tuple[int, Fraction]:
    """How many steps no value exceeds, and the step itself."""
    try:
        step, largest = (Fraction(str(public.get(name, own))) for name, own in (("step", 1), ("largest", 2**31 - 1)))
    except (ValueError, ZeroDivisionError):
        raise InputError("step, largest: expected numbers such as 0.001, got others.") from None
    if step <= 0 or largest < step:
        raise InputError(f"step, largest: expected 0 < step <= largest, got {float(step):g} and {float(largest):g}.")
    return require_count("largest / step", int(largest / step)), step


def _sum(context: Context, public: Public) -> Any:
    most, step = _scale(public)
    owners = context.owners("values")
    shapes = {context.shapes[name]["values"] for name in owners}
    if len(owners) < LEAST:
        raise ProtocolError(f"total: expected values of at least {LEAST} parties, got {len(owners)}.")
    if len(shapes) > 1:
        raise ProtocolError(f"total: expected values of one shape, got {sorted(shapes)}.")
    bits = (most * len(owners)).bit_length() + 2
    shared = context.shared("values", context.mpc.SecInt(bits), lambda values: in_steps(values, step, most))
    return reduce(add, shared.values())


def in_steps(values: NDArray, step: Fraction, most: int) -> NDArray:
    """Numbers as whole steps, the nearest.

    Raises:
        InputError: more than `most` steps, which are not told.
    """
    steps = [round(Fraction(one) / step) for one in values.ravel().tolist()]
    if any(abs(one) > most for one in steps):
        raise InputError(f"values: expected at most {most} steps of {float(step):g} each, got more. Raise largest.")
    encoded = np.empty(len(steps), dtype=object)
    encoded[:] = steps
    return encoded.reshape(values.shape)


def _whole(values: NDArray) -> NDArray:
    if not np.array_equal(values, np.round(values)) or (values < 0).any():
        raise InputError("counts: expected whole numbers from 0, got others.")
    return values.astype(np.int64)


def _as_floats(opened: Any, step: Fraction) -> NDArray[np.float64]:
    values = np.asarray(opened, dtype=object)
    return np.array([float(int(one) * step) for one in values.ravel()]).reshape(values.shape)
