"""How much privacy a run has spent, by three accountants that know nothing of each other.

Neighbours are data sets that differ by one household more or less ("add or remove"), and batches are drawn by Poisson
sampling: every household takes part in a step with the same probability, independently. The numbers hold for nothing
else, such as shuffled batches of fixed size.

Privacy loss distributions (PLD; Koskela et al. 2020, Doroshenko et al. 2022) give the number that is reported. PRV
(Gopi et al. 2021) encloses it from both sides, and Rényi DP (RDP; Mironov 2017, of the sampled Gaussian mechanism
Mironov et al. 2019, turned into ε by Balle et al. 2020, not by Mironov's looser rule) bounds it from above. All are at
least 0. PRV bounds the removal of a household, which loses more than its addition. Gaussian DP's central limit is no
bound for few steps and is not offered.

The PRV sums stand here on opacus's discretisation: opacus multiplies `e^t` out, which overflows at losses of 709, and
takes as many points as the error asked for would need. Written with `e^(ε - t) <= 1` they hold at any size of ε, and
the error grows where the points would not fit.
"""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from unlearn.checks import (
    FloatArray,
    require_count,
    require_fraction,
    require_not_negative,
    require_package,
    require_positive,
)
from unlearn.dp.composition import gaussian_epsilon
from unlearn.dp.options import require_sampling_rate
from unlearn.errors import ConvergenceError, InputError

if TYPE_CHECKING:
    import dp_accounting

#: Width of PLD's grid for what is reported, and the wider one while a noise multiplier is searched; both bound from
#: above.
_GRID, _SEARCH_GRID = 1e-4, 1e-3

#: Most points of PLD's grid for the loss of one step, and up to the mean loss of all.
_POINTS, _COMPOSED_POINTS = 300_000, 1_000_000

#: Most points of PRV's grid; 2 million take about a second.
_GRID_POINTS = 2_000_000

#: A grid wider than this, for losses of tens of millions, would overflow; sampling is then left out of account.
_WIDEST = 200.0

#: Noise multipliers below this protect nobody: a step that a household takes part in loses ε of tens of thousands.
_LEAST_NOISE = 0.003

#: Noise multipliers within this factor of each other count as the same.
_RTOL = 1e-4


