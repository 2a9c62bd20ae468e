"""What certified removal promises, and what it does not; the noise for (ε, δ), and for a number of removals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    as_floats,
    require_count,
    require_finite,
    require_fraction,
    require_positive,
)
from unlearn.dp.noise import clipped
from unlearn.errors import InputError
from unlearn.unlearning.certified_losses import CERTIFIED_LOSSES, CertifiedLoss
from unlearn.unlearning.certified_newton import minimise, removal_step

#: Single rows whose removal is tried to choose σ.
_TRIED = 16

#: What holds of every certified head.
LIMITATIONS = (
    "Requests must not be chosen after seeing the released model: adaptive requests are not covered (Gupta et al. "
    "2021).",
    "The promise is about each released model by itself: whoever keeps the models before and after a removal can "
    "compare them.",
    "The perturbation b and the residual are secret, as are the rows that are kept: publish the weights alone.",
    "The bound depends on the data, and so does the time of a retrain: the certificate is for auditors.",
    "Clipping rows to norm 1 changes the fit, as the noise does; the promise does not depend on how well it fits.",
    "The theorem takes the residual to be independent of b, but both are of one model. privacy_loss gives the privacy "
    "loss of a removal without this assumption.",
)


def noise_ratio(delta: float) -> float:
    """c: the noise in units of the residual for ε = 1, `√(2 ln(1.5/δ))` (Guo et al. 2019, theorem 3).

    >>> round(noise_ratio(1e-5), 2)
    4.88
    """
    return math.sqrt(2 * math.log(1.5 / delta))


def sigma_for(
    design: ArrayLike,
    target: ArrayLike,
    loss: str | CertifiedLoss = "pseudo_huber",
    *,
    l2: float,
    n_removals: int,
    epsilon: float = 1.0,
    delta: float = 1e-5,
    random_state: int = 0,
) -> float:
    """The noise with which about so many single rows can be removed before a retrain is due.

    Some rows are removed on trial from a head without noise, and the mean of their bounds is taken for all. Rows that
    are removed together cost more than one by one if they are alike.

    >>> import numpy as np
    >>> design = np.random.default_rng(0).normal(size=(200, 2)) / 3
    >>> few, many = (sigma_for(design, design @ [[1.0], [2.0]], l2=1.0, n_removals=n) for n in (1, 10))
    >>> round(many / few)
    10

    Args:
        design: see `CertifiedHead.fit`.
        target: see there.
        loss: see there.
        l2: see there.
        n_removals: how many.
        epsilon: ε to promise.
        delta: δ to promise.
        random_state: of the rows that are tried.

    Returns:
        σ. It is found from the data; to be strict use one found on other data, such as an earlier year.

    Raises:
        InputError: whatever `CertifiedHead.fit` refuses, or no whole number of removals.
        ConvergenceError: no minimiser was found.
    """
    require_promise(epsilon, delta)
    require_count("n_removals", n_removals)
    require_positive("l2", l2)
    X, Y = as_samples(design, target)
    chosen: CertifiedLoss = CERTIFIED_LOSSES.make(loss)
    X, Y = clipped(X, 1.0), chosen.targets(Y)
    W, _ = minimise(X, Y, chosen, l2, np.zeros((Y.shape[1], X.shape[1])))
    slopes, bounds = chosen.slope(X @ W.T, Y), []
    for row in np.random.default_rng(random_state).permutation(len(X))[:_TRIED]:
        removed, rest = slopes[row][:, None] * X[row], np.arange(len(X)) != row
        bounds.append(np.linalg.norm(removal_step(W, X[rest], Y[rest], chosen, l2, removed)[1]))
    return float(n_removals * np.mean(bounds) * noise_ratio(delta) / epsilon)


def require_promise(epsilon: float, delta: float) -> None:
    """Refuse an ε or δ for which the formula of the noise is not proven."""
    require_fraction("delta", delta)
    if require_positive("epsilon", epsilon) > 1:
        raise InputError(
            f"epsilon: expected at most 1, got {epsilon!r}: beyond, the formula of the noise is not proven. Promise 1, "
            "which holds for every larger one."
        )


def as_samples(design: ArrayLike, target: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Rows of features and targets, of which there are as many, at least two."""
    X, Y = as_floats("design", design, ndim=2), as_floats("target", target, ndim=2)
    if len(X) != len(Y) or len(X) < 2 or not X.shape[1] or not Y.shape[1]:
        raise InputError(
            f"design and target: expected as many rows, at least 2, and a column each, got {X.shape} and {Y.shape}."
        )
    require_finite("design", X)
    require_finite("target", Y)
    return X, Y
