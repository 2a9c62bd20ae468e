"""Differencing: what sums over customers, added and subtracted, tell of few of them; and labels that few share.

Sums that satisfy a rule each need not satisfy it together. The area less all of its feeders but one is that feeder, and
usage by zip code next to usage of a solar programme's participants isolates the participant who is alone in a zip code.
Whoever has several releases has all their sums, so that they are to be checked together: `composed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_count,
    require_finite,
    require_positive,
    require_shape,
    short_repr,
)
from unlearn.errors import InputError
from unlearn.households.customers import DOMINANT
from unlearn.households.roster import LEAST_MEMBERS
from unlearn.linalg.row_space import Combination, light_combinations, lightest_of_each


@short_repr
@dataclass(frozen=True, eq=False)
class PublishedSums:
    """Which customer is in which sum that somebody knows.

    Attributes:
        names: of the G sums.
        customers: names of the C customers.
        published: which customer is in which sum, shape (G, C).
    """

    names: tuple[str, ...]
    customers: tuple[str, ...]
    published: BoolArray


def composed(releases: Mapping[str, Mapping[str, Collection[str]]]) -> PublishedSums:
    """Several releases as one: the sums of all of them, over the same customers.

    >>> zips = {"zip 1": ["a", "b", "c"], "zip 2": ["d", "e"]}
    >>> both = composed({"usage": zips, "solar": {"participants": ["c", "d", "e"]}})
    >>> both.names
    ('usage: zip 1', 'usage: zip 2', 'solar: participants')
    >>> found = find_differences(both.published, least=2, names=both.names)
    >>> [(own.words, both.customers[own.customers[0]]) for own in found.findings]
    [('solar: participants - usage: zip 2', 'c')]

    Args:
        releases: by name of the release, the customers in each of its sums, by name of the sum.

    Raises:
        InputError: no release, or a sum of nobody.
    """
    sums = {
        f"{release}: {name}": set(map(str, own)) for release, each in releases.items() for name, own in each.items()
    }
    if not sums or any(not own for own in sums.values()):
        raise InputError("releases: expected at least one sum, each with its customers, got one of nobody or no sum.")
    customers = tuple(sorted(set().union(*sums.values())))
    published = np.array([[one in own for one in customers] for own in sums.values()])
    return PublishedSums(tuple(sums), customers, published)


@short_repr
@dataclass(frozen=True, eq=False)
class Finding:
    """A combination of sums that isolates few customers, or a group that one customer dominates.

    Attributes:
        coefficients: of the sums that it uses, by their name.
        customers: positions of the customers whose coefficient is not 0.
        factors: coefficient of each of them, shape (k,).
        largest_share: share of the group's energy that its largest customer has; NaN where energy is not known.
        intervals: intervals in which all of these sums were published, positions.
        recovered: value of the combination in these intervals, where values are known, shape (t,).
        truth: the same combination of the customers' own readings, where those are known, shape (t,).
    """

    coefficients: Mapping[str, Fraction]
    customers: IntArray
    factors: IntArray
    largest_share: float
    intervals: IntArray
    recovered: FloatArray | None = None
    truth: FloatArray | None = None

    @property
    def words(self) -> str:
        """The combination, such as "area - feeder 1 - feeder 2"."""
        ordered = sorted(self.coefficients.items(), key=lambda own: own[1] < 0)
        text = " ".join(("- " if c < 0 else "+ ") + ("" if abs(c) == 1 else f"{abs(c)} ") + name for name, c in ordered)
        return text.removeprefix("+ ")

    @property
    def a_sum(self) -> bool:
        """Whether it is the plain sum of these customers."""
        return bool((self.factors == 1).all())


@short_repr
@dataclass(frozen=True, eq=False)
class Differencing:
    """What differencing found.

    Attributes:
        findings: combinations that isolate fewer customers than `least`, none of which has a smaller one inside, fewest
            first; and such that isolate a group that one customer dominates, where energy is known.
        least: customers that a combination may isolate.
        complete: whether all are listed. Nothing found, and complete, is a proof that there is nothing.
    """

    findings: tuple[Finding, ...]
    least: int
    complete: bool

    def frame(self) -> pd.DataFrame:
        """A row per finding.

        Returns:
            `combination` in words, `customers` isolated, `largest_share` of their energy, `a_sum`, `intervals` (their
            number), and `largest_error` of what is recovered against the truth, in kWh; NaN where that is not known.
        """
        rows = [
            (own.words, len(own.customers), own.largest_share, own.a_sum, len(own.intervals), _largest_error(own))
            for own in self.findings
        ]
        return pd.DataFrame(
            rows, columns=["combination", "customers", "largest_share", "a_sum", "intervals", "largest_error"]
        )


def find_differences(
    published: ArrayLike,
    least: int = LEAST_MEMBERS,
    *,
    names: Sequence[str] | None = None,
    values: ArrayLike | None = None,
    readings: ArrayLike | None = None,
    present: ArrayLike | None = None,
    energy: ArrayLike | None = None,
    largest_share: float = DOMINANT,
    most: int = 1000,
) -> Differencing:
    """Find all combinations of published sums that isolate few customers.

    Customers in the same sums cannot be told apart and count together. A finding's support has no smaller one inside:
    larger ones that isolate few are made of these.

    >>> area, feeder = [True] * 20, [True] * 18 + [False] * 2
    >>> found = find_differences([area, feeder], names=["area", "feeder 1"], values=[20.0, 17.5])
    >>> [(own.words, own.customers.tolist(), own.recovered.tolist()) for own in found.findings]
    [('area - feeder 1', [18, 19], [2.5])]

    Args:
        published: which customer is in which sum, shape (G, C).
        least: customers that a combination may isolate.
        names: of the sums; None numbers them.
        values: of the sums, shape (G,) or (G, T); NaN where a sum is not published in an interval.
        readings: of the customers, the truth to compare with, shape (C,) or (C, T).
        present: which customer has readings in which interval, shape (C, T); None means all. Only these are counted.
        energy: of the customers in kWh, at least 0, shape (C,). With it, groups that one customer dominates are looked
            for, too: of each set of customers who cannot be told apart, the group with the least energy.
        largest_share: of a group's energy, above which its largest customer dominates it.
        most: no more findings than these are listed for each set of sums published together.

    Raises:
        InputError: shapes that do not fit.
    """
    member = np.asarray(published)
    if member.dtype != bool or member.ndim != 2:
        raise InputError(f"published: expected True or False, shape (G, C), got {member.dtype}, shape {member.shape}.")
    n_sums, n_customers = member.shape
    kwh = None if energy is None else as_floats("energy", energy, 1)
    if kwh is not None:
        require_shape("energy", kwh, (n_customers,))
        require_finite("energy", kwh)
    require_positive("largest_share", largest_share)
    require_count("least", least)
    require_count("most", most)
    titles = [f"sum {i}" for i in range(n_sums)] if names is None else [str(own) for own in names]
    if len(titles) != n_sums or len(set(titles)) < n_sums:
        raise InputError(f"names: expected {n_sums} different ones, got {len(titles)}, {len(set(titles))} different.")
    known = _by_interval("values", values, n_sums)
    truth = _by_interval("readings", readings, n_customers)
    there = None if present is None else np.asarray(present, dtype=bool)
    if there is not None:
        require_shape("present", there, (n_customers, None))
    lengths = {own.shape[1] for own in (known, truth, there) if own is not None} or {1}
    if len(lengths) > 1:
        raise InputError("values, readings, present: expected the same intervals of all of them, got others.")
    n = lengths.pop()
    shown = np.ones((n_sums, n), dtype=bool) if known is None else ~np.isnan(known)
    alive = np.ones((n_customers, n), dtype=bool) if there is None else there
    patterns, of = np.unique(np.r_[shown, alive], axis=1, return_inverse=True)
    found: list[Finding] = []
    complete = True
    for i, pattern in enumerate(patterns.T):
        sums, customers = np.flatnonzero(pattern[:n_sums]), np.flatnonzero(pattern[n_sums:])
        own_kwh = None if kwh is None else kwh[customers]
        light, part = _light(member[np.ix_(sums, customers)], least, most, own_kwh, largest_share)
        complete &= len(light) < most
        where = np.flatnonzero(of.reshape(-1) == i)
        for own in light:
            found.append(_finding(own, sums, customers, part, titles, where, known, truth, own_kwh))
    return Differencing(tuple(_joined(found)), least, complete)


def crowd_sizes(*labels: ArrayLike) -> IntArray:
    """How many customers share a customer's combination of labels: 1 singles it out.

    >>> zips, solar = [1, 1, 1, 2, 2], [True, False, False, True, True]
    >>> crowd_sizes(zips, solar).tolist()
    [1, 2, 2, 2, 2]

    Args:
        labels: of the C customers, a list for each release that somebody knows.

    Returns:
        Shape (C,).

    Raises:
        InputError: no labels, or lists of different lengths.
    """
    codes = [np.unique(np.asarray(own), return_inverse=True)[1].reshape(-1) for own in labels]
    if not codes or len({len(own) for own in codes}) > 1:
        raise InputError(f"labels: expected lists of the same length, got {[len(own) for own in codes]}.")
    _, combination, count = np.unique(np.stack(codes), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(count[combination.reshape(-1)], dtype=np.int64)


def _by_interval(name: str, values: ArrayLike | None, size: int) -> FloatArray | None:
    if values is None:
        return None
    array = as_floats(name, values)
    array = array[:, None] if array.ndim == 1 else array
    require_shape(name, array, (size, None))
    return array


def _light(
    member: BoolArray, least: int, most: int, energy: FloatArray | None, largest_share: float
) -> tuple[list[Combination], IntArray]:
    """Light combinations over parts, and dominated ones; the part of each customer, -1 where it is in no sum."""
    if not member.size:
        return [], np.full(member.shape[1], -1)
    columns, part, count = np.unique(member, axis=1, return_inverse=True, return_counts=True)
    used = columns.any(axis=0)
    part = np.where(used, np.cumsum(used) - 1, -1)[part.reshape(-1)]
    columns, count = columns[:, used], count[used]
    found = light_combinations(columns, count, least, most)
    if energy is not None:
        inside = part >= 0
        largest, total = np.zeros(len(count)), np.bincount(part[inside], energy[inside], minlength=len(count))
        np.maximum.at(largest, part[inside], energy[inside])
        few = {own.support.tobytes() for own in found}
        dominated = lightest_of_each(columns, total, largest / largest_share, apart=True)
        found += islice((own for own in dominated if own.support.tobytes() not in few), most - len(found))
    return found, part


def _finding(
    own: Combination,
    sums: IntArray,
    customers: IntArray,
    part: IntArray,
    titles: Sequence[str],
    where: IntArray,
    values: FloatArray | None,
    readings: FloatArray | None,
    energy: FloatArray | None,
) -> Finding:
    factor = np.where(part >= 0, own.vector[part], 0)
    isolated, coefficients = np.flatnonzero(factor), own.coefficients
    used = [i for i, c in enumerate(coefficients) if c]
    weight = np.array([float(coefficients[i]) for i in used])
    kwh = np.array([np.nan]) if energy is None else energy[isolated]
    return Finding(
        largest_share=float(kwh.max() / kwh.sum()) if kwh.sum() else 0.0,
        coefficients={titles[sums[i]]: coefficients[i] for i in used},
        customers=customers[isolated],
        factors=factor[isolated],
        intervals=where,
        recovered=None if values is None else weight @ values[np.ix_(sums[used], where)],
        truth=None if readings is None else factor[isolated] @ readings[np.ix_(customers[isolated], where)],
    )


def _joined(findings: Sequence[Finding]) -> list[Finding]:
    """The same combination of the same customers in several sets of intervals is one finding; fewest first."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for own in findings:
        key = tuple(own.coefficients.items()), own.customers.tobytes(), own.factors.tobytes()
        alike.setdefault(key, []).append(own)
    joined = [each[0] if len(each) == 1 else _merged(each) for each in alike.values()]
    return sorted(joined, key=lambda own: len(own.customers))


def _merged(alike: Sequence[Finding]) -> Finding:
    intervals = np.concatenate([own.intervals for own in alike])
    order = np.argsort(intervals)
    recovered = [own.recovered for own in alike if own.recovered is not None]
    truth = [own.truth for own in alike if own.truth is not None]
    return Finding(
        coefficients=alike[0].coefficients,
        customers=alike[0].customers,
        factors=alike[0].factors,
        largest_share=max(own.largest_share for own in alike),
        intervals=intervals[order],
        recovered=np.concatenate(recovered)[order] if recovered else None,
        truth=np.concatenate(truth)[order] if truth else None,
    )


def _largest_error(own: Finding) -> float:
    if own.recovered is None or own.truth is None:
        return float("nan")
    return float(np.abs(own.recovered - own.truth).max())