@dataclass(frozen=True)
class GaussianSteps:
    """Steps of the Poisson-sampled Gaussian mechanism on sums of clipped vectors, one of each household.

    Attributes:
        noise_multiplier: standard deviation of the noise over the clipping norm, σ; 0 protects nothing.
        sampling_rate: chance of a household to take part in a step, q in (0, 1]; 1 is the plain Gaussian mechanism.
        steps: how many.

    Raises:
        InputError: any of them is out of range.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        require_not_negative("noise_multiplier", self.noise_multiplier)
        require_sampling_rate(self.sampling_rate)
        require_count("steps", self.steps)


class Interval(NamedTuple):
    """An estimate of ε between two bounds."""

    low: float
    estimate: float
    high: float


def epsilon_spent(parts: Sequence[GaussianSteps], delta: float) -> float:
    """ε of all parts together at δ, by privacy loss distributions; infinite where a part had no noise.

    Raises:
        InputError: δ out of (0, 1), or no parts.
    """
    return _by_pld(tuple(parts), delta, _GRID) if _is_noisy(parts, delta) else math.inf


def epsilon_by_rdp(parts: Sequence[GaussianSteps], delta: float) -> float:
    """ε of all parts together by Rényi DP, an upper bound; see `epsilon_spent`."""
    return _by_rdp(tuple(parts), delta) if _is_noisy(parts, delta) else math.inf


@functools.lru_cache(maxsize=64)
def _by_rdp(parts: tuple[GaussianSteps, ...], delta: float) -> float:
    require_opacus()
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(part.noise_multiplier, part.sampling_rate, part.steps) for part in parts]
    with warnings.catch_warnings():
        # Its bound is then not the tightest that RDP could give, but a bound.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        # The conversion from Rényi DP goes below 0 where δ alone covers what is lost.
        return max(0.0, float(accountant.get_epsilon(delta)))


def epsilon_by_prv(parts: Sequence[GaussianSteps], delta: float, eps_error: float = 1e-3) -> Interval:
    """ε of all parts together between bounds, by privacy loss random variables; see `epsilon_spent`.

    Args:
        parts: what was run.
        delta: δ.
        eps_error: how far the bounds may be from the estimate, if two million points suffice; the error of δ is a
            thousandth of δ.

    Returns:
        ε from below, estimated, and from above; each at least 0.
    """
    require_positive("eps_error", eps_error)
    if not _is_noisy(parts, delta):
        return Interval(math.inf, math.inf, math.inf)
    return _by_prv(tuple(parts), delta, eps_error)


def noise_multiplier_for(
    epsilon: float, delta: float, sampling_rate: float, steps: int, others: Sequence[GaussianSteps] = ()
) -> float:
    """The least σ with which these steps, after all `others`, spend at most ε at δ (within 0.01 %).

    Raises:
        InputError: a setting out of range, the others have spent more than ε already, or next to no noise keeps to ε.
        ConvergenceError: no noise multiplier below a million suffices.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)
    GaussianSteps(1.0, sampling_rate, steps)  # refuses what is out of range

    def spends(*more: GaussianSteps) -> float:
        parts = (*others, *more)
        return _by_pld(parts, delta, _SEARCH_GRID) if _is_noisy(parts, delta) else math.inf

    if others and (spent := spends()) >= epsilon:
        raise InputError(
            f"epsilon: the other parts have spent {spent:.4g} of {epsilon:g} already. Give them more noise, or raise "
            "epsilon."
        )

    @functools.cache
    def excess(level: float) -> float:
        """Log of what is spent over ε, by the log of σ: falls, and is nearly straight."""
        spent = spends(GaussianSteps(math.exp(level), sampling_rate, steps))
        return math.log(min(max(spent / epsilon, 1e-9), 1e9))

    # In powers of 2 from where a central limit theorem puts it, which is no bound but near.
    high = 0.0
    while high < math.log(1e6) and _by_limit(math.exp(high), sampling_rate, steps, delta) > epsilon:
        high += math.log(2)
    while excess(high) > 0:
        high += math.log(2)
        if high > math.log(1e6):
            raise ConvergenceError(
                f"noise_multiplier: none below a million gives epsilon {epsilon:g} at delta {delta:g} in {steps} steps "
                "beside the other parts. Take fewer steps, or raise epsilon."
            )
    low = high - math.log(2)
    while excess(low) <= 0:
        high, low = low, low - math.log(2)
        if low < math.log(_LEAST_NOISE):
            raise InputError(
                f"epsilon: {steps} steps at sampling rate {sampling_rate:g} spend less than {epsilon:g} at delta "
                f"{delta:g} even with a noise multiplier of {_LEAST_NOISE:g}, which protects nobody who takes part. "
                "Lower epsilon, or delta."
            )
    level = brentq(excess, low, high, xtol=_RTOL / 4)
    while excess(level) > 0:
        level += _RTOL / 4
    return math.exp(level)


def _is_noisy(parts: Sequence[GaussianSteps], delta: float) -> bool:
    require_fraction("delta", delta)
    if not parts:
        raise InputError("parts: expected at least one part that was run, got none.")
    return all(part.noise_multiplier > 0 for part in parts)


@functools.lru_cache(maxsize=256)  # a sweep over seeds asks the same again and again
def _by_pld(parts: tuple[GaussianSteps, ...], delta: float, grid: float) -> float:
    dp = _accounting()
    from dp_accounting.pld import PLDAccountant

    if (width := _grid_width(parts, grid)) > _WIDEST:
        return _by_gaussian(parts, delta)
    accountant = PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=width)
    for part in parts:
        event: dp_accounting.DpEvent = dp.GaussianDpEvent(part.noise_multiplier)
        if part.sampling_rate < 1:
            event = dp.PoissonSampledDpEvent(part.sampling_rate, event)
        accountant.compose(dp.SelfComposedDpEvent(event, part.steps))
    with np.errstate(over="ignore"):
        found = float(accountant.get_epsilon(delta))
    # Its conversion takes exponentials of ε, which overflow above 709; those of the δ at an ε do not.
    return max(0.0, found) if math.isfinite(found) else _least_epsilon(accountant.get_delta, delta)


def _least_epsilon(delta_at: Callable[[float], float], delta: float) -> float:
    """The least ε, to nine digits from above, at which δ is kept; infinite if none below 1e9 keeps it."""
    low, high = 0.0, 1.0
    while delta_at(high) > delta:
        low, high = high, 2 * high
        if high > 1e9:
            return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if delta_at(middle) <= delta else (middle, high)
    return high


