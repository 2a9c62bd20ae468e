"""Customers prove what they reduce together, without anyone's own part: in an event, or of their joint peak.

Trust: at most `threshold` parties put what they see together, and all follow the protocol. A joint reduction tells each
member that of all the others together, so at least three members bring loads. That readings are right is not proved
here: whoever pays for a reduction wants them of meters that it trusts, or checks at random, see `spot_check`. Whoever
asks for several limits in turn finds the reduction by bisection: agree on the one limit of the contract.

Coalitions of thousands do not compute themselves: each member splits its load among a few servers, see
`unlearn.privacy.mpc.sum_meters` for sums of meters.
"""

from __future__ import annotations

from typing import Any

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.whole import as_int64, joint, largest, one_shape, receivers, require_owners, whole

#: Fewest members with loads.
LEAST = 3


async def event_reduction(context: Context, public: Public) -> Payload:
    """Sum over members and event intervals of baseline minus actual load.

    Each member brings `baseline_wh` and `actual_wh`, whole Wh with shape (intervals,) or (days, intervals).

    Args:
        context: see `Context`.
        public: `event`, places of the intervals in which the event took place; `at_least`, in Wh: only whether the
            reduction is at least that is told; `largest`, the size that no reading exceeds; `to`, who learns it.

    Returns:
        `reduction`, in Wh, negative where load rose, one number or shape (days,); with `at_least`, `reached`, 0 or 1.

    Raises:
        InputError: an event outside of the intervals, a limit that is not whole, or readings of one's own that are not
            whole or too large.
        ProtocolError: fewer than three members have loads, or shapes differ.

    >>> import numpy as np
    >>> import pytest; _ = pytest.importorskip("mpyc")
    >>> from unlearn.privacy.mpc.context import rehearse
    >>> members = {name: {"baseline_wh": np.array([900, 800]), "actual_wh": np.array([500, 850])} for name in "ABC"}
    >>> int(rehearse(event_reduction, members, {"event": [0]})["reduction"])
    1200
    >>> rehearse(event_reduction, members, {"event": [0], "at_least": 1201})["reached"].tolist()
    0
    """
    event = list(public.get("event", []))
    baseline, actual, bound = _loads(context, public, len(event) + 1)
    n = baseline.shape[-1]
    if not event or len(set(event)) < len(event) or not all(type(one) is int and 0 <= one < n for one in event):
        raise InputError(f"event: expected some places from 0 to {n - 1}, each once, got others.")
    reduction = context.mpc.np_sum((baseline - actual)[..., event], axis=-1, keepdims=True)
    return await _told(context, public, reduction, 2 * bound * len(event))


async def peak_reduction(context: Context, public: Public) -> Payload:
    """Highest joint baseline minus highest joint load, whenever either occurs.

    Arguments, results and errors are those of `event_reduction`, without `event`; `reduction` and `at_least` are in Wh
    per interval: of half-hours, 500 stand for 1 kW. When the peaks were is not told.
    """
    baseline, actual, bound = _loads(context, public, 1)
    both = context.mpc.np_stack((baseline, actual), axis=0)
    peaks = context.mpc.np_amax(both, axis=-1, keepdims=True)
    return await _told(context, public, peaks[0] - peaks[1], 2 * bound)


def _loads(context: Context, public: Public, intervals: int) -> tuple[Any, Any, int]:
    """Joint baseline and joint load, and the size that neither exceeds; in numbers for sums of so many intervals."""
    owners = require_owners(context, "baseline_wh", LEAST, "so that none learns another's from the result")
    if context.owners("actual_wh") != owners:
        raise ProtocolError("actual_wh: expected it of every party that brings baseline_wh, and of no other.")
    shape = one_shape(context, "baseline_wh", (1, 2))
    if one_shape(context, "actual_wh", (1, 2)) != shape or not shape[-1]:
        raise ProtocolError(f"actual_wh: expected the shape of baseline_wh, {shape}, and at least one interval.")
    receivers(context, public)
    most = largest(public)
    bound = most * len(owners)
    kind = context.mpc.SecInt((4 * bound * intervals).bit_length() + 2)
    return (
        joint(context.shared("baseline_wh", kind, whole("baseline_wh", -most, most))),
        joint(context.shared("actual_wh", kind, whole("actual_wh", -most, most))),
        bound,
    )


async def _told(context: Context, public: Public, reduction: Any, bound: int) -> Payload:
    """The reduction, or only whether it is large enough; its last axis has length one."""
    to, limit = receivers(context, public), public.get("at_least")
    if limit is None:
        opened, name = await context.reveal(reduction, to), "reduction"
    else:
        if type(limit) is not int or abs(limit) > bound:
            raise InputError(f"at_least: expected a whole number of Wh within what is possible, got {limit!r}.")
        opened, name = await context.reveal(reduction >= limit, to), "reached"
    return {} if opened is None else {name: as_int64(opened)[..., 0]}
