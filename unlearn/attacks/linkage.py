"""Linkage: an attacker who knows a few readings of a household looks for its record in a release without names.

Few readings are enough where records are fine: each is a number that few others have at that time. What is known and
what is released need not have the same time steps: a reading of half an hour bounds a daily total from below, and 48 of
them must add up to it (Sweeney 2002, "k-anonymity"; de Montjoye et al. 2013, "Unique in the crowd", count alike).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.attacks.outcome import LEVEL, N_BOOTSTRAP, Estimate, bootstrap_weights
from unlearn.attacks.published import Knowledge, Owners, PublishedSeries, blocks, require_same_records
from unlearn.attacks.risk import exact_rate
from unlearn.checks import BoolArray, FloatArray, IntArray, require_count

#: kWh, and share of a value: differences below it are roundings of sums in single precision.
_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class Linkage:
    """Who fits what the attacker knows, of each target.

    Attributes:
        matches: persons whose record fits, with each record counted as often as it has owners, shape (C,).
        included: whether the target's own record is among them, shape (C,).
        chance: that a guess among them is right, shape (C,).
    """

    matches: IntArray
    included: BoolArray
    chance: FloatArray

    @property
    def unique(self) -> BoolArray:
        """Targets whose record alone fits, shape (C,)."""
        return self.included & (self.matches == 1)

    def metrics(self, seed: int = 0) -> dict[str, Estimate]:
        """Shares of targets that are unique and whose record fits, and the mean chance of a right guess."""
        n = len(self.matches)
        return {
            "unique": exact_rate(int(self.unique.sum()), n),
            "included": exact_rate(int(self.included.sum()), n),
            "chance": mean_over_targets(self.chance, seed),
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where each target's record stands among all, by distance to what the attacker knows.

    Attributes:
        nearer: persons that are nearer than the target's record, shape (C,); those without a record have n_persons.
        tied: others at the same distance, shape (C,).
        n_persons: owners of records, with a record that nobody owns counted once.
    """

    nearer: IntArray
    tied: IntArray
    n_persons: int

    def top(self, k: int = 1) -> FloatArray:
        """Chance that each target is among the k nearest, ties broken at random, shape (C,)."""
        require_count("k", k)
        return np.clip((k - self.nearer) / (self.tied + 1), 0.0, 1.0) * (self.nearer < self.n_persons)

    def rank(self) -> FloatArray:
        """Expected rank of each target, 1 is the nearest, shape (C,); NaN without a record."""
        return np.where(self.nearer < self.n_persons, 1 + self.nearer + self.tied / 2, np.nan)

    def metrics(self, seed: int = 0) -> dict[str, Estimate]:
        """Mean chance to be the nearest and among the ten nearest; mean rank over the number of persons."""
        found = {"top_1": mean_over_targets(self.top(1), seed), "top_10": mean_over_targets(self.top(10), seed)}
        rank = self.rank()
        if np.isfinite(rank).any():
            found["relative_rank"] = mean_over_targets(rank[np.isfinite(rank)] / self.n_persons, seed)
        return found


def link_by_match(
    release: PublishedSeries | Sequence[PublishedSeries], owner: ArrayLike, kwh: ArrayLike, known: ArrayLike
) -> Linkage:
    """Find the records that agree with all that an attacker knows of each target.

    A step whose readings are all known must agree with the released value up to its tolerance. One that is known in
    part only bounds it: energy and maximum from below, a minimum from above.

    >>> from unlearn.attacks import known_readings
    >>> kwh = np.random.default_rng(0).gamma(1.0, 0.2, (50, 96))
    >>> known = known_readings(50, 96, 2)
    >>> raw = PublishedSeries(kwh, np.arange(96))
    >>> daily = PublishedSeries(kwh.reshape(50, 2, 48).sum(axis=2), np.arange(96) // 48)
    >>> [link_by_match(release, np.arange(50), kwh, known).unique.mean().item() for release in (raw, daily)]
    [1.0, 0.0]

    Args:
        release: records; several where a record has several sorts of values, such as minimum and maximum.
        owner: target that each record is of, -1 for nobody's, shape (R,); or shape (R, k) where records have up to k
            owners, filled up with -1.
        kwh: readings of the targets, shape (C, T).
        known: steps that the attacker knows of each, shape (C, n); see `known_readings`.

    Raises:
        InputError: shapes that do not fit, unknown owners or steps, readings that are not finite.
    """
    facts = Knowledge(kwh, known)
    series = require_same_records(release, facts.kwh.shape[1])
    owned = Owners(owner, len(series[0].values), len(facts.kwh))
    matches = np.empty(len(facts.kwh), dtype=np.int64)
    included, chance = np.zeros(len(facts.kwh), dtype=bool), np.zeros(len(facts.kwh))
    for block in tqdm(_blocks_of(facts, owned), desc="linkage", leave=False, delay=2):
        fits = np.ones((len(facts.known[block]), len(owned.weight)), dtype=bool)
        for part in series:
            fits &= _fits(part, facts, block)
        own = fits & owned.by(block)
        matches[block] = fits @ owned.weight
        included[block] = own.any(axis=1)
        # A guess is a person drawn among those that fit; of a record with several owners any may be meant.
        chance[block] = own.sum(axis=1) / np.maximum(matches[block], 1)
    return Linkage(matches, included, chance)


