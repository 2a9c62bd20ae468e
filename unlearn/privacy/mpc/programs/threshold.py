"""Counts and totals that are opened only where enough customers take part.

Trust: at most `threshold` parties put what they see together, and all follow the protocol. Where too few take part,
everybody learns that alone: neither the count nor the total. Where enough do, everybody knows its own part of the
total, so what is told of a participant is the total of the others; and two totals of which one holds a participant
more tell that one's values. Agree on the groups beforehand, and open each once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.whole import as_int64, integers, joint, largest, one_shape, receivers, whole

#: Most rows, such as customers, that all parties bring together.
MOST_ROWS = 2**20


async def threshold_count(context: Context, public: Public) -> Payload:
    """How many take part in each group, told only if at least `minimum` do.

    `taking_part` of each party holds 0 or 1 for its customers (rows) and groups, such as programs or feeders, shape
    (customers, groups).

    Args:
        context: see `Context`.
        public: `minimum`, at least 2; `to`, who learns the counts, by default all.

    Returns:
        `enough`, 0 or 1 for each group, which everybody learns; `count`, of the groups with enough, else -1.

    Raises:
        InputError: another minimum, or something of one's own other than 0 and 1.
        ProtocolError: nobody takes part, or groups differ.
    """
    to, minimum = receivers(context, public), _minimum(public, 2)
    groups, kind = _groups(context), integers(MOST_ROWS.bit_length(), context)
    shared = context.shared("taking_part", kind, whole("taking_part", 0, 1))
    counts = joint({name: context.mpc.np_sum(part, axis=0) for name, part in shared.items()})
    return await _opened(context, to, counts, minimum, groups)


async def exceeding_count(context: Context, public: Public) -> Payload:
    """How many values lie above a limit that only its owner knows, told only if at least `minimum` do.

    `values` of each party hold whole numbers of its customers, shape (customers, groups), such as peaks in W; one party
    brings `limit`, shape (groups,), such as a contracted power or the threshold of a program.

    A count near that of all customers tells that each of them lies above the limit.

    Args:
        context: see `Context`.
        public: `minimum`, at least 2; `largest`; `to`.

    Returns:
        As `threshold_count`.

    Raises:
        InputError, ProtocolError: as `threshold_count`; not exactly one party brings a limit.
    """
    to, minimum, most = receivers(context, public), _minimum(public, 2), largest(public)
    groups = _groups(context, "values")
    if len(context.owners("limit")) != 1 or one_shape(context, "limit", (1,)) != (groups,):
        raise ProtocolError(f"limit: expected it of exactly one party and with shape ({groups},), got others.")
    kind = integers((2 * most).bit_length() + 1, context)
    (limit,) = context.shared("limit", kind, whole("limit", -most, most)).values()
    shared = context.shared("values", kind, whole("values", -most, most))
    values = context.mpc.np_concatenate(tuple(shared.values()), axis=0)
    counts = context.mpc.np_sum(limit.reshape(1, groups) < values, axis=0)
    return await _opened(context, to, counts, minimum, groups)


async def guarded_total(context: Context, public: Public) -> Payload:
    """Total of those who take part, told only for groups in which at least `minimum` do.

    Each party brings `taking_part`, 0 or 1 with shape (customers, groups), and `values`, whole numbers such as Wh with
    shape (customers, groups, intervals); a customer that brings its own has one row. Values of who does not take part
    count for nothing.

    Args:
        context: see `Context`.
        public: `minimum`, at least 3, or 2 where nobody who learns the total brings values: of two participants, each
            would learn the other's; `largest`, the size that no value exceeds; `to`, who learns counts and totals.

    Returns:
        `enough`, which everybody learns; `count` and `total`, shape (groups, intervals), of the groups with enough,
        else -1 and 0.

    Raises:
        InputError: too small a minimum, or values of one's own out of range.
        ProtocolError: shapes differ, or a party brings one of the two alone.

    >>> import pytest; _ = pytest.importorskip("mpyc")
    >>> from unlearn.privacy.mpc.context import rehearse
    >>> five = np.full((1, 2, 1), 5)
    >>> inputs = {name: {"taking_part": np.array([[1, name == "A"]]), "values": five} for name in "ABC"}
    >>> found = rehearse(guarded_total, inputs, {"minimum": 3})
    >>> found["enough"].tolist(), found["total"].tolist()
    ([1, 0], [[15], [0]])
    """
    to, most = receivers(context, public), largest(public)
    minimum = _minimum(public, 3 if set(to) & set(context.owners("values")) else 2)
    groups = _groups(context)
    if context.owners("values") != context.owners("taking_part"):
        raise ProtocolError("values: expected them of every party that brings taking_part, and of no other.")
    shapes = {
        name: (context.shapes[name]["taking_part"], context.shapes[name]["values"]) for name in context.owners("values")
    }
    intervals = {values[2:] for _, values in shapes.values()}
    if len(intervals) != 1 or any(len(values) != 3 or values[:2] != part for part, values in shapes.values()):
        raise ProtocolError(
            f"values: expected shape (customers, groups, intervals) that fits taking_part, got {list(shapes.values())}."
        )
    kind = integers((most * MOST_ROWS).bit_length(), context)
    part = context.shared("taking_part", kind, whole("taking_part", 0, 1))
    values = context.shared("values", kind, whole("values", -most, most))
    mpc = context.mpc
    taken = mpc.np_concatenate(tuple(part.values()), axis=0)
    of_all = mpc.np_concatenate(tuple(values[name] for name in part), axis=0)
    result = await _opened(context, to, mpc.np_sum(taken, axis=0), minimum, groups)
    enough = np.flatnonzero(result["enough"])
    if not enough.size:
        opened: Any = np.zeros((0, *next(iter(intervals))), dtype=object)
    else:
        kept = taken[:, enough].reshape(taken.shape[0], enough.size, 1) * of_all[:, enough, :]
        opened = await context.reveal(mpc.np_sum(kept, axis=0), to)
    if context.name in to or len(mpc.parties) == 1:
        result["total"] = np.zeros((groups, *next(iter(intervals))), dtype=np.int64)
        result["total"][enough] = as_int64(opened)
    return result


async def _opened(context: Context, to: tuple[str, ...], counts: Any, minimum: int, groups: int) -> Payload:
    """Which groups have enough, and their counts."""
    bits = np.asarray(await context.reveal(counts >= minimum), dtype=object).astype(np.int64)
    enough = np.flatnonzero(bits)
    result: Payload = {"enough": bits}
    opened = await context.reveal(counts[enough], to) if enough.size else np.zeros(0, dtype=object)
    if context.name in to or len(context.mpc.parties) == 1:
        result["count"] = np.full(groups, -1, dtype=np.int64)
        result["count"][enough] = as_int64(opened)
    return result


def _minimum(public: Public, least: int) -> int:
    minimum = require_count("minimum", public.get("minimum", 0) or 0)
    if minimum < least:
        raise InputError(
            f"minimum: expected at least {least}, got {minimum}. Of fewer, each learns what the others have."
        )
    return minimum


def _groups(context: Context, array: str = "taking_part") -> int:
    """How many groups all agree on."""
    shapes = [context.shapes[name][array] for name in context.owners(array)]
    axes = {len(shape) for shape in shapes}
    if axes != {2} or len({shape[1] for shape in shapes}) != 1 or sum(shape[0] for shape in shapes) > MOST_ROWS:
        raise ProtocolError(
            f"{array}: expected shape (customers, groups) with one number of groups and at most {MOST_ROWS} customers "
            f"together, got {shapes or 'none'}."
        )
    return shapes[0][1]
