"""Whether drawn noise is what is promised: its scale against the formula, its draws against the distribution."""

from __future__ import annotations

import math

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import LEVELS, Sensitivity
from unlearn.privacy.release.mechanisms import MECHANISMS
from unlearn.records import RecordTable
from unlearn.studies.dp_release.setting import Setting

#: Hours that share ε in this part.
SPAN = "week"
#: Scores among which a choice is made in this part: number of homes that an interval's ranks are away.
_SCORES = np.array([0, -1, -1, -3, -5, -12])
#: Bins of equal probability that whole numbers are counted in.
_BINS = 40


def measure_noise(setting: Setting, table: RecordTable) -> None:
    """Add scales, p-values and deviations of each mechanism at each level, of a load curve and of a count."""
    epsilon, n = setting.options.main_epsilon, setting.options.draws
    for mechanism in MECHANISMS.names():
        for level in LEVELS:
            own = {"part": "noise", "mechanism": mechanism, "level": level, "epsilon": epsilon, "query": "load_curve"}
            _one(setting, table, own, setting.sensitivity(level, SPAN), RESOLUTION_KWH, n)
        own |= {"query": "count", "level": "household"}
        _one(setting, table, own, Sensitivity(1, 1, 1), 1.0, n)
    _choices(setting, table)


def _one(
    setting: Setting, table: RecordTable, own: dict[str, object], sensitivity: Sensitivity, step: float, n: int
) -> None:
    mechanism = str(own["mechanism"])
    laplace = MECHANISMS[mechanism].promise == "epsilon"
    amount = setting.amount(mechanism, setting.options.main_epsilon)
    # By the formula, apart from the library's own.
    scale = sensitivity.l1 / amount if laplace else sensitivity.l2 / math.sqrt(2 * amount)
    asking = setting.asking(str(own["level"]), mechanism, amount)
    found = asking.noisy(np.zeros(n, dtype=np.int64), sensitivity, step)
    unit = "kwh" if step != 1 else "households"
    table.add("scale_formula", scale * step, unit, **own)
    table.add("scale_measured", found.scale, unit, **own)
    table.add("p_value", p_value(found.values / step, found.noise, scale), "", **own)
    expected = deviation(found.noise, scale) * step
    table.add("sd_ratio", found.values.std() / expected, "", **own)
    table.add("sd_over_scale", found.values.std() / (scale * step), "", **own)
    table.add("within_scale", float((np.abs(found.values) <= scale * step).mean()), "share", **own)


def deviation(noise: str, scale: float) -> float:
    """Standard deviation of a distribution, in its unit.

    >>> round(deviation("laplace", 10.0), 2)
    14.14
    """
    if noise == "laplace":
        return math.sqrt(2) * scale
    if noise == "discrete_laplace":
        return math.sqrt(2 * math.exp(-1 / scale)) / -math.expm1(-1 / scale)
    if noise == "gaussian" or scale > 30:
        return scale
    x = np.arange(-math.ceil(40 * scale), math.ceil(40 * scale) + 1)
    mass = np.exp(-(x**2) / (2 * scale**2))
    return float(np.sqrt((x**2 * mass).sum() / mass.sum()))


def p_value(draws: FloatArray, noise: str, scale: float) -> float:
    """Chance of draws that fit as badly, if they are of the distribution.

    Floats: Kolmogorov and Smirnov; whole numbers: χ² of their counts, in bins of about equal probability.

    Args:
        draws: in whole steps, shape (n,).
        noise: name of the distribution.
        scale: b or σ in whole steps.
    """
    from scipy import stats

    if not noise.startswith("discrete"):
        own = stats.laplace(scale=scale) if noise == "laplace" else stats.norm(scale=scale)
        return float(stats.kstest(draws, own.cdf).pvalue)
    whole = np.rint(draws).astype(np.int64)
    edges = np.unique(np.floor(_quantiles(noise, scale)).astype(np.int64))
    below = np.array([_below(noise, scale, int(edge)) for edge in edges])
    expected = np.diff([0.0, *below, 1.0]) * len(whole)
    counts = np.bincount(np.searchsorted(edges, whole, side="left"), minlength=len(edges) + 1)
    return float(stats.chisquare(*_joined(counts, expected)).pvalue)


def _quantiles(noise: str, scale: float) -> FloatArray:
    from scipy import stats

    share = np.arange(1, _BINS) / _BINS
    return (stats.laplace if noise == "discrete_laplace" else stats.norm).ppf(share, scale=scale)


def _below(noise: str, scale: float, edge: int) -> float:
    """Chance of a whole number up to an edge."""
    if noise == "discrete_laplace":
        # P(X > t) = exp(-(t + 1) / s) / (1 + exp(-1 / s)) for t >= 0, and symmetric.
        tail = math.exp(-(abs(edge) if edge < 0 else edge + 1) / scale) / (1 + math.exp(-1 / scale))
        return tail if edge < 0 else 1 - tail
    if scale > 1000:
        return 0.5 * math.erfc(-(edge + 0.5) / (scale * math.sqrt(2)))
    x = np.arange(-math.ceil(40 * scale), math.ceil(40 * scale) + 1)
    mass = np.exp(-(x**2) / (2 * scale**2))
    return float(mass[x <= edge].sum() / mass.sum())


def _joined(counts: IntArray, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Neighbouring bins together until at least five draws are expected in each."""
    place, total = np.zeros(len(expected), dtype=np.int64), 0.0
    for i in range(1, len(expected)):
        total += expected[i - 1]
        place[i] = place[i - 1] + (total >= 5)
        total = 0.0 if total >= 5 else total
    if total + expected[-1] < 5 and place[-1]:
        place[place == place[-1]] -= 1
    return np.bincount(place, counts).astype(np.float64), np.bincount(place, expected).astype(np.float64)


def _choices(setting: Setting, table: RecordTable) -> None:
    """The private choice that quantiles are made of: how often each is chosen, against its chance."""
    from scipy import stats

    epsilon, n = setting.options.main_epsilon, setting.options.draws
    asking = setting.asking("household", "discrete_laplace", epsilon)
    chosen = [asking.selected(_SCORES, 1, 1.0) for _ in range(n)]
    counts = np.bincount(chosen, minlength=len(_SCORES))
    expected = n * chances(_SCORES, 2 / epsilon)
    own = {"part": "noise", "mechanism": "exponential", "level": "household", "epsilon": epsilon, "query": "quantile"}
    table.add("scale_formula", 2 / epsilon, "households", **own)
    table.add("scale_measured", asking.selection_scale(1, 1.0), "households", **own)
    table.add("p_value", float(stats.chisquare(*_joined(counts, expected)).pvalue), "", **own)


def chances(scores: IntArray, scale: float) -> FloatArray:
    """Chance of each to be chosen as the largest score with exponential noise, shape (m,).

    >>> chances(np.array([0, 0]), 1.0).round(6).tolist()
    [0.5, 0.5]

    Args:
        scores: whole numbers, shape (m,).
        scale: mean of the noise.
    """
    # By the noisy score x of the chosen one, on a grid so fine that the rest is below 10⁻⁸.
    x = np.linspace(scores.min(), scores.max() + 40 * scale, 400_001)
    above = (x[:, None] - scores) / scale
    below = np.where(above > 0, -np.expm1(-np.maximum(above, 0)), 0.0)
    density = np.where(above >= 0, np.exp(-np.maximum(above, 0)) / scale, 0.0)
    others = np.stack([np.delete(below, i, axis=1).prod(axis=1) for i in range(len(scores))], axis=1)
    found = np.trapezoid(density * others, x, axis=0)
    return found / found.sum()
