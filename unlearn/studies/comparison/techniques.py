"""What each technique makes of the homes' readings: loads of feeders as somebody is given them, or a forecast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.dp import rho_for
from unlearn.generators.base import make_generator
from unlearn.households import simulate_households
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.households.released import drawn_load_kwh
from unlearn.privacy.anonymize import microaggregated
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.fixed_point import FixedPoint
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.least_squares import fit_federated
from unlearn.privacy.federated.messages import pack
from unlearn.privacy.federated.party import Party
from unlearn.privacy.federated.summands import Contribution, summand
from unlearn.privacy.federated.summing import secure_sum
from unlearn.privacy.federated.utility import Utility
from unlearn.privacy.release.base import Contribution as Bounds
from unlearn.privacy.release.base import Sensitivity, View
from unlearn.privacy.release.bounding import bounded_steps, energy_sensitivity
from unlearn.privacy.release.consistent import non_negative
from unlearn.privacy.release.local import distributed_sum
from unlearn.privacy.release.mechanisms import MECHANISMS, Asking
from unlearn.privacy.release.queries import by_group
from unlearn.studies.comparison.options import (
    CLASSES,
    DP,
    DP_HOME,
    DP_SYNTHETIC,
    FEDERATED,
    NONE,
    PSEUDONYMS,
    SECURE,
    SECURE_DP,
    SUMS,
    SYNTHETIC,
)
from unlearn.studies.comparison.seen import rows_seen
from unlearn.studies.comparison.setting import Setting

#: Noise of pure ε, and the level that it protects: one reading.
MECHANISM, LEVEL = "discrete_laplace", "event"
#: Noise of (ε, δ), and its level: all readings of a home.
HOME_MECHANISM, HOME_LEVEL = "discrete_gaussian", "household"
#: Seed of simulated homes that are nobody's.
PUBLIC_SEED = 90210


@dataclass(frozen=True, eq=False)
class Made:
    """What a technique gave away.

    Attributes:
        kwh: loads of feeders as far as they are known of it, shape (D, B, 24); None where only a forecaster is.
        seconds: that it took in all.
        n_bytes: that all parties sent to each other until the result was there.
        parties: who took part in sending.
        epsilon: ε where it promises one.
        forecast: forecasts in p.u. of features; None learns from `kwh`.
        records: of single homes, half-hourly, shape (R, S), where it gives such; row i is that of home i.
        refuses: whether totals that differ by one home were refused; None where nobody tried.
        seen: share of private rows that were found in recorded messages to others; None where nothing was recorded.
        differs: largest difference of its forecasts from the same in plain, in p.u.
    """

    kwh: FloatArray | None
    seconds: float
    n_bytes: int
    parties: int
    epsilon: float | None = None
    forecast: Callable[[FloatArray], FloatArray] | None = None
    records: FloatArray | None = field(default=None, repr=False)
    refuses: bool | None = None
    seen: float | None = None
    differs: float | None = None


def collected_bytes(setting: Setting) -> int:
    """Bytes of the hourly readings of all homes as their meters send them, in whole Wh."""
    return sum(len(pack({"wh": np.zeros(setting.kwh.shape[1], dtype=np.int32)})) for _ in setting.kwh)


def _bytes_of(kwh: FloatArray) -> int:
    return len(pack({"wh": np.rint(1000 * kwh).astype(np.int32)}))


def _none(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    kwh = setting.by_feeder(setting.kwh)
    yield Made(kwh, time.perf_counter() - start, collected_bytes(setting), len(setting.kwh))


def _sums(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    kwh = setting.by_feeder(setting.kwh)
    spent = time.perf_counter() - start
    yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(kwh), len(setting.kwh))


def _pseudonyms(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    kwh = setting.by_feeder(setting.kwh)
    given = setting.half_hourly
    spent = time.perf_counter() - start
    yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(given), len(given), records=given)


def _classes(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    given = microaggregated(setting.half_hourly, min(setting.options.class_size, len(setting.kwh))).centroids
    hourly = given.reshape(len(given), setting.kwh.shape[1], -1).sum(axis=2)
    kwh = setting.by_feeder(hourly)
    spent = time.perf_counter() - start
    yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(given), len(given), records=given)


def noisy_totals(setting: Setting, epsilon: float, level: str = LEVEL) -> FloatArray:
    """Loads of feeders with noise, shape (D, B, 24).

    Args:
        setting: homes and bounds.
        epsilon: ε of all hours and feeders.
        level: what is protected, a reading or a home.
    """
    asking, steps, sensitivity = _asking(setting, epsilon, level)
    totals = by_group(steps, setting.feeders.feeder_of, asking.view)
    found = asking.noisy(totals.reshape(-1), sensitivity, RESOLUTION_KWH).values.reshape(totals.shape)
    return setting.feeders.by_day(non_negative(found))


def noisy_without(setting: Setting, epsilon: float, home: int, level: str = LEVEL) -> FloatArray:
    """Hourly loads of a home's feeder as they would be released without it, shape (H,)."""
    asking, steps, sensitivity = _asking(setting, epsilon, level)
    here = setting.feeders.feeder_of == setting.feeders.feeder_of[home]
    here[home] = False
    found: FloatArray = non_negative(asking.noisy(steps[here].sum(axis=0), sensitivity, RESOLUTION_KWH).values)
    return found


