"""Linkage: an attacker who knows a few readings of a household looks for its record in a release without names.

Few readings are enough where records are fine: each is a number that few others have at that time. What is known and
what is released need not have the same time steps: a reading of half an hour bounds a daily total from below, and 48 of
them must add up to it (Sweeney 2002, "k-anonymity"; de Montjoye et al. 2013, "Unique in the crowd", count alike).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.attacks.outcome import LEVEL, N_BOOTSTRAP, Estimate, bootstrap_weights
from unlearn.attacks.risk import exact_rate
from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_count,
    require_finite,
    require_not_negative,
    require_shape,
)
from unlearn.errors import InputError

#: What a released value says of the readings in its step.
KINDS = ("sum", "min", "max", "group_sum")

#: Entries of a block of comparisons, which bounds memory.
_BLOCK = 4_000_000

#: kWh, and share of a value: differences below it are roundings of sums in single precision.
_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class PublishedSeries:
    """Released records, as arrays.

    Attributes:
        values: in kWh, NaN where suppressed, shape (R, T').
        step_of: the released step that each original step falls into, -1 for none, shape (T,).
        kind: what a value is: "sum", the energy of the step; "min" or "max", its smallest or largest reading;
            "group_sum", the energy of several households, of which one household's is at most all.
        tolerance: kWh by which a value may differ from the truth, such as half of the width that it is rounded to.
    """

    values: FloatArray
    step_of: IntArray
    kind: str = "sum"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        values, step_of = as_floats("release.values", self.values, ndim=2), np.asarray(self.step_of)
        if step_of.ndim != 1 or not np.issubdtype(step_of.dtype, np.integer):
            raise InputError(
                f"release.step_of: expected a whole number for each original step, got {step_of.dtype} of shape "
                f"{step_of.shape}."
            )
        if not values.size or (len(step_of) and not -1 <= step_of.min() <= step_of.max() < values.shape[1]):
            raise InputError(
                f"release.step_of: expected steps of the {values.shape[1]} that the release has, or -1, and at least "
                f"one record; got {int(step_of.min(initial=-1))} to {int(step_of.max(initial=-1))}."
            )
        require_choice("release.kind", self.kind, KINDS)
        require_not_negative("release.tolerance", self.tolerance)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "step_of", step_of.astype(np.int64))

    def readings_per_step(self) -> IntArray:
        """Original steps in each released one, shape (T',)."""
        return np.bincount(self.step_of[self.step_of >= 0], minlength=self.values.shape[1])


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


def known_readings(n_targets: int, n_steps: int, n: int, kind: str = "scattered", seed: int = 0) -> IntArray:
    """Draw which steps an attacker knows of each target.

    Args:
        n_targets: households attacked, C.
        n_steps: steps of their readings, T.
        n: steps known of each.
        kind: "scattered", any n steps; "consecutive", n in a row.
        seed: of the draw.

    Returns:
        Steps in ascending order, shape (C, n).

    Raises:
        InputError: an unknown kind, or more known steps than there are.
    """
    for name, value in (("n_targets", n_targets), ("n_steps", n_steps), ("n", n)):
        require_count(name, value)
    require_choice("kind", kind, ("scattered", "consecutive"))
    if n > n_steps:
        raise InputError(f"n: expected at most the {n_steps} steps that there are, got {n}.")
    random = np.random.default_rng(seed)
    if kind == "consecutive":
        return random.integers(n_steps - n + 1, size=(n_targets, 1)) + np.arange(n)
    known = np.empty((n_targets, n), dtype=np.int64)
    for block in _blocks(n_targets, n_steps):
        order = random.random((len(known[block]), n_steps))
        known[block] = np.sort(np.argpartition(order, n - 1, axis=1)[:, :n], axis=1)
    return known


def link_by_match(
    release: PublishedSeries | Sequence[PublishedSeries], owner: ArrayLike, kwh: ArrayLike, known: ArrayLike
) -> Linkage:
    """Find the records that agree with all that an attacker knows of each target.

    A step whose readings are all known must agree with the released value up to its tolerance. One that is known in
    part only bounds it: energy and maximum from below, a minimum from above.

    >>> kwh = np.random.default_rng(0).gamma(1.0, 0.2, (50, 96))
    >>> known = known_readings(50, 96, 2)
    >>> owner = np.arange(50)
    >>> raw, daily = PublishedSeries(kwh, np.arange(96)), PublishedSeries(kwh.reshape(50, 2, 48).sum(2), np.arange(96) // 48)
    >>> link_by_match(raw, owner, kwh, known).unique.mean(), link_by_match(daily, owner, kwh, known).unique.mean()
    (np.float64(1.0), np.float64(0.0))

    Args:
        release: records; several where a record has several sorts of values, such as minimum and maximum.
        owner: target that each record is of, -1 for nobody's, shape (R,); or shape (R, k) where records have up to k
            owners, filled up with -1.
        kwh: readings of the targets, shape (C, T).
        known: steps that the attacker knows of each, shape (C, n); see `known_readings`.

    Raises:
        InputError: shapes that do not fit, unknown owners or steps, readings that are not finite.
    """
    series, facts = _require_same_records(release), _Facts(kwh, known)
    owned = _Owned(owner, len(series[0].values), len(facts.kwh))
    matches = np.empty(len(facts.kwh), dtype=np.int64)
    included, chance = np.zeros(len(facts.kwh), dtype=bool), np.zeros(len(facts.kwh))
    for block in tqdm(list(_blocks_of(series, facts)), desc="linkage", leave=False, delay=2):
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
    series, facts = _require_same_records(release), _Facts(kwh, known)
    owned = _Owned(owner, len(series[0].values), len(facts.kwh))
    persons = int(owned.weight.sum())
    nearer, tied = np.full(len(facts.kwh), persons), np.zeros(len(facts.kwh), dtype=np.int64)
    for block in tqdm(list(_blocks_of(series, facts)), desc="distances", leave=False, delay=2):
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


class _Facts:
    """Readings of targets, and which of them are known."""

    def __init__(self, kwh: ArrayLike, known: ArrayLike) -> None:
        self.kwh = as_floats("kwh", kwh, ndim=2)
        steps = np.asarray(known)
        require_shape("known", steps, (len(self.kwh), None))
        if not steps.size or not np.issubdtype(steps.dtype, np.integer):
            raise InputError(f"known: expected steps as whole numbers, at least one of each target, got {steps.dtype}.")
        if steps.min() < 0 or steps.max() >= self.kwh.shape[1]:
            raise InputError(f"known: expected steps from 0 to {self.kwh.shape[1] - 1}, got others.")
        self.known = np.sort(steps, axis=1)
        if (np.diff(self.known, axis=1) == 0).any():
            raise InputError("known: expected each step of a target once, got repeated ones. Drop repeats.")
        self.readings = np.take_along_axis(self.kwh, self.known, axis=1)
        require_finite("known readings", self.readings)

    def by_step(self, part: PublishedSeries, block: slice) -> tuple[IntArray, IntArray, FloatArray]:
        """Of each known reading: the released step it is in, -1 for none; how many known ones are in it; what they make.

        What they make is their sum, smallest or largest; shape (b, n) each.
        """
        step, reading = part.step_of[self.known[block]], self.readings[block]
        width = part.values.shape[1] + 1
        # Readings in no released step share a column of their own.
        cell = (step + 1 + width * np.arange(len(step))[:, None]).ravel()
        places, inverse = np.unique(cell, return_inverse=True)
        count = np.bincount(inverse)
        if part.kind in ("sum", "group_sum"):
            made = np.bincount(inverse, reading.ravel())
        else:
            choose, start = (np.minimum, np.inf) if part.kind == "min" else (np.maximum, -np.inf)
            made = np.full(len(places), start)
            choose.at(made, inverse, reading.ravel())
        return step, count[inverse].reshape(step.shape), made[inverse].reshape(step.shape)


class _Owned:
    """Whose records are whose."""

    def __init__(self, owner: ArrayLike, n_records: int, n_targets: int) -> None:
        who = np.asarray(owner)
        self.owner = who[:, None] if who.ndim == 1 else who
        require_shape("owner", self.owner, (n_records, None))
        if not np.issubdtype(who.dtype, np.integer) or who.min(initial=-1) < -1:
            raise InputError(
                f"owner: expected positions of targets as whole numbers, or -1 for nobody, got {who.dtype}."
            )
        # Owners beyond the targets are persons too; they are not attacked.
        self.weight = np.maximum((self.owner >= 0).sum(axis=1), 1)
        self.n_targets = n_targets

    def by(self, block: slice) -> BoolArray:
        """Which records each target of a block owns, shape (b, R)."""
        first, stop, _ = block.indices(self.n_targets)
        found = np.zeros((stop - first, len(self.owner)), dtype=bool)
        record, place = np.nonzero((self.owner >= first) & (self.owner < stop))
        found[self.owner[record, place] - first, record] = True
        return found


def _fits(part: PublishedSeries, facts: _Facts, block: slice) -> BoolArray:
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


def _squared_distances(part: PublishedSeries, weight: IntArray, facts: _Facts, block: slice) -> FloatArray:
    """Squared distance of each record to what is known of each target, in standard deviations, shape (b, R)."""
    step, count, made = facts.by_step(part, block)
    values = part.values
    if part.kind == "group_sum":
        values = values / weight[:, None]
    if part.kind in ("sum", "group_sum"):
        made = made * part.readings_per_step()[step] / count
    deviation = np.sqrt(np.nanmean((values - np.nanmean(values, axis=0)) ** 2, axis=0))
    deviation = np.where(deviation > 0, deviation, 1.0)
    squared = np.zeros((len(step), len(values)))
    for at, asked in zip(step.T, made.T, strict=True):
        away = (values.T[at] - asked[:, None]) / deviation[at][:, None]
        # A suppressed value is as far off as the average one; a step that is not released says nothing.
        squared += np.where(at[:, None] < 0, 0.0, np.where(np.isnan(away), 1.0, away**2))
    return squared


def _require_same_records(release: PublishedSeries | Sequence[PublishedSeries]) -> list[PublishedSeries]:
    series = [release] if isinstance(release, PublishedSeries) else list(release)
    sizes = {(len(part.values), len(part.step_of)) for part in series}
    if len(sizes) != 1:
        raise InputError(f"release: expected series of the same records and original steps, got {len(sizes)} sizes.")
    return series


def _blocks_of(series: Sequence[PublishedSeries], facts: _Facts) -> Iterator[slice]:
    for part in series:
        if len(part.step_of) != facts.kwh.shape[1]:
            raise InputError(
                f"kwh: expected the {len(part.step_of)} original steps that the release tells of, got "
                f"{facts.kwh.shape[1]}."
            )
    return _blocks(len(facts.kwh), max(max(len(part.values) for part in series), facts.known.shape[1]))


def _blocks(n: int, width: int) -> Iterator[slice]:
    size = max(1, _BLOCK // width)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
