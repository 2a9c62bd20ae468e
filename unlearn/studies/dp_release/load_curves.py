"""How far off load curves are: by level, span and ε, with homes that an error takes; sums that agree; who adds "
"noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import LEVELS
from unlearn.privacy.release.consistent import Hierarchy, make_consistent
from unlearn.privacy.release.local import distributed_sum, local_sum
from unlearn.privacy.release.mechanisms import MECHANISMS
from unlearn.records import RecordTable
from unlearn.studies.dp_release.options import PURE, WITHIN, ZCDP
from unlearn.studies.dp_release.setting import ALL, PLACES, SEED, Setting, delta_of

#: Hours of which sums are made consistent, and to which meters add noise.
_HOURS = 1000
#: Mean absolute noise, and the size that noise is above in one of twenty draws, over the scale.
_MEAN = {PURE: 1.0, ZCDP: math.sqrt(2 / math.pi)}
_OFTEN = {PURE: math.log(20), ZCDP: 1.959963984540054}


def measure_error(setting: Setting, table: RecordTable) -> None:
    """Add scales, errors at all places, and homes that an error takes, by calculation and by draws."""
    own = setting.options
    random = np.random.default_rng(SEED)
    feeders = setting.at("feeder", setting.feeders.kwh.transpose(1, 0, 2).reshape(len(setting.feeders.names), -1))
    truth = {place: setting.at(place, feeders) for place in PLACES}
    _clipping(setting, table, feeders)
    cells = list(itertools.product(LEVELS, own.spans, own.epsilons, (PURE, ZCDP)))
    for level, span, epsilon, mechanism in tqdm(cells, desc="errors", delay=2, leave=False):
        columns = {"part": "error", "level": level, "span": span, "epsilon": epsilon, "mechanism": mechanism}
        columns |= {"delta": 0.0 if mechanism == PURE else setting.delta}
        table.add("noise_scale", setting.scale_kwh(mechanism, level, span, epsilon), "kwh", **columns)
        for place, kwh in truth.items():
            some = random.choice(kwh.ravel(), own.samples)
            noise = np.abs(setting.noise(mechanism, level, span, epsilon, (own.samples,)))
            here = {**columns, "place": place}
            table.add("error", noise.mean() / kwh.mean(), "share", **here)
            for name, within in (("within_1", WITHIN[0]), ("within_01", WITHIN[1])):
                table.add(name, float((noise <= within * some).mean()), "share", **here)
        _homes(setting, table, columns, random)


def homes_for(setting: Setting, level: str, span: str, epsilon: float, mechanism: str, error: float) -> int:
    """Homes of the mean load here whose hourly total the noise is a share of.

    With δ of one over ten times their number the noise grows slowly with them, so that their number is found by
    repeating.

    Args:
        setting: bounds, and the mean load of a home.
        level: of protection.
        span: hours that share ε.
        epsilon: ε.
        mechanism: of the noise.
        error: the share, over how large noise is in units of its scale.
    """
    homes = float(setting.n_homes)
    for _ in range(100):
        scale = setting.scale_kwh(mechanism, level, span, epsilon, delta_of(homes))
        found = max(1.0, scale / (error * setting.kwh_per_home))
        if abs(found / homes - 1) < 1e-6:
            break
        homes = found
    return math.ceil(round(found, 6))


def _homes(setting: Setting, table: RecordTable, columns: dict, random: np.random.Generator) -> None:
    level, span, epsilon, mechanism = (columns[name] for name in ("level", "span", "epsilon", "mechanism"))
    for within in WITHIN:
        homes = homes_for(setting, level, span, epsilon, mechanism, within / _MEAN[mechanism])
        table.add("homes", homes, "", **{**columns, "within": within})
    homes = homes_for(setting, level, span, epsilon, mechanism, WITHIN[0] / _OFTEN[mechanism])
    table.add("homes_95", homes, "", **columns)
    if epsilon != setting.options.main_epsilon:
        return
    homes = homes_for(setting, level, span, epsilon, mechanism, WITHIN[0] / _MEAN[mechanism])
    drawn = random.multinomial(homes, np.full(setting.n_homes, 1 / setting.n_homes))
    total = drawn @ setting.kwh
    some = random.integers(len(total), size=setting.options.samples)
    amount = setting.amount(mechanism, epsilon, delta_of(homes))
    noise = setting.drawn(mechanism, setting.sensitivity(level, span), amount, (len(some),)).values
    here = {**columns, "homes": homes}
    table.add("error_at_homes", np.abs(noise).mean() / total.mean(), "share", **here)
    table.add("within_1_at_homes", float((np.abs(noise) <= WITHIN[0] * total[some]).mean()), "share", **here)


def _clipping(setting: Setting, table: RecordTable, feeders: FloatArray) -> None:
    """What bounds take from totals, apart from noise."""
    for level in LEVELS:
        cut = 1 - setting.bounded_kwh(level) / np.maximum(feeders, 1e-9)
        total = 1 - setting.bounded_kwh(level).sum() / feeders.sum()
        table.add("clipping", total, "share", part="clipping", level=level)
        table.add("clipping_worst_hour", float(cut.max()), "share", part="clipping", level=level)


def measure_hierarchy(setting: Setting, table: RecordTable) -> None:
    """Add errors of feeders, substations and area before and after the projection onto sums that agree."""
    own = setting.options
    some = np.sort(np.random.default_rng(SEED).choice(len(setting.meters.hours), min(_HOURS, own.samples), False))
    for level, epsilon in itertools.product(LEVELS, own.epsilons):
        feeders = setting.bounded_kwh(level)[:, some]
        truth = {place: setting.at(place, feeders) for place in PLACES}
        mechanism = best_mechanism(setting, level, epsilon)
        columns = {"part": "hierarchy", "level": level, "epsilon": epsilon, "mechanism": mechanism}
        raw = _released(setting, truth, mechanism, level, epsilon, 1 / len(PLACES))
        found = {
            "alone": _released(setting, truth, mechanism, level, epsilon, 1.0),
            "raw": raw,
            "consistent": project(setting, raw, non_negative=False),
            "non-negative": project(setting, raw, non_negative=True),
        }
        for method, released in found.items():
            for place, kwh in truth.items():
                error = float(np.sqrt(np.square(released[place] - kwh).mean()) / kwh.mean())
                table.add("error", error, "share", **columns, method=method, place=place)


def best_mechanism(setting: Setting, level: str, epsilon: float, span: str = ALL) -> str:
    """The mechanism whose noise on a curve has the smaller standard deviation."""
    laplace = math.sqrt(2) * setting.scale_kwh(PURE, level, span, epsilon)
    return PURE if laplace <= setting.scale_kwh(ZCDP, level, span, epsilon) else ZCDP


def _released(
    setting: Setting, truth: dict[str, FloatArray], mechanism: str, level: str, epsilon: float, share: float
) -> dict[str, FloatArray]:
    """Curves of a year at all places, each at a share of the cost; some of their hours."""
    amount = setting.amount(mechanism, epsilon) * share
    sensitivity = setting.sensitivity(level, ALL)
    return {
        place: kwh + setting.drawn(mechanism, sensitivity, amount, kwh.shape).values for place, kwh in truth.items()
    }


def project(setting: Setting, released: dict[str, FloatArray], non_negative: bool) -> dict[str, FloatArray]:
    """The curves that add up and are nearest, all of the same noise."""
    feeders = setting.feeders
    above: dict[str, str | None] = {name: feeders.parents.get(name) for place in _names(setting) for name in place}
    tree = Hierarchy(above)
    values = np.concatenate([released[place] for place in PLACES])
    found = make_consistent(values, np.ones(len(values)), tree, non_negative=non_negative)
    sizes = np.cumsum([len(released[place]) for place in PLACES])[:-1]
    return dict(zip(PLACES, np.split(found, sizes), strict=True))


def _names(setting: Setting) -> tuple[tuple[str, ...], ...]:
    return setting.feeders.names, setting.feeders.substations, (PLACES[-1],)


def measure_local(setting: Setting, table: RecordTable) -> None:
    """Add errors of the sum of all homes where the utility, the meters together, or each meter adds the noise."""
    own, level = setting.options, "event"
    n = min(4 * own.samples, len(setting.meters.hours))
    some = np.sort(np.random.default_rng(SEED).choice(len(setting.meters.hours), n, False))
    steps = setting.steps(level)[:, some]
    truth, sensitivity = steps.sum(axis=0), setting.sensitivity(level, "hour")
    scale = MECHANISMS[PURE].scale_for(sensitivity, own.main_epsilon)
    honest = 1 - own.drop_out
    lost = np.arange(len(steps)) >= math.ceil(honest * len(steps))
    central = setting.drawn(PURE, sensitivity, own.main_epsilon, (n,)).values / RESOLUTION_KWH
    share, shared = f"{100 * own.drop_out:g} %", distributed_sum
    ways = {
        "central": central,
        "distributed": shared(steps, scale, setting.source) - truth,
        f"distributed, {share} may drop out": shared(steps, scale, setting.source, honest) - truth,
        f"distributed, {share} dropped out": shared(steps, scale, setting.source, honest, ~lost)
        - steps[~lost].sum(axis=0),
        "local": local_sum(steps, scale, setting.source) - truth,
    }
    expected = math.sqrt(2) * scale
    for method, noise in ways.items():
        columns = {"part": "local", "method": method, "level": level, "epsilon": own.main_epsilon, "mechanism": PURE}
        table.add("error", np.abs(noise).mean() / truth.mean(), "share", **columns)
        table.add("sd", noise.std() * RESOLUTION_KWH, "kwh", **columns)
        table.add("ratio", noise.std() / expected, "", **columns)
        table.add("homes", len(steps), "", **columns)


def measure_single(setting: Setting, table: RecordTable) -> None:
    """Add errors of the hourly use of single homes."""
    own = setting.options
    random = np.random.default_rng(SEED)
    some = random.choice(setting.kwh.ravel(), own.samples)
    for level, epsilon in itertools.product(LEVELS, own.epsilons):
        mechanism = best_mechanism(setting, level, epsilon)
        noise = np.abs(setting.noise(mechanism, level, ALL, epsilon, (own.samples,)))
        columns = {"part": "single", "level": level, "epsilon": epsilon, "mechanism": mechanism}
        table.add("error", noise.mean() / setting.kwh_per_home, "share", **columns)
        table.add("drowned", float((noise > some).mean()), "share", **columns)
