"""Evidence beside the guarantee: does the model tell what was removed from what it never learnt, before and after?

An attacker who has examples that were removed, and others of the same customers that no model ever learnt, scores both
by the model. The others lie later in time, so season alone may tell them apart: AUC after forgetting shows how far.
What AUC before exceeds it by is what the model had kept of the removed examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlearn.attacks.membership import nearest_records
from unlearn.attacks.outcome import measure_attack
from unlearn.checks import BoolArray, FloatArray, IntArray
from unlearn.detectors.windows import Windows
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.profiles import EnergyArray
from unlearn.services.learners.shards import ShardedDetector, ShardedGenerator

#: Profiles that are released for the attack; examples of each side that are attacked, at most; and windows, whose
#: scores may take a search each.
RELEASED, ATTACKED, ATTACKED_WINDOWS = 2000, 1000, 200

Numbers = dict[str, float | None]


class _Side(NamedTuple):
    """Scores by the model before and after, higher where an example seems learnt, and whose each example is."""

    before: FloatArray
    after: FloatArray
    customer: NDArray


class _Keys(NamedTuple):
    """Names of customers, and whose each example is and when."""

    names: NDArray
    customer: IntArray
    time: IntArray


def audit_profiles(
    old: ShardedGenerator,
    new: ShardedGenerator,
    before: Sequence[HouseholdProfiles],
    after: Sequence[HouseholdProfiles],
    unseen: HouseholdProfiles,
    seed: int,
) -> Numbers:
    """How near releases come to removed days, and to other days of the same customers.

    Args:
        old: the generator before.
        new: the generator after.
        before: training profiles of each shard.
        after: the same without what is removed.
        unseen: days in rows that no model learnt from.
        seed: of releases, of the choice of days and of intervals.

    Returns:
        `audit_auc_before` and `audit_auc_after` with `_low` and `_high`, the ends of their 95 % intervals: of the
        distance to the nearest of 2,000 released profiles; and medians of that distance in kWh, `nearest_before_kwh`
        and `nearest_after_kwh` of removed days and `nearest_unseen_kwh` of the others, by the new generator. None where
        there are fewer than two days on a side.
    """
    random = np.random.default_rng(seed)
    gone = [one.take(~_still_there(_days_of(one), _days_of(other))) for one, other in zip(before, after, strict=True)]
    names = np.concatenate([_names(part)[part.household] for part in gone])
    days = np.concatenate([part.kwh for part in gone])
    same = np.isin(_names(unseen)[unseen.household], names)
    other = unseen.take(same if same.sum() > 1 else np.ones(len(unseen), dtype=bool))
    releases = [model.sample(RELEASED, seed).kwh for model in (old, new)]

    def side(kwh: EnergyArray, who: NDArray) -> _Side:
        chosen = _some(len(kwh), ATTACKED, random)
        near = [-nearest_records(kwh[chosen], made).distance if len(chosen) else np.zeros(0) for made in releases]
        return _Side(near[0], near[1], who[chosen])

    members, others = side(days, names), side(other.kwh, _names(other)[other.household])
    distances = {
        "nearest_before_kwh": _median(-members.before),
        "nearest_after_kwh": _median(-members.after),
        "nearest_unseen_kwh": _median(-others.after),
    }
    return {**_areas(members, others, seed), **distances}


def audit_windows(
    old: ShardedDetector,
    new: ShardedDetector,
    before: Sequence[Windows],
    after: Sequence[Windows],
    unseen: Windows | None,
    seed: int,
) -> Numbers:
    """How normal removed windows seem, and other windows of the same customers: what was learnt scores low.

    Args:
        old: the detector before.
        new: the detector after.
        before: training windows of each shard.
        after: the same without what is removed.
        unseen: windows in rows that no model learnt from; None: there are none.
        seed: of the choice of windows and of intervals.

    Returns:
        `audit_auc_before` and `audit_auc_after` with `_low` and `_high`, of the score of a window; and the mean scores
        `score_before` and `score_after` of removed windows, and `score_unseen` of the others, by the new detector.
    """
    random = np.random.default_rng(seed)
    gone = [
        one.take(~_still_there(_starts_of(one), _starts_of(other))) for one, other in zip(before, after, strict=True)
    ]
    names = np.unique(np.concatenate([_buildings(part)[part.building] for part in gone]))
    other = [] if unseen is None else [unseen.take(_same(unseen, names))]

    def side(parts: Sequence[Windows]) -> _Side:
        chosen = _some(sum(map(len, parts)), ATTACKED_WINDOWS, random)
        edges = np.cumsum([0, *map(len, parts)])
        found = [np.zeros((3, 0))]
        customers: list[NDArray] = [np.zeros(0, dtype=str)]
        for part, low, high in zip(parts, edges[:-1], edges[1:], strict=True):
            own = part.take(chosen[(chosen >= low) & (chosen < high)] - low)
            if len(own):
                found.append(np.stack([-model.score(own).window for model in (old, new)]))
                customers.append(_buildings(own)[own.building])
        scores = np.concatenate([part[:2] for part in found], axis=1)
        return _Side(scores[0], scores[1], np.concatenate(customers))

    members, others = side(gone), side(other)
    means = {
        "score_before": _mean(-members.before),
        "score_after": _mean(-members.after),
        "score_unseen": _mean(-others.after),
    }
    return {**_areas(members, others, seed), **means}


def _areas(members: _Side, others: _Side, seed: int) -> Numbers:
    """AUC of each model, with its interval; customers are resampled where both sides have several."""
    found: Numbers = {}
    several = min(len(np.unique(side.customer)) for side in (members, others)) > 1
    groups = [np.unique(side.customer, return_inverse=True)[1] if several else None for side in (members, others)]
    for name in ("before", "after"):
        inside, outside = getattr(members, name), getattr(others, name)
        ends: tuple[float | None, ...] = (None, None, None)
        if min(len(inside), len(outside)) > 1:
            ends = measure_attack(
                inside, outside, unit="row", member_group=groups[0], other_group=groups[1], fprs=(), seed=seed
            ).auc
        found |= dict(zip((f"audit_auc_{name}{end}" for end in ("", "_low", "_high")), ends, strict=True))
    return found


def _some(size: int, most: int, random: np.random.Generator) -> IntArray:
    return np.sort(random.permutation(size)[:most])


def _median(values: FloatArray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _names(profiles: HouseholdProfiles) -> NDArray:
    return profiles.households["household_id"].to_numpy(dtype=str)


def _days_of(profiles: HouseholdProfiles) -> _Keys:
    return _Keys(_names(profiles), profiles.household, profiles.date.astype(np.int64))


def _buildings(windows: Windows) -> NDArray:
    return np.array(windows.series.series.buildings, dtype=str)


def _starts_of(windows: Windows) -> _Keys:
    return _Keys(_buildings(windows), windows.building, windows.start)


def _still_there(ours: _Keys, theirs: _Keys) -> BoolArray:
    """Which examples are among others, too, by customer and time."""
    names = np.unique(np.concatenate([ours.names, theirs.names]))
    keys = [np.stack([np.searchsorted(names, own.names)[own.customer], own.time], axis=1) for own in (ours, theirs)]
    _, code = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    return np.isin(code.ravel()[: len(keys[0])], code.ravel()[len(keys[0]) :])


def _same(windows: Windows, names: NDArray) -> BoolArray:
    """Windows of these customers; all where they have too few."""
    same = np.isin(_buildings(windows)[windows.building], names)
    return np.asarray(same if same.sum() > 1 else np.ones(len(windows), dtype=bool))