def noise_kwh(setting: Setting, epsilon: float, level: str, n: int) -> FloatArray:
    """The noise of so many totals, in kWh: what totals of other homes would be given."""
    asking, _, sensitivity = _asking(setting, epsilon, level)
    return asking.noisy(np.zeros(n, dtype=np.int64), sensitivity, RESOLUTION_KWH).values


def _asking(setting: Setting, epsilon: float, level: str = LEVEL) -> tuple[Asking, IntArray, Sensitivity]:
    own = setting.options
    view = View(setting.feeders.meters.hours, setting.feeders.names)
    bounds = Bounds(level, own.kwh_per_hour, own.kwh_per_day)
    mechanism, amount = (MECHANISM, epsilon) if level == LEVEL else (HOME_MECHANISM, rho_for(epsilon, own.delta))
    asking = Asking(bounds, view, 0.95, MECHANISMS[mechanism], amount, setting.source)
    return asking, bounded_steps(setting.kwh, bounds, view), energy_sensitivity(bounds, view, "h")


def _dp_home(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    epsilon = setting.options.main_epsilon
    kwh = noisy_totals(setting, epsilon, level=HOME_LEVEL)
    spent = time.perf_counter() - start
    yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(kwh), len(setting.kwh), epsilon)


def _dp(setting: Setting) -> Iterator[Made]:
    for epsilon in setting.options.epsilons:
        start = time.perf_counter()
        kwh = noisy_totals(setting, epsilon)
        spent = time.perf_counter() - start
        yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(kwh), len(setting.kwh), epsilon)


def _synthetic(setting: Setting) -> Iterator[Made]:
    own, feeders = setting.options, setting.feeders
    start = time.perf_counter()
    days = feeders.plan.days[feeders.plan.training]
    train = setting.profiles.take(np.isin(setting.profiles.date, days))
    release = make_generator(own.generator).release(train, own.profiles, setting.seed)
    random = np.random.default_rng((setting.seed, 1))
    ids = setting.profiles.households
    segment = dict(zip(ids["household_id"].astype(str), ids["segment"].astype(str), strict=True))
    of = np.array([segment[own] for own in feeders.meters.customer_ids])
    kwh = np.concatenate(
        [
            drawn_load_kwh(of[feeders.feeder_of == b][None], feeders.plan.days, release, random)
            for b in range(len(feeders.names))
        ],
        axis=1,
    )
    spent = time.perf_counter() - start
    yield Made(kwh, spent, collected_bytes(setting) + _bytes_of(release.kwh.astype(np.float64)), len(setting.kwh))


def federation(setting: Setting, full: bool = False) -> tuple[LocalChannel, dict[str, Utility]]:
    """Retailers who learn together, each with keys of its own; `full` records what messages hold."""
    names, keys, roster = retailers(setting)
    utilities = {
        name: Utility(name, setting.scaled_dataset(kwh, name))
        for name, kwh in zip(names, setting.by_retailer, strict=True)
    }
    return LocalChannel([own.party(keys[name], roster) for name, own in utilities.items()], full=full), utilities


def retailers(setting: Setting) -> tuple[list[str], dict[str, Identity], Roster]:
    """Names, keys and the list of public keys of who holds the homes among them."""
    names = [f"retailer_{r + 1}" for r in range(setting.options.retailers)]
    keys = {name: Identity.new() for name in names}
    return names, keys, Roster({name: own.public for name, own in keys.items()})


