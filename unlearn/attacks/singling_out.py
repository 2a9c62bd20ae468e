"""Singling out: does a release tell conditions that exactly one of those whom it was made from fulfils?

"There is one household with such a peak and no gas" isolates a person without a name, which the General Data Protection
Regulation names among the ways to identify (recital 26; Article 29 Working Party, opinion 05/2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlearn.attacks.gower import TableLike, Tables, as_tables
from unlearn.attacks.risk import Risk, measure_risk
from unlearn.checks import BoolArray, FloatArray, IntArray, require_choice, require_count
from unlearn.errors import InputError

#: Where conditions come from: one column each, or several of one released record.
MODES = ("univariate", "multivariate")

#: Draws for each predicate that is wanted, of which most do not single out in the release.
_DRAWS = 20

#: Entries of a block of comparisons, which bounds memory.
_BLOCK = 4_000_000


def singling_out_risk(
    release: TableLike,
    original: TableLike,
    control: TableLike,
    *,
    mode: str = "multivariate",
    n_columns: int = 3,
    n_attacks: int = 500,
    seed: int = 0,
) -> Risk:
    """Risk that predicates taken from the release single out a person (Giomi et al. 2023, section 4.1).

    A predicate is one that a single released record fulfils. "univariate": a value that occurs once, or the smallest or
    largest of a column. "multivariate": of a released record and some columns drawn at random, the same category, and a
    number at least as large where it is above the column's median, at most as large elsewhere. A predicate succeeds
    where exactly one original fulfils it; controls, where exactly one control does. The baseline draws predicates at
    random from the ranges of the columns.

    A predicate of little weight singles out more often among more records. Where there are more controls than
    originals, its success is that expected in a subset of the originals' size. Where there are fewer, the weights of
    predicates are taken to have a beta distribution, which is fitted to the counts among controls, and success is that
    expected among as many controls as there are originals. As many of both need no such step, and are the best choice.

    >>> random = np.random.default_rng(0)
    >>> people, others = random.random((200, 4)), random.random((200, 4))
    >>> singling_out_risk(people, people, others).risk.low > 0.5
    True

    Args:
        release: released records, a data frame or an array, R rows.
        original: records that the release was made from, n rows.
        control: records of others, m rows.
        mode: "univariate" or "multivariate".
        n_columns: of a multivariate predicate.
        n_attacks: predicates, at most; fewer where the release does not give as many.
        seed: of predicates.

    Returns:
        The risk; NaN with the reason where no predicate singles out a released record.

    Raises:
        InputError: tables that do not fit, an unknown mode, or more columns than there are.
    """
    require_choice("mode", mode, MODES)
    require_count("n_attacks", n_attacks)
    tables = as_tables(release, original, control)
    n = require_count("n_columns", n_columns) if mode == "multivariate" else 1
    if n > len(tables.columns):
        raise InputError(f"n_columns: expected at most the {len(tables.columns)} columns that there are, got {n}.")
    random = np.random.default_rng(seed)
    if mode == "univariate":
        predicates = _of_columns(tables).some(n_attacks, random)
    else:
        drawn = _of_records(tables, n, n_attacks * _DRAWS, random)
        predicates = drawn.take(drawn.counts(tables.release) == 1).some(n_attacks, random)
    guessed = _guessed(tables, n, n_attacks, random)
    tries = (
        float((predicates.counts(tables.original) == 1).sum()),
        float((guessed.counts(tables.original) == 1).sum()),
        expected_singles(predicates.counts(tables.control), len(tables.control), len(tables.original)),
    )
    sizes = (len(predicates.low), n_attacks, len(predicates.low))
    return measure_risk(f"singling_out_{mode}", *zip(tries, sizes, strict=True))


def expected_singles(counts: IntArray, n_counted: int, n_records: int) -> float:
    """How many predicates would single out one of n records, from how many of others fulfil each.

    Args:
        counts: of records that fulfil each predicate, shape (P,).
        n_counted: records that were counted in.
        n_records: records that the answer is for, n.
    """
    if not len(counts) or not counts.any():
        return 0.0
    if n_counted == n_records:
        return float((counts == 1).sum())
    if n_counted > n_records:
        from scipy.stats import hypergeom  # takes half a second to import

        return float(hypergeom.pmf(1, n_counted, counts, n_records).sum())
    values, times = np.unique(counts, return_counts=True)
    a, b = _beta_of(values, times, n_counted)
    return float(times @ _single(values + a, n_counted - values + b, n_records))


def _beta_of(values: IntArray, times: IntArray, n: int) -> tuple[float, float]:
    """Most likely beta distribution of weights, given how often each count out of n occurs."""
    from scipy.optimize import minimize
    from scipy.special import betaln

    def surprise(logs: FloatArray) -> float:
        a, b = np.exp(logs)
        return -float(times @ (betaln(values + a, n - values + b) - betaln(a, b)))

    # Bounds keep off distributions at one point, which counts cannot tell from narrow ones.
    mean = min(max(float(values @ times) / (n * float(times.sum())), 1e-6), 1 - 1e-6)
    start = np.log([mean, 1 - mean])
    found = minimize(surprise, start, method="L-BFGS-B", bounds=[(-12.0, 12.0)] * 2).x
    return float(np.exp(found[0])), float(np.exp(found[1]))


def _single(a: NDArray[np.floating], b: NDArray[np.floating], n: int) -> FloatArray:
    """Chance of exactly one of n under beta-distributed weights."""
    from scipy.special import betaln

    return np.asarray(np.exp(np.log(n) + betaln(a + 1, b + n - 1) - betaln(a, b)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Predicates:
    """Conditions that hold together: columns between bounds, or missing; shape (P, q) each."""

    column: IntArray
    low: FloatArray
    high: FloatArray
    missing: BoolArray

    def take(self, which: IntArray | BoolArray) -> _Predicates:
        return _Predicates(self.column[which], self.low[which], self.high[which], self.missing[which])

    def some(self, n: int, random: np.random.Generator) -> _Predicates:
        """At most n different ones at random."""
        # Columns in one order, so that a predicate is the same however its columns were drawn.
        order = np.argsort(self.column, axis=1)
        parts = (np.take_along_axis(own, order, axis=1) for own in (self.column, self.low, self.high, self.missing))
        rows = np.concatenate([own.astype(np.float64) for own in parts], axis=1)
        first = np.unique(rows, axis=0, return_index=True)[1]
        return self.take(random.permutation(first)[:n])

    def counts(self, table: FloatArray) -> IntArray:
        """Records that fulfil each, shape (P,)."""
        found = np.empty(len(self.low), dtype=np.int64)
        size = max(1, _BLOCK // len(table))
        for start in range(0, len(found), size):
            part = self.take(np.arange(start, min(start + size, len(found))))
            fulfilled = np.ones((len(part.low), len(table)), dtype=bool)
            for column, low, high, missing in zip(part.column.T, part.low.T, part.high.T, part.missing.T, strict=True):
                value = table.T[column]
                within = (value >= low[:, None]) & (value <= high[:, None])
                fulfilled &= np.where(missing[:, None], np.isnan(value), within)
            found[start : start + size] = fulfilled.sum(axis=1)
        return found


class _Column(NamedTuple):
    """Values of a released column that are there, ascending, and how often each occurs."""

    values: FloatArray
    times: IntArray


def _columns_of(tables: Tables) -> list[_Column]:
    return [_Column(*np.unique(own[~np.isnan(own)], return_counts=True)) for own in tables.release.T]


def _of_columns(tables: Tables) -> _Predicates:
    """Values that occur once, extremes of numbers, and missing where one is."""
    parts: list[tuple[FloatArray, ...]] = []
    for j, (own, raw) in enumerate(zip(_columns_of(tables), tables.release.T, strict=True)):
        low = high = own.values[own.times == 1]
        ends = own.values[[0, -1]] if tables.numeric[j] and len(own.values) else np.empty(0)
        ends_low = np.where(np.arange(len(ends)) == 0, -np.inf, ends)
        ends_high = np.where(np.arange(len(ends)) == 0, ends, np.inf)
        gap = np.full(int(np.isnan(raw).sum() == 1), np.nan)
        low, high = np.concatenate([low, ends_low, gap]), np.concatenate([high, ends_high, gap])
        parts.append((np.full(len(low), float(j)), low, high))
    column, low, high = (np.concatenate(own)[:, None] for own in zip(*parts, strict=True))
    return _made(column.astype(np.int64), low, high)


def _of_records(tables: Tables, n_columns: int, n: int, random: np.random.Generator) -> _Predicates:
    """n predicates of random released records and columns."""
    column = _random_columns(len(tables.columns), n_columns, n, random)
    value = tables.release[random.integers(len(tables.release), size=n)[:, None], column]
    medians = np.array(
        [np.median(own.values.repeat(own.times)) if len(own.values) else 0.0 for own in _columns_of(tables)]
    )
    above = value > medians[column]
    return _bounded(tables, column, value, above)


def _guessed(tables: Tables, n_columns: int, n: int, random: np.random.Generator) -> _Predicates:
    """n predicates of values drawn evenly from the ranges and categories of columns."""
    column = _random_columns(len(tables.columns), n_columns, n, random)
    share, value = random.random(column.shape), np.full(column.shape, np.nan)
    for j, own in enumerate(_columns_of(tables)):
        here = column == j
        if not len(own.values):
            continue
        if tables.numeric[j]:
            value[here] = own.values[0] + share[here] * (own.values[-1] - own.values[0])
        else:
            value[here] = own.values[(share[here] * len(own.values)).astype(np.int64)]
    return _bounded(tables, column, value, random.random(column.shape) < 0.5)


def _bounded(tables: Tables, column: IntArray, value: FloatArray, above: BoolArray) -> _Predicates:
    """At least the value where `above`, else at most; equal for categories."""
    numeric = tables.numeric[column]
    low, high = np.where(numeric & ~above, -np.inf, value), np.where(numeric & above, np.inf, value)
    gap = np.isnan(value)
    return _made(column, np.where(gap, np.nan, low), np.where(gap, np.nan, high))


def _made(column: IntArray, low: FloatArray, high: FloatArray) -> _Predicates:
    missing = np.isnan(low)
    # Plain numbers in place of NaN, so that equal predicates are told to be equal.
    return _Predicates(column, np.where(missing, 0.0, low), np.where(missing, 0.0, high), missing)


def _random_columns(n_columns: int, chosen: int, n: int, random: np.random.Generator) -> IntArray:
    """Different columns for each of n predicates, shape (n, chosen)."""
    return np.argsort(random.random((n, n_columns)), axis=1)[:, :chosen]
