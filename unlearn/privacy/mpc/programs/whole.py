"""What programs share: whole numbers within limits, arrays of one shape, and who must take part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.mpc.context import Context, Public

#: Largest whole number that a program takes unless `largest` says otherwise; in Wh, 2,147 MWh within one interval.
LARGEST = 2**31 - 1


def largest(public: Public) -> int:
    """`largest` of the public parameters."""
    most = require_count("largest", public.get("largest", LARGEST))
    if most >= 2**53:
        raise InputError(f"largest: expected less than 2^53, so that floats hold it exactly, got {most}. Change units.")
    return most


def whole(name: str, least: int, most: int) -> Callable[[NDArray], NDArray]:
    """An encoder for `Context.shared`, with which an owner refuses what is not whole or out of range.

    Its messages tell no value.
    """

    def encode(values: NDArray) -> NDArray:
        plain = np.asarray(values)
        if not np.array_equal(plain, np.round(plain)) or ((plain < least) | (plain > most)).any():
            raise InputError(
                f"{name}: expected whole numbers from {least} to {most}, got others. Convert units, such as kWh to Wh, "
                "and round."
            )
        return plain.astype(np.int64)

    return encode


def one_shape(
    context: Context, array: str, ndims: Sequence[int], owners: Sequence[str] | None = None
) -> tuple[int, ...]:
    """The shape that all owners' arrays of a name have.

    Raises:
        ProtocolError: no owner, several shapes, or another number of axes.
    """
    shapes = {
        context.shapes[name][array] for name in (owners or context.owners(array)) if array in context.shapes[name]
    }
    if len(shapes) != 1 or len(next(iter(shapes))) not in ndims:
        raise ProtocolError(
            f"{array}: expected one shape of {' or '.join(map(str, ndims))} axes at all that bring it, got "
            f"{sorted(shapes) or 'none'}."
        )
    return next(iter(shapes))


def require_owners(context: Context, array: str, least: int, why: str) -> tuple[str, ...]:
    """Who brings an array, at least so many.

    Raises:
        ProtocolError: fewer.
    """
    owners = context.owners(array)
    if len(owners) < least:
        raise ProtocolError(f"{array}: expected it of at least {least} parties, {why}, got {len(owners)}.")
    return owners


def receivers(context: Context, public: Public) -> tuple[str, ...]:
    """`to` of the public parameters: who learns the result, by default all.

    Raises:
        InputError: somebody who takes no part.
    """
    to = tuple(public.get("to", context.names))
    if not to or not set(to) <= set(context.names) or len(set(to)) < len(to):
        raise InputError(f"to: expected some of {', '.join(context.names)}, each once, got {', '.join(map(str, to))}.")
    return to


def joint(shared: dict[str, Any]) -> Any:
    """Sum over owners."""
    return reduce(add, shared.values())


def integers(bits: int, context: Context) -> Any:
    """Secure whole numbers of so many bits, with two to spare for the sign and for a difference."""
    return context.mpc.SecInt(bits + 2)


def as_int64(opened: Any) -> NDArray[np.int64]:
    """Opened whole numbers as an array of a message."""
    return np.asarray(opened, dtype=object).astype(np.int64)
