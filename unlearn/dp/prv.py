"""Privacy loss random variables (Gopi et al. 2021) on opacus's discretisation, at any size of ε.

opacus multiplies `e^t` out, which overflows at losses of 709, and takes as many points as the error asked for would
need. Here the same sums are written with `e^(ε - t) <= 1`, and the error grows where the points would not fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from unlearn.checks import FloatArray

#: Most points of the grid; 2 million take about a second.
_POINTS = 2_000_000


def enclose_epsilon(
    parts: Sequence[tuple[float, float, int]], delta: float, eps_error: float
) -> tuple[float, float, float]:
    """Bounds of ε and what lies between them.

    Args:
        parts: noise multiplier, sampling rate and number of steps of each part.
        delta: δ; its own error is a thousandth of it.
        eps_error: how far the bounds may be from the estimate, if the points suffice.

    Returns:
        ε from below, estimated, and from above; each at least 0.
    """
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

    counts = [steps for _, _, steps in parts]
    losses = [StablePrv(rate, noise) for noise, rate, _ in parts]
    delta_error = delta / 1000
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # of RDP, which only sizes the grid
        reach = compute_safe_domain_size(losses, counts, eps_error, delta_error)
    per_error = np.sqrt(sum(counts) * np.log(12 / delta_error) / 2)
    # Each step may shift the grid by half a width to keep its mean, and there may be a million steps.
    points = max(_POINTS, 2 * sum(counts))
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

    return max(0.0, at(delta + delta_error) - float(error)), at(delta), at(delta - delta_error) + float(error)
