"""How much privacy a run has spent, by three accountants that know nothing of each other.

Neighbours are data sets that differ by one household more or less ("add or remove"), and batches are drawn by Poisson
sampling: every household takes part in a step with the same probability, independently. The numbers hold for nothing
else, such as shuffled batches of fixed size.

Privacy loss distributions (PLD; Koskela et al. 2020, Doroshenko et al. 2022) give the number that is reported. PRV
(Gopi et al. 2021) encloses it from both sides, and Rényi DP (RDP; Mironov 2017) bounds it from above. Gaussian DP's
central limit is no bound for few steps and is not offered.
"""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from unlearn.checks import require_count, require_fraction, require_not_negative, require_positive
from unlearn.errors import ConvergenceError, InputError

if TYPE_CHECKING:
    import dp_accounting

#: Width of PLD's grid for what is reported, and the wider one while a noise multiplier is searched; both bound from
#: above.
_GRID, _SEARCH_GRID = 1e-4, 1e-3

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


def require_sampling_rate(value: float) -> float:
    """Return `value` if it is a probability above 0."""
    if require_positive("sampling_rate", value) > 1:
        raise InputError(f"sampling_rate: expected at most 1, got {value:g}: it is the chance to take part in a step.")
    return float(value)


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
        return float(accountant.get_epsilon(delta))


def epsilon_by_prv(parts: Sequence[GaussianSteps], delta: float, eps_error: float = 1e-3) -> Interval:
    """ε of all parts together between bounds, by privacy loss random variables; see `epsilon_spent`.

    Args:
        parts: what was run.
        delta: δ.
        eps_error: how far the bounds may be from the estimate; the error of δ is a thousandth of δ.
    """
    require_positive("eps_error", eps_error)
    if not _is_noisy(parts, delta):
        return Interval(math.inf, math.inf, math.inf)
    return _by_prv(tuple(parts), delta, eps_error)


@functools.lru_cache(maxsize=64)
def _by_prv(parts: tuple[GaussianSteps, ...], delta: float, eps_error: float) -> Interval:
    require_opacus()
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(part.noise_multiplier, part.sampling_rate, part.steps) for part in parts]
    # `get_epsilon` gives the upper bound alone.
    with np.errstate(divide="ignore"), warnings.catch_warnings():  # log(1 - q) of full batches, which it masks
        warnings.filterwarnings("ignore", message="Optimal order is the")  # of RDP, which only sizes its grid
        composed = accountant._get_dprv(eps_error=eps_error, delta_error=delta / 1000)
    return Interval(*map(float, composed.compute_epsilon(delta, delta / 1000, eps_error)))


def noise_multiplier_for(
    epsilon: float, delta: float, sampling_rate: float, steps: int, others: Sequence[GaussianSteps] = ()
) -> float:
    """The least σ with which these steps, after all `others`, spend at most ε at δ (within 0.01 %).

    Raises:
        InputError: a setting out of range, or the others have spent more than ε already.
        ConvergenceError: no noise multiplier below a million suffices.
    """
    require_positive("epsilon", epsilon)

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

    high = 0.0
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

    # About what is lost: a grid of a fixed width would need millions of points for hundreds.
    loss = sum(part.steps * (part.sampling_rate / part.noise_multiplier) ** 2 for part in parts)
    accountant = PLDAccountant(
        dp.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=grid * max(1.0, loss)
    )
    for part in parts:
        event: dp_accounting.DpEvent = dp.GaussianDpEvent(part.noise_multiplier)
        if part.sampling_rate < 1:
            event = dp.PoissonSampledDpEvent(part.sampling_rate, event)
        accountant.compose(dp.SelfComposedDpEvent(event, part.steps))
    return float(accountant.get_epsilon(delta))


def _accounting() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise InputError(
            "accounting: expected the package dp-accounting, got none. Install it: pip install 'unlearn[private]'."
        ) from error
    from absl import logging as absl_logging

    # absl comes with it, and closes what stderr was at import as soon as logging is configured anew: a notebook's, say.
    absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    return dp_accounting


def require_opacus() -> None:
    """Refuse to go on without opacus.

    Raises:
        InputError: it is not installed.
    """
    try:
        import opacus  # noqa: F401
    except ImportError as error:
        raise InputError(
            "private training: expected the package opacus, got none. Install it: pip install 'unlearn[private]'."
        ) from error
