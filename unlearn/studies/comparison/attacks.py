"""What attackers learn from what a technique gives away: who it is, whether somebody is in it, a home's curve."""

from __future__ import annotations

import numpy as np
from scipy.stats import mannwhitneyu

from unlearn.attacks.linkage import link_by_distance, link_by_match
from unlearn.attacks.published import PublishedSeries, known_readings
from unlearn.attacks.sums import sum_scores
from unlearn.checks import FloatArray, IntArray
from unlearn.privacy.federated.differences import difference_reveals
from unlearn.privacy.federated.least_squares import fit_federated, update_federated
from unlearn.privacy.federated.messages import pack
from unlearn.studies._shared.bus_loads import LAG_DAYS, bus_dataset, load_scale
from unlearn.studies.comparison.options import (
    DP,
    DP_HOME,
    DP_SYNTHETIC,
    FEDERATED,
    HE,
    MPC,
    NONE,
    SECURE,
    SECURE_DP,
    SUMS,
)
from unlearn.studies.comparison.seen import rows_seen
from unlearn.studies.comparison.setting import Setting
from unlearn.studies.comparison.techniques import HOME_LEVEL, LEVEL, Made, federation, noise_kwh, noisy_without

#: Purposes of chance: who leaves, and who is looked for in totals.
_LEAVERS, _SOUGHT = 2, 3
#: Hours of a total in which a home is sought, and the most homes in it.
_HOURS, _MOST = 168, 15
#: Share of homes that the attacker knows.
_KNOWN = 0.4
#: Homes whose withdrawal from a federation is looked at: each is a round of all members.
_WITHDRAWN = 3
#: Level of the noise on totals, by technique.
_LEVELS = {DP: LEVEL, DP_SYNTHETIC: LEVEL, SECURE_DP: LEVEL, DP_HOME: HOME_LEVEL}
_EXACT = (NONE, SUMS, SECURE, MPC, HE)


def linked(setting: Setting, records: FloatArray) -> float:
    """Chance that a home's record is found by some of its half-hourly readings, in the mean over homes.

    That of the better of two attackers: one looks for records that agree with all readings, one for the nearest.
    """
    kwh = setting.half_hourly
    steps = known_readings(len(kwh), kwh.shape[1], min(setting.options.known, kwh.shape[1]), seed=setting.seed)
    series = PublishedSeries(records, np.arange(kwh.shape[1]))
    owner = np.arange(len(kwh))
    matched = link_by_match(series, owner, kwh, steps).chance.mean()
    return float(max(matched, link_by_distance(series, owner, kwh, steps).top(1).mean()))


def targets_of(setting: Setting) -> IntArray:
    """Homes that leave, one at a time."""
    random = np.random.default_rng((setting.seed, _LEAVERS))
    return random.permutation(len(setting.kwh))[: min(setting.options.targets, len(setting.kwh) - 1)]


def difference_error(setting: Setting, technique: str, made: Made) -> float | None:
    """Error of a home's hourly curve by the totals with and without it, over that of the mean home's curve.

    In the mean over some homes; 0 is read off, 1 is no better than guessing. Of a federation's sums it is the curve of
    a mean day. None of what gives away no totals of its own, or cannot be made twice in time.
    """
    if technique == FEDERATED:
        return withdrawal_error(setting)
    if technique not in (NONE, SUMS, SECURE, HE, DP, DP_HOME):
        return None
    mean, errors = setting.kwh.mean(axis=0), []
    assert made.kwh is not None
    for home in targets_of(setting):
        b = int(setting.feeders.feeder_of[home])
        if technique in _LEVELS:
            assert made.epsilon is not None
            after = noisy_without(setting, made.epsilon, home, _LEVELS[technique])
        else:
            kept = np.arange(len(setting.kwh)) != home
            after = setting.by_feeder(setting.kwh[kept], np.flatnonzero(kept))[:, b].reshape(-1)
        guess = made.kwh[:, b].reshape(-1) - after
        own = setting.kwh[home]
        errors.append(np.linalg.norm(guess - own) / np.linalg.norm(mean - own))
    return float(np.mean(errors))


def withdrawal_error(setting: Setting) -> float:
    """Error of a home's mean day by a federation's sums before and after it left, over that of the mean home's."""
    channel, utilities = federation(setting)
    before, own, errors = fit_federated(channel), setting.feeders, []
    training = own.plan.training.copy()
    training[:LAG_DAYS] = False
    days = setting.kwh.reshape(len(setting.kwh), -1, 24)[:, training].mean(axis=1)
    for home in targets_of(setting)[:_WITHDRAWN]:
        r, b = int(setting.retailer_of[home]), int(own.feeder_of[home])
        name, homes = f"retailer_{r + 1}", np.flatnonzero(setting.retailer_of == r)
        kept = homes[homes != home]
        factor = load_scale(own.plan, setting.by_feeder(setting.kwh[homes], homes), own.cost)
        full = utilities[name].dataset
        # The scale stays, as in a federation that takes in a withdrawal.
        less = setting.by_feeder(setting.kwh[kept], kept)
        utilities[name].dataset = bus_dataset(name, own.plan, less, factor, own.cost.case.base_mva, setting.seed)
        after = update_federated(channel, before)
        told = difference_reveals(before, after, len(full.split.train))
        load = full.load_names[b]
        guess = told.profile_mw[:, told.loads.index(load)] / factor[b] if load in told.loads else np.zeros(24)
        errors.append(np.linalg.norm(guess - days[home]) / np.linalg.norm(days.mean(axis=0) - days[home]))
        utilities[name].dataset = full
        before = update_federated(channel, after)
    return float(np.mean(errors))


def membership(setting: Setting, technique: str, epsilon: float | None) -> float | None:
    """AUC of who tells by a week of a total whether a home, whose readings he knows, is part of it; 0.5 is a guess.

    Totals are of as many homes as a feeder has, and have the noise that the technique would add. None of what gives
    away no totals.
    """
    if technique not in (*_EXACT, *_LEVELS):
        return None
    random = np.random.default_rng((setting.seed, _SOUGHT))
    order = random.permutation(len(setting.kwh))
    n_known = max(3, round(_KNOWN * len(order)))
    start = int(random.integers(max(1, setting.kwh.shape[1] - _HOURS)))
    window = setting.kwh[:, start : start + _HOURS]
    reference, pool = window[order[:n_known]], window[order[n_known:]]
    m = min(_MOST, len(pool) - 1, len(order) // len(setting.feeders.names))
    n = setting.options.sought
    target = random.integers(len(pool), size=n)
    scores = []
    for inside in (True, False):
        rank = random.random((n, len(pool)))
        rank[np.arange(n), target] = -1.0 if inside else 2.0
        member = rank <= np.sort(rank, axis=1)[:, m - 1 : m]
        total = member.astype(np.float64) @ pool
        if technique in _LEVELS:
            assert epsilon is not None
            total = total + noise_kwh(setting, epsilon, _LEVELS[technique], total.size).reshape(total.shape)
        scores.append(sum_scores(total, m, pool[target], reference))
    inside_scores, outside_scores = scores
    return float(mannwhitneyu(inside_scores, outside_scores).statistic / n**2)


def collected_seen(setting: Setting) -> float:
    """Share of homes whose readings stand in what meters send to a utility that collects them: the control."""
    rows = np.rint(1000 * setting.kwh[targets_of(setting), :24]).astype(np.int32)
    return rows_seen([pack({"wh": row}) for row in rows], rows)
