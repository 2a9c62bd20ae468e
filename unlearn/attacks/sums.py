"""Membership in sums: is a household whose readings an attacker knows part of a published total of m households?

Averaging hides a household in a crowd, and a total over many time steps shows it again: each step says a little (Homer
et al. 2008 for genomes; Bauer and Bindschadler 2020, "Towards realistic membership inferences: the case of survey
data"; Buescher et al. 2017, "Two is not enough: privacy assessment of aggregation schemes in smart metering").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from unlearn.attacks.outcome import Outcome, measure_attack
from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_count,
    require_finite,
    require_fraction,
    require_shape,
)
from unlearn.errors import InputError

#: kWh: readings are not known more finely, so that no step's spread is below it.
_RESOLUTION_KWH = 1e-3
#: Entries of a block of sums, which bounds memory.
_BLOCK = 4_000_000


def sum_scores(
    total: ArrayLike, n_households: int, target: ArrayLike, reference: ArrayLike, statistic: str = "likelihood_ratio"
) -> FloatArray:
    """Score how much a published total speaks for a target being part of it; higher means "in".

    The attacker expects of a household what he knows of other ones: their mean μ in each step, and their covariance Σ,
    so that what many have in common, such as high energy as a whole, counts little. "likelihood_ratio" compares the
    residual of the total, S − m μ, under N(x − μ, (m − 1) Σ) and under N(0, m Σ); it is the better one for many
    households. "correlation" is that of the residual with x − μ, both whitened by Σ; it is the better one for few, of
    whom a single unusual one spoils the likelihood.

    Args:
        total: published totals in kWh, one for each trial, shape (K, T).
        n_households: in each total, m.
        target: readings of the target of each trial in kWh, shape (K, T).
        reference: readings of other households that the attacker knows, shape (R, T).
        statistic: a name in `STATISTICS`.

    Returns:
        Scores, shape (K,).

    Raises:
        InputError: shapes that do not fit, NaN, fewer than 3 reference households, or an unknown statistic.
    """
    score = STATISTICS[require_choice("statistic", statistic, STATISTICS)]
    m = require_count("n_households", n_households)
    sums, own, others = (
        as_floats(name, value, ndim=2)
        for name, value in (("total", total), ("target", target), ("reference", reference))
    )
    require_shape("target", own, sums.shape)
    require_shape("reference", others, (None, sums.shape[1]))
    if len(others) < 3 or not sums.shape[1]:
        raise InputError(f"reference: expected at least 3 households with readings, got shape {others.shape}.")
    for name, side in (("total", sums), ("target", own), ("reference", others)):
        require_finite(name, side)
    mean = others.mean(axis=0)
    spread = np.sqrt(others.var(axis=0, ddof=1) + _RESOLUTION_KWH**2)
    whitened = _Whitening((others - mean) / spread)
    return score(whitened((sums - m * mean) / spread), whitened((own - mean) / spread), m)


def _likelihood_ratio(residual: FloatArray, deviation: FloatArray, m: int) -> FloatArray:
    # Of one household alone nothing is left to vary but the resolution of readings.
    within = max(m - 1, _RESOLUTION_KWH)
    inside = ((residual - deviation) ** 2).sum(axis=1) / within
    outside = (residual**2).sum(axis=1) / m
    return (outside - inside + residual.shape[1] * np.log(m / within)) / 2


def _correlation(residual: FloatArray, deviation: FloatArray, m: int) -> FloatArray:
    norm = np.linalg.norm(residual, axis=1) * np.linalg.norm(deviation, axis=1)
    return (residual * deviation).sum(axis=1) / np.where(norm > 0, norm, 1.0)


#: How totals are scored, of whitened residuals and deviations, shape (K, T) each, and m.
STATISTICS: Mapping[str, Callable[[FloatArray, FloatArray, int], FloatArray]] = MappingProxyType(
    {"likelihood_ratio": _likelihood_ratio, "correlation": _correlation}
)

#: What is added to the variance of every direction, as a share of a step's: those that few households show are unsure.
_SHRINKAGE = 0.3


class _Whitening:
    """(Σ + λ)^(−1/2) for the covariance Σ of reference households, whose rank is their number at most."""

    def __init__(self, reference: FloatArray) -> None:
        # Of the R x R matrix, since there are more steps than households as a rule.
        variance, vectors = np.linalg.eigh(reference @ reference.T / (len(reference) - 1))
        kept = variance > 1e-9 * variance[-1]
        variance, vectors = variance[kept], vectors[:, kept]
        self.directions = reference.T @ vectors / np.sqrt(variance * (len(reference) - 1))
        self.removed = 1 - np.sqrt(_SHRINKAGE / (_SHRINKAGE + variance))

    def __call__(self, rows: FloatArray) -> FloatArray:
        return (rows - (rows @ self.directions * self.removed) @ self.directions.T) / np.sqrt(_SHRINKAGE)


@dataclass(frozen=True)
class SumOptions:
    """Trials of membership in sums.

    Attributes:
        n_trials: totals that hold their target, and as many that do not.
        reference: share of the households that the attacker knows, which are neither targets nor in totals.
        statistic: how totals are scored, a name in `STATISTICS`.
        takes_part: whether targets are in the totals that are said to hold them; False is the negative control.
    """

    n_trials: int = 400
    reference: float = 0.4
    statistic: str = "likelihood_ratio"
    takes_part: bool = True

    def __post_init__(self) -> None:
        require_count("sums.n_trials", self.n_trials)
        require_fraction("sums.reference", self.reference)
        require_choice("sums.statistic", self.statistic, STATISTICS)


def attack_sums(kwh: ArrayLike, n_households: int, options: SumOptions | None = None, seed: int = 0) -> Outcome:
    """Measure how well targets are found in totals of m households, of whom all but the target are drawn at random.

    One household alone (m = 1) is the positive control: its total is the target, or another household.

    >>> kwh = np.random.default_rng(0).gamma(1.0, 0.2, (60, 96))
    >>> attack_sums(kwh, 1).auc.value, attack_sums(kwh, 20).auc.value > 0.6
    (1.0, True)

    Args:
        kwh: readings of C households, shape (C, T).
        n_households: in a total, m.
        options: how many trials, and how the attacker goes about it.
        seed: of who is known, attacked and added up.

    Raises:
        InputError: NaN, or too few households for totals of that size beside those that the attacker knows.
    """
    options = options or SumOptions()
    m = require_count("n_households", n_households)
    readings = as_floats("kwh", kwh, ndim=2)
    require_finite("kwh", readings)
    random = np.random.default_rng(seed)
    order = random.permutation(len(readings))
    n_known = max(3, round(options.reference * len(readings)))
    known, pool = order[:n_known], order[n_known:]
    if len(pool) < m + 1:
        raise InputError(
            f"kwh: expected at least {m + 1} households beside the {n_known} that the attacker knows, for totals of "
            f"{m} and a target, got {max(len(pool), 0)}. Bring more households, or lower n_households or reference."
        )
    reference, attacked = readings[known], readings[pool]
    # The same targets in totals and not: what a target's own size does to scores is alike on both sides.
    target = random.integers(len(pool), size=options.n_trials)
    scores = []
    for inside in (options.takes_part, False):
        parts = []
        for start in range(0, len(target), size := max(1, _BLOCK // max(len(pool), readings.shape[1]))):
            some = target[start : start + size]
            total = _members(some, len(pool), m, inside, random) @ attacked
            parts.append(sum_scores(total, m, attacked[some], reference, options.statistic))
        scores.append(np.concatenate(parts))
    # Of a target there are several trials, which resemble each other.
    return measure_attack(*scores, unit="household", member_group=target, other_group=target, seed=seed)


def _members(target: IntArray, n: int, m: int, inside: bool, random: np.random.Generator) -> FloatArray:
    """Who is added up in each trial, as 0 and 1, shape (K, n): m households with the target, or without it."""
    order = random.random((len(target), n))
    # The target comes first, or last.
    order[np.arange(len(target)), target] = -1.0 if inside else 2.0
    chosen = np.argsort(order, axis=1)[:, :m]
    found = np.zeros((len(target), n))
    np.put_along_axis(found, chosen, 1.0, axis=1)
    return found