def _federated(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    channel, utilities = federation(setting, full=True)
    model = fit_federated(channel)
    spent = time.perf_counter() - start
    own = np.stack([one.dataset.load_pu.T[0] for one in utilities.values()])
    seen = rows_seen((one.content for one in channel.traffic.sent), own)
    yield Made(None, spent, channel.traffic.n_bytes(), len(utilities), forecast=model.forecast, seen=seen)


def _secure(setting: Setting) -> Iterator[Made]:
    start = time.perf_counter()
    names, keys, roster = retailers(setting)
    own = dict(zip(names, setting.by_retailer, strict=True))

    def gives(kwh: FloatArray) -> dict[str, Contribution]:
        return {"totals": lambda asked: (kwh.reshape(-1), None)}

    parties = [Party(name, summand(name, keys[name], roster, gives(own[name]))) for name in names]
    channel = LocalChannel(parties, full=True)
    kwh = secure_sum(channel, "totals").high.reshape(setting.feeders.kwh.shape)
    spent = time.perf_counter() - start
    # As they stand, and in whole numbers of the sum.
    rows = np.stack([one.reshape(-1) for one in own.values()])
    ring = FixedPoint()
    encoded = np.stack([ring.encode(row, None, len(names)).reshape(-1) for row in rows])
    messages = [one.content for one in channel.traffic.sent]
    seen = max(rows_seen(messages, rows), rows_seen(messages, encoded))
    yield Made(kwh, spent, channel.traffic.n_bytes(), len(names), seen=seen)


def _secure_dp(setting: Setting) -> Iterator[Made]:
    """Each meter adds a part of the noise, and only sums are opened; traffic is that of the secure sum."""
    exact = next(_secure(setting))
    epsilon = setting.options.main_epsilon
    _, steps, sensitivity = _asking(setting, epsilon)
    scale = MECHANISMS[MECHANISM].scale_for(sensitivity, epsilon)
    start = time.perf_counter()
    where, n = setting.feeders.feeder_of, len(setting.feeders.names)
    noisy = np.stack([distributed_sum(steps[where == b], scale, setting.source) for b in range(n)])
    kwh = setting.feeders.by_day(non_negative(noisy * RESOLUTION_KWH))
    spent = exact.seconds + time.perf_counter() - start
    yield Made(kwh, spent, exact.n_bytes, exact.parties, epsilon, seen=exact.seen)


def _dp_synthetic(setting: Setting) -> Iterator[Made]:
    """Records of simulated homes that add up to the noisy totals: what is made of an answer has its promise."""
    epsilon, feeders = setting.options.main_epsilon, setting.feeders
    start = time.perf_counter()
    totals = noisy_totals(setting, epsilon)
    made = simulate_households(
        len(setting.kwh), str(feeders.plan.days[0]), len(feeders.plan.days), random_state=PUBLIC_SEED
    )
    shape = made.kwh.astype(np.float64).reshape(len(setting.kwh), -1)
    hourly = shape.reshape(len(shape), setting.kwh.shape[1], -1).sum(axis=2)
    known = setting.by_feeder(hourly).transpose(1, 0, 2).reshape(len(feeders.names), -1)
    wanted = totals.transpose(1, 0, 2).reshape(len(feeders.names), -1)
    factor = (wanted / np.maximum(known, 1e-9))[feeders.feeder_of]
    records = shape * np.repeat(factor, shape.shape[1] // factor.shape[1], axis=1)
    spent = time.perf_counter() - start
    n_bytes = collected_bytes(setting) + _bytes_of(records)
    yield Made(totals, spent, n_bytes, len(setting.kwh), epsilon, records=records)


#: What each technique that is here gives away, one or more times.
MAKERS: Mapping[str, Callable[[Setting], Iterator[Made]]] = {
    NONE: _none,
    SUMS: _sums,
    PSEUDONYMS: _pseudonyms,
    CLASSES: _classes,
    DP: _dp,
    DP_HOME: _dp_home,
    SYNTHETIC: _synthetic,
    FEDERATED: _federated,
    SECURE: _secure,
    SECURE_DP: _secure_dp,
    DP_SYNTHETIC: _dp_synthetic,
}
