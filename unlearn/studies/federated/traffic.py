"""What every party saw: bytes and messages, whether anybody's sums were among them, and what two totals tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unlearn.checks import FloatArray
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.channel import COORDINATOR, Traffic
from unlearn.privacy.federated.differences import difference_reveals
from unlearn.privacy.federated.fixed_point import FixedPoint, RingArray
from unlearn.privacy.federated.least_squares import fit_federated, update_federated
from unlearn.privacy.federated.messages import unpack
from unlearn.privacy.federated.model import FederatedModel
from unlearn.privacy.federated.moments import as_vector
from unlearn.privacy.federated.utility import Utility
from unlearn.records import RecordTable
from unlearn.studies.federated.members import exact_channel
from unlearn.studies.federated.setting import Setting

#: Consecutive numbers of somebody's sums that are looked for within messages.
RUN = 3
#: Draws of customers whose withdrawal is looked at.
DRAWS = 3


def measure_traffic(setting: Setting, table: RecordTable) -> None:
    """Add who sent how much, what was seen of sums, and what differences of totals tell."""
    channel, utilities = exact_channel(setting.datasets, full=True)
    model = fit_federated(channel)
    _add_traffic(table, "least squares, one secure sum", channel.traffic, setting.names)
    looked, seen = sums_seen(channel.traffic, model, utilities)
    table.add("looked_at", looked, "", part="traffic")
    table.add("sums_seen", seen, "", part="traffic")
    for n in setting.options.batch_customers:
        for draw in range(DRAWS):
            _add_difference(setting, table, n, draw)


def _add_traffic(table: RecordTable, family: str, traffic: Traffic, names: tuple[str, ...]) -> None:
    for party in (COORDINATOR, *names):
        own = {"part": "traffic", "family": family, "party": party}
        received = traffic.seen_by(party)
        inwards = sum(one.n_bytes for one in received)
        table.add("bytes_received", inwards, "B", **own)
        table.add("bytes_sent", traffic.n_bytes(party) - inwards, "B", **own)
        table.add("messages", len(received), "", **own)


def sums_seen(traffic: Traffic, model: FederatedModel, utilities: Mapping[str, Utility]) -> tuple[int, int]:
    """How many messages were looked at, and how many of them, or of their differences, hold some member's sums.

    A message holds them if some consecutive numbers of a member's sums stand in it, in double precision or in the ring
    of the secure sum; every two arrays of a ring are subtracted from each other as well.

    Args:
        traffic: recorded in full.
        model: what came of it.
        utilities: members, whose sums are computed here as they computed them.
    """
    ring = FixedPoint()
    wanted: dict[str, tuple[FloatArray, RingArray]] = {}
    for name, own in utilities.items():
        rows = own.dataset.split.train
        design = model.design.rows(own.dataset.features[rows])
        target = own.dataset.load_pu[rows]
        vector = as_vector(_summed(design, target))
        wanted[name] = vector[0], ring.encode(vector[0], vector[1], len(utilities))
    found = 0
    rings: list[RingArray] = []
    for one in traffic.sent:
        found += any(_holds(one.content, high, encoded) for high, encoded in wanted.values())
        rings += [
            own for own in unpack(one.content).values()
            if own.dtype == np.uint64 and own.ndim == 2 and own.shape[1] == ring.n_limbs
        ]  # fmt: skip
    for i, first in enumerate(rings):
        for second in rings[:i]:
            if first.shape == second.shape:
                difference = ring.add(first, ring.negate(second))
                for _, encoded in wanted.values():
                    same = encoded.shape == difference.shape
                    found += bool(same and ((difference == encoded).all(axis=1).mean() > 1e-3))
    return len(traffic.sent), found


def _summed(design: object, target: FloatArray) -> SufficientStatistics:
    import torch

    return SufficientStatistics.of(design, torch.from_numpy(target))  # type: ignore[arg-type]


def _holds(content: bytes, high: FloatArray, encoded: RingArray) -> bool:
    large = np.flatnonzero(np.abs(high) > 1)
    places = [int(i) for i in large[:: max(1, len(large) // 20)] if i + RUN <= len(high)]
    runs = [high[i : i + RUN].tobytes() for i in places] + [encoded[i : i + RUN].tobytes() for i in places]
    return any(run in content for run in runs)


def _add_difference(setting: Setting, table: RecordTable, n: int, draw: int) -> None:
    """Add how well the mean days of customers that leave at once are read from totals before and after."""
    leaving = setting.leaving_customers(n, draw)
    channel, utilities = exact_channel(setting.datasets)
    before = fit_federated(channel)
    for name, customers in leaving.items():
        # The scale stays: else the whole feeder's change is in the difference, too, which tells less of the customer.
        utilities[name].forget(customers)
    after = update_federated(channel, before)
    changed = [setting.datasets[name] for name in leaving]
    rows = sum(len(own.split.train) for own in changed)
    told = difference_reveals(before, after, rows)
    members = {own.name: own for own in setting.members}
    at_load: dict[str, int] = {}
    for name, customers in leaving.items():
        for one in customers:
            load = members[name].load_of[one]
            at_load[load] = at_load.get(load, 0) + 1
    for name, customers in leaving.items():
        member = members[name]
        for one in customers:
            load = member.load_of[one]
            b = member.dataset.load_names.index(load)
            own = mean_day(setting, name, [one])
            mean = mean_day(setting, name, member.meters.customer_ids) / len(member.meters)
            if load in told.loads:
                # Totals of several members are over their rows together: each has its part of them.
                share = rows / len(member.dataset.split.train)
                profile = told.profile_mw[:, told.loads.index(load)] * share / member.dataset.mw_per_kwh[b]
                guess = profile / at_load[load]
            else:
                guess = np.zeros(24)
            columns = {"part": "traffic", "n_changed": float(n)}
            error = float(np.linalg.norm(guess - own) / np.linalg.norm(mean - own))
            table.add("difference_relative", error, "relative", **columns)
            varies = guess.std() > 0 and own.std() > 0
            table.add("difference_correlation", float(np.corrcoef(guess, own)[0, 1]) if varies else 0.0, "1", **columns)


def mean_day(setting: Setting, utility: str, customers: tuple[str, ...] | list[str]) -> FloatArray:
    """Mean day of customers in the training hours, in kWh an hour, shape (24,)."""
    member = next(own for own in setting.members if own.name == utility)
    kwh = member.meters.series(member.meters.positions("customers", customers)).sum(axis=0)
    dataset = member.dataset
    rows = dataset.split.train
    train = kwh[dataset.n_history :][rows]
    hour = dataset.timestamps[rows].hour.to_numpy()
    return np.asarray(np.bincount(hour, train, 24) / np.bincount(hour, minlength=24))