def _grid_width(parts: tuple[GaussianSteps, ...], grid: float) -> float:
    """Width of PLD's grid: relative to what is lost, finer than a step's own loss, and of a bounded number of points.

    A grid of a fixed width would need millions of points for losses of hundreds; one that is wider than what a step
    loses rounds each of a million steps up.
    """
    loss = sum(part.steps * (part.sampling_rate / part.noise_multiplier) ** 2 for part in parts)
    of_a_step = math.sqrt(loss / sum(part.steps for part in parts))
    least_noise = min(part.noise_multiplier for part in parts)
    span = 0.5 / least_noise**2 + 10 / least_noise  # of one step's loss, up to what is cut off
    least = max(span * min(max(1.0, span / 100), 60.0) / _POINTS, sum(map(_mean_loss, parts)) / _COMPOSED_POINTS)
    return max(min(grid * max(1.0, loss), of_a_step / 4), least * grid / _GRID)


def _mean_loss(part: GaussianSteps) -> float:
    """Mean privacy loss of a part, at most: by convexity in the sampling rate, and by the χ² divergence."""
    rate, precision = part.sampling_rate, part.noise_multiplier**-2
    return part.steps * min(rate * precision / 2, rate**2 * math.expm1(min(precision, 700.0)))


def _by_gaussian(parts: tuple[GaussianSteps, ...], delta: float) -> float:
    """ε of the parts without their sampling (Balle and Wang 2018, theorem 8): exact for full batches, else above."""
    return gaussian_epsilon(math.sqrt(sum(part.steps / part.noise_multiplier**2 for part in parts)), 1.0, delta)


def _by_limit(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """ε of the Gaussian mechanism that many steps tend to (Bu et al. 2020): what a search starts from, no bound."""
    mu = sampling_rate * math.sqrt(steps * math.expm1(min(noise_multiplier**-2, 700.0)))
    return _by_gaussian((GaussianSteps(1 / mu, 1.0, 1),), delta)


def _accounting() -> Any:
    require_package("accounting", "dp_accounting", '"unlearn[private]"')
    import dp_accounting
    from absl import logging as absl_logging

    # absl comes with it, and closes what stderr was at import as soon as logging is configured anew: a notebook's, say.
    absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    return dp_accounting


def require_opacus() -> None:
    """Refuse to go on without opacus.

    Raises:
        MissingPackageError: it is not installed.
    """
    require_package("private training", "opacus", '"unlearn[private]"')


@functools.lru_cache(maxsize=64)
def _by_prv(parts: tuple[GaussianSteps, ...], delta: float, eps_error: float) -> Interval:
    require_opacus()
    from opacus.accountants.analysis.prv import prvs as opacus
    from opacus.accountants.analysis.prv.compose import compose_heterogeneous
    from opacus.accountants.analysis.prv.domain import Domain, compute_safe_domain_size

    class StablePrv(opacus.PoissonSubsampledGaussianPRV):
        """The same distribution function, without `e^t`."""

        def cdf(self, t: FloatArray) -> FloatArray:
            q, sigma = self.sample_rate, self.noise_multiplier
            if q == 1:
                return ndtr(sigma * np.asarray(t) - 0.5 / sigma)
            least = np.log1p(-q)
            with np.errstate(divide="ignore"):  # at the least loss, where z is -inf
                above = np.maximum(t, least)
                z = above - np.log(q) + np.log1p(np.maximum((q - 1) * np.exp(-above), -1.0))
            return q * ndtr(sigma * z - 0.5 / sigma) + (1 - q) * ndtr(sigma * z + 0.5 / sigma)

    counts = [part.steps for part in parts]
    losses = [StablePrv(part.sampling_rate, part.noise_multiplier) for part in parts]
    delta_error = delta / 1000
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # of RDP, which only sizes the grid
        reach = compute_safe_domain_size(losses, counts, eps_error, delta_error)
    per_error = np.sqrt(sum(counts) * np.log(12 / delta_error) / 2)
    # Each step may shift the grid by half a width to keep its mean, and there may be a million steps.
    points = max(_GRID_POINTS, 2 * sum(counts))
    width = max(eps_error / per_error, 2 * reach / (points - sum(counts)))
    error, reach = width * per_error, reach + width * sum(counts) / 2
    domain = Domain.create_aligned(-reach - error, reach + error, width)
    truncated = [opacus.TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max) for loss in losses]
    composed = compose_heterogeneous([opacus.discretize(loss, domain) for loss in truncated], counts)
    t, p = composed.domain.ts, composed.pmf

    def at(target: float) -> float:
        def excess(epsilon: float) -> float:
            first = int(np.searchsorted(t, epsilon))
            return float(p[first:] @ -np.expm1(epsilon - t[first:])) - target

        return float(brentq(excess, 0.0, float(t[-1]), xtol=1e-10)) if excess(0.0) > 0 else 0.0

    low, high = at(delta + delta_error) - float(error), at(delta - delta_error) + float(error)
    return Interval(max(0.0, low), at(delta), high)
