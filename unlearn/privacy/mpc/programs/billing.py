"""Bills from readings that neither the utility nor any single server sees.

A meter splits each reading into random parts, one for each of several servers (additive shares modulo 2^127 - 1); any
server fewer than all of them holds numbers that say nothing. The servers compute, and only bills are opened, only to
the utility.

Trust: servers follow the protocol; fewer than all of them put the meters' shares together, and at most `threshold` of
the parties what they see while computing. A bill is one equation about the readings: with one price it tells the total,
with tiers where it lies among them, and two tariffs over the same month tell more than one, so servers bill a month
once. Every server refuses tariffs that plainly single out intervals; no rule finds all of them, so tariffs are
published ones. What a meter reports wrongly is found by `spot_check`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import IntArray, require_distinct
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.whole import as_int64, joint, one_shape, require_owners

#: Shares are numbers modulo this prime, in two limbs of 64 bits.
PRIME = 2**127 - 1
#: Size of amounts that are compared in secret, readings and energy of a period; masks of 64 bits still fit the prime.
_AMOUNT_BITS = 44
_LIMB = 2**64
#: Largest share of a period's intervals that a spot check opens.
MOST_OPENED = 0.05
#: Fewest servers.
LEAST_SERVERS = 3
#: Most Wh within one interval; a meter of 100 A in three phases delivers 35,000 in half an hour.
MOST_WH = 2**20
_MOST_PRICE, _LEAST_COVERED, _MOST_RATIO, _MOST_INTERVALS = 10**7, 6, 1000, 2**16


@dataclass(frozen=True)
class Tariff:
    """Prices by time of use, and further ones for what exceeds thresholds of the whole period.

    >>> tariff = Tariff(prices=(30,) * 6 + (20,) * 18, thresholds_wh=(500,), surcharges=(5,))
    >>> tariff.bills(np.full((1, 24), 100)).tolist()
    [63500]

    Attributes:
        prices: of each interval, in millionths of the currency per kWh, whole numbers from 0 to 10 million.
        thresholds_wh: of the period's energy, ascending.
        surcharges: what each kWh above a threshold costs more, or less if negative, in millionths.

    Raises:
        InputError: other numbers; a price that fewer than six intervals have, which singles them out; or one more than
            1,000 times another, by which digits of the bill would tell parts of the load.
    """

    prices: tuple[int, ...]
    thresholds_wh: tuple[int, ...] = ()
    surcharges: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        everything = (*self.prices, *self.thresholds_wh, *self.surcharges)
        if not self.prices or not all(type(one) is int for one in everything):
            raise InputError("tariff: expected whole numbers, in millionths per kWh and in Wh, got others or none.")
        if min(self.prices) < 0 or max(map(abs, (*self.prices, *self.surcharges))) > _MOST_PRICE:
            raise InputError(f"tariff: expected prices from 0 to {_MOST_PRICE} millionths per kWh, got others.")
        levels, covered = np.unique(self.prices, return_counts=True)
        if covered.min() < _LEAST_COVERED:
            raise InputError(
                f"tariff: expected at least {_LEAST_COVERED} intervals of each price, got {int(covered.min())} of one, "
                "by which the bill would tell them. Round prices, or bill a longer period."
            )
        paid = [*levels[levels > 0].tolist(), *(abs(one) for one in self.surcharges if one)]
        if paid and max(paid) > _MOST_RATIO * min(paid):
            raise InputError(f"tariff: expected prices within a factor of {_MOST_RATIO} of each other, got others.")
        if len(self.prices) > _MOST_INTERVALS:
            raise InputError(f"tariff: expected at most {_MOST_INTERVALS} intervals, got {len(self.prices)}.")
        limits = (0, *self.thresholds_wh, MOST_WH * len(self.prices) + 1)
        if any(b <= a for a, b in pairwise(limits)) or len(self.surcharges) != len(limits) - 2:
            raise InputError(
                "tariff: expected ascending thresholds within what a period can use, and a surcharge for each, got "
                f"{len(self.thresholds_wh)} thresholds and {len(self.surcharges)} surcharges."
            )

    def bills(self, readings_wh: NDArray) -> IntArray:
        """Bills from plain readings, whole Wh with shape (customers, intervals), in 10^-9 of the currency."""
        used = np.asarray(readings_wh, dtype=np.int64)
        month = used.sum(axis=1)
        bills = used @ np.array(self.prices, dtype=np.int64)
        for threshold, surcharge in zip(self.thresholds_wh, self.surcharges, strict=True):
            bills += np.maximum(month - threshold, 0) * surcharge
        return bills


def tariff_public(tariff: Tariff, utility: str) -> dict[str, Any]:
    """Public parameters of `bill` and `open_readings`."""
    return {
        "prices": list(tariff.prices), "thresholds_wh": list(tariff.thresholds_wh),
        "surcharges": list(tariff.surcharges), "utility": utility,
    }  # fmt: skip


def split_readings(readings_wh: NDArray, servers: Sequence[str]) -> dict[str, Payload]:
    """What a meter, or several, give to each server: parts that add up to the readings modulo 2^127 - 1.

    All but one of the parts are the operating system's randomness, and so is the last one without them.

    Args:
        readings_wh: whole Wh, shape (customers, intervals).
        servers: at least three.

    Returns:
        `low` and `high`, uint64 with the readings' shape, by server.

    Raises:
        InputError: readings that are not whole, negative or beyond 2^20 Wh; too few servers.

    >>> parts = split_readings(np.array([[480, 20]]), ["a", "b", "c"])
    >>> numbers = [part["low"].astype(object) + 2**64 * part["high"].astype(object) for part in parts.values()]
    >>> (sum(numbers) % PRIME).tolist()
    [[480, 20]]
    """
    values = np.asarray(readings_wh)
    if values.ndim != 2 or not np.array_equal(values, np.round(values)) or ((values < 0) | (values > MOST_WH)).any():
        raise InputError(
            f"readings_wh: expected whole Wh from 0 to {MOST_WH} with shape (customers, intervals), got others of "
            f"shape {values.shape}."
        )
    if len(servers) < LEAST_SERVERS:
        raise InputError(f"servers: expected at least {LEAST_SERVERS}, got {len(servers)}.")
    require_distinct("servers", list(servers), "server")
    rest, parts = values.astype(np.int64).astype(object), {}
    for name in servers[1:]:
        drawn = np.frombuffer(secrets.token_bytes(16 * values.size), dtype="<u8").reshape(*values.shape, 2)
        part = (drawn[..., 0].astype(object) + _LIMB * (drawn[..., 1] >> np.uint64(1)).astype(object)) % PRIME
        rest = (rest - part) % PRIME
        parts[name] = _limbs(part)
    return {servers[0]: _limbs(rest), **parts}


async def bill(context: Context, public: Public) -> Payload:
    """Each customer's bill, told to the utility alone.

    Servers bring `low` and `high`, as `split_readings` gave them; the utility, and whoever else takes part, brings
    none.

    Args:
        context: see `Context`.
        public: see `tariff_public`.

    Returns:
        `accepted`, 0 or 1 for each customer, at everyone: whether its shares give readings from 0 to 2^20 Wh in every
        interval. At the utility `bills`, in 10^-9 of the currency, shape (customers,), 0 where not accepted. Shares of
        another month or meter at one server pass with a probability of about 2^-40. Without this one interval would be
        enough to take back what all the others used.

    Raises:
        InputError: a tariff that is none, or that singles out intervals.
        ProtocolError: fewer than three servers, or other shapes.

    >>> import pytest; _ = pytest.importorskip("mpyc")
    >>> from unlearn.privacy.mpc.context import rehearse
    >>> servers = split_readings(np.full((1, 6), 100), ["a", "b", "c"])
    >>> rehearse(bill, {**servers, "utility": {}}, tariff_public(Tariff((30,) * 6), "utility"))["bills"].tolist()
    [18000]
    """
    tariff = Tariff(*(tuple(public.get(key, ())) for key in ("prices", "thresholds_wh", "surcharges")))
    utility = _utility(context, public)
    readings = _readings(context)
    if readings.shape[1] != len(tariff.prices):
        raise ProtocolError(f"bill: expected {len(tariff.prices)} intervals, got {readings.shape[1]}.")
    mpc = context.mpc
    bills = mpc.np_matmul(readings, np.array(tariff.prices, dtype=object))
    if tariff.thresholds_wh:
        month = mpc.np_sum(readings, axis=1).reshape(readings.shape[0], 1)
        above = month - np.array(tariff.thresholds_wh, dtype=object).reshape(1, -1)
        bills = bills + mpc.np_matmul((above > 0) * above, np.array(tariff.surcharges, dtype=object))
    accepted = await _accepted(context, readings)
    result: Payload = {"accepted": accepted}
    kept = np.flatnonzero(accepted)
    opened = await context.reveal(bills[kept], [utility]) if kept.size else np.zeros(0, dtype=object)
    if context.name == utility or len(mpc.parties) == 1:
        result["bills"] = np.zeros(len(accepted), dtype=np.int64)
        result["bills"][kept] = as_int64(opened)
    return result


async def open_readings(context: Context, public: Public) -> Payload:
    """Readings of one customer at the intervals of a spot check, told to the utility alone.

    Servers run it once for a customer and period, and with `hours` that the customer confirms to have drawn, too.

    Args:
        context: see `Context`.
        public: `utility`; `customer`, its place; `hours`, places of the intervals, as `spot_check.chosen` gave them; at
            most `MOST_OPENED` of all intervals are opened.

    Returns:
        At the utility `readings_wh`, whole numbers in the order of `hours`, -1 where shares give no possible reading.

    Raises:
        ProtocolError: as `bill`; or more intervals than a spot check may open.
    """
    utility, readings = _utility(context, public), _readings(context)
    hours, customer = list(public.get("hours", [])), public.get("customer", 0)
    n = readings.shape[1]
    known = all(type(one) is int and 0 <= one < n for one in hours) and len(set(hours)) == len(hours)
    if not hours or not known or len(hours) > max(1, int(MOST_OPENED * n)):
        raise ProtocolError(f"hours: expected at most {MOST_OPENED:.0%} of {n} intervals, each once, got {len(hours)}.")
    if type(customer) is not int or not 0 <= customer < readings.shape[0]:
        raise ProtocolError(f"customer: expected a place from 0 to {readings.shape[0] - 1}, got {customer!r}.")
    opened = await context.reveal(readings[customer, hours], [utility])
    if opened is None:
        return {}
    numbers = [int(one) for one in np.asarray(opened, dtype=object)]
    return {"readings_wh": np.array([one if 0 <= one <= MOST_WH else -1 for one in numbers], dtype=np.int64)}


async def _accepted(context: Context, readings: Any) -> NDArray[np.int64]:
    """Whether all of a customer's readings lie from 0 to `MOST_WH`.

    A secure comparison of x with zero on l bits gives -floor(x / 2^l) modulo the prime, whatever a meter made
    of x: zero from 0 to 2^l, and otherwise not. So x and `MOST_WH` - x are compared, each by itself: in a sum,
    others could cancel. All are zero for an honest meter, so nothing of it is told; of another, where it is impossible.
    """
    sides = context.mpc.np_concatenate((readings, MOST_WH - readings), axis=1)
    below = context.mpc.np_sgn(sides, l=MOST_WH.bit_length(), LT=True)
    inside = np.asarray(await context.mpc.np_is_zero_public(below), dtype=bool)
    return np.asarray(inside.all(axis=1), dtype=np.int64)


def _readings(context: Context) -> Any:
    """Shared readings from the servers' parts; the sum of parts wraps around the prime as it should."""
    servers = require_owners(context, "low", LEAST_SERVERS, "which hold parts of readings")
    if context.owners("high") != servers or one_shape(context, "high", (2,)) != one_shape(context, "low", (2,)):
        raise ProtocolError("low, high: expected both with one shape of every server.")
    kind = context.mpc.SecInt(_AMOUNT_BITS, p=PRIME)
    return joint(context.shared("low", kind)) + joint(context.shared("high", kind)) * _LIMB


def _utility(context: Context, public: Public) -> str:
    utility = public.get("utility")
    if utility not in context.names or context.shapes[str(utility)]:
        raise ProtocolError("utility: expected a party without shares, who learns the bills, got none.")
    return str(utility)


def _limbs(numbers: NDArray) -> Payload:
    return {"low": (numbers % _LIMB).astype(np.uint64), "high": (numbers // _LIMB).astype(np.uint64)}
