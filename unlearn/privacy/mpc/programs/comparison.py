"""Whose average was higher: only the winner is told (Yao's millionaires, for load).

Trust: at most `threshold` parties put what they see together, and all follow the protocol. The result tells all of them
an order: whoever knows its own average knows a bound of the winner's, or that the winner's is below its own. Asked of
many days or of changed data, such bounds close in on an average; agree on the days beforehand.
"""

from __future__ import annotations

from math import lcm

from unlearn.errors import ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.whole import as_int64, integers, largest, receivers, require_owners, whole


async def highest_average(context: Context, public: Public) -> Payload:
    """Which party's `energy_wh` is highest on average; no average is told.

    `energy_wh` holds whole Wh per interval, shape (intervals,) or (days, intervals); parties may have different numbers
    of intervals, which are public, such as 24 hours and 48 half-hours of one day: then each average is per interval of
    one's own, and `hours`, by party, makes it per hour. Parties without it only compute, so that two utilities and one
    helper are enough.

    Args:
        context: see `Context`.
        public: `largest`, the size that no reading exceeds; `hours`, by party, how many hours its intervals cover
            together, whole numbers, by default the number of its intervals; `to`, who learns the result.

    Returns:
        `winner`, its place in `context.owners("energy_wh")`, one number or shape (days,). Of equals, the first wins,
        and nobody is told that there were equals.

    Raises:
        InputError: readings of one's own that are not whole, or too large.
        ProtocolError: fewer than two parties have readings, or their days differ.

    >>> import numpy as np
    >>> import pytest; _ = pytest.importorskip("mpyc")
    >>> from unlearn.privacy.mpc.context import rehearse
    >>> rehearse(highest_average, {
    ...     "utility A": {"energy_wh": np.array([300, 500])}, "utility B": {"energy_wh": np.array([400, 450])},
    ... })["winner"].tolist()
    1
    """
    owners = require_owners(context, "energy_wh", 2, "which are compared")
    to, most = receivers(context, public), largest(public)
    shapes = {name: context.shapes[name]["energy_wh"] for name in owners}
    if {len(shape) for shape in shapes.values()} not in ({1}, {2}) or len(
        {shape[:-1] for shape in shapes.values()}
    ) > 1:
        raise ProtocolError(f"energy_wh: expected one or several days at all parties, got {list(shapes.values())}.")
    covered = public.get("hours", {name: shape[-1] for name, shape in shapes.items()})
    if set(covered) != set(owners) or not all(isinstance(one, int) and one > 0 for one in covered.values()):
        raise ProtocolError(f"hours: expected a whole number above 0 for each of {', '.join(owners)}, got others.")
    # Averages have different denominators; over the common one they are whole.
    common = lcm(*covered.values())
    bound = max(most * shape[-1] * common // covered[name] for name, shape in shapes.items())
    kind = integers((2 * bound).bit_length(), context)
    shared = context.shared("energy_wh", kind, whole("energy_wh", -most, most))
    scores = [context.mpc.np_sum(shared[name], axis=-1, keepdims=True) * (common // covered[name]) for name in owners]
    best, winner = scores[0], scores[0] * 0
    for at, score in enumerate(scores[1:], start=1):
        higher = best < score
        # One product of both, for the price of one message.
        moved = context.mpc.np_concatenate((score - best, at - winner), axis=-1) * higher
        best, winner = best + moved[..., :1], winner + moved[..., 1:]
    opened = await context.reveal(winner, to)
    return {} if opened is None else {"winner": as_int64(opened)[..., 0]}