def link_by_distance(
    release: PublishedSeries | Sequence[PublishedSeries], owner: ArrayLike, kwh: ArrayLike, known: ArrayLike
) -> Ranking:
    """Rank records by their distance to what an attacker knows of each target.

    This finds records that agree with nothing exactly: averages of similar households, noisy ones, made-up ones. A step
    that is known in part is taken to be so throughout. Values count in standard deviations over the release, those of a
    group per owner.

    Args:
        release: as in `link_by_match`.
        owner: as in `link_by_match`.
        kwh: as in `link_by_match`.
        known: as in `link_by_match`.

    Raises:
        InputError: as in `link_by_match`.
    """
    facts = Knowledge(kwh, known)
    series = require_same_records(release, facts.kwh.shape[1])
    owned = Owners(owner, len(series[0].values), len(facts.kwh))
    persons = int(owned.weight.sum())
    nearer, tied = np.full(len(facts.kwh), persons), np.zeros(len(facts.kwh), dtype=np.int64)
    for block in tqdm(_blocks_of(facts, owned), desc="distances", leave=False, delay=2):
        squared = np.zeros((len(facts.known[block]), len(owned.weight)))
        for part in series:
            squared += _squared_distances(part, owned.weight, facts, block)
        own = owned.by(block)
        best = np.where(own, squared, np.inf).argmin(axis=1)
        least = squared[np.arange(len(best)), best][:, None]
        others, has_own = ~own, own.any(axis=1)
        same = np.abs(squared - least) <= 1e-12 * least
        nearer[block] = np.where(has_own, ((squared < least) & ~same & others) @ owned.weight, persons)
        tied[block] = np.where(has_own, (same & others) @ owned.weight + owned.weight[best] - 1, 0)
    return Ranking(nearer, tied, persons)


def mean_over_targets(values: FloatArray, seed: int = 0) -> Estimate:
    """Mean over targets, with the interval of a bootstrap that resamples them."""
    draws = bootstrap_weights(len(values), N_BOOTSTRAP, seed) @ values / len(values)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(values.mean())
    if values.min() == values.max() and value in (0.0, 1.0):
        # No spread to resample: as many right, or wrong, ones as there are targets.
        return exact_rate(int(value) * len(values), len(values))
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def _fits(part: PublishedSeries, facts: Knowledge, block: slice) -> BoolArray:
    """Whether each record agrees with all that is known of each target, shape (b, R)."""
    step, count, made = facts.by_step(part, block)
    whole = (count == part.readings_per_step()[step]) & (part.kind != "group_sum")
    lower = made - part.tolerance - _SLACK * (1 + np.abs(made))
    upper = made + part.tolerance + _SLACK * (1 + np.abs(made))
    if part.kind == "min":
        lower = np.where(whole, lower, -np.inf)
    else:
        upper = np.where(whole, upper, np.inf)
    # Out of reach: a step that is not released, and a value that is suppressed, agree with everything.
    lower, upper = np.where(step < 0, -np.inf, lower), np.where(step < 0, np.inf, upper)
    fits = np.ones((len(step), len(part.values)), dtype=bool)
    for at, low, high in zip(step.T, lower.T, upper.T, strict=True):
        value = part.values.T[at]
        fits &= ~((value < low[:, None]) | (value > high[:, None]))
    return fits


def _squared_distances(part: PublishedSeries, weight: IntArray, facts: Knowledge, block: slice) -> FloatArray:
    """Squared distance of each record to what is known of each target, in standard deviations, shape (b, R)."""
    step, count, made = facts.by_step(part, block)
    values = part.values / weight[:, None] if part.kind == "group_sum" else part.values
    if part.kind in ("sum", "group_sum"):
        made = made * part.readings_per_step()[step] / count
    n = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    deviation = np.sqrt(np.nansum((values - np.nansum(values, axis=0) / n) ** 2, axis=0) / n)
    deviation = np.where(deviation > 0, deviation, 1.0)
    squared = np.zeros((len(step), len(values)))
    for at, asked in zip(step.T, made.T, strict=True):
        away = (values.T[at] - asked[:, None]) / deviation[at][:, None]
        # A suppressed value is as far off as the average one; a step that is not released says nothing.
        squared += np.where(at[:, None] < 0, 0.0, np.where(np.isnan(away), 1.0, away**2))
    return squared


def _blocks_of(facts: Knowledge, owned: Owners) -> list[slice]:
    return list(blocks(len(facts.kwh), max(len(owned.weight), facts.known.shape[1])))
