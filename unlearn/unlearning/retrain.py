"""Exact retraining on what remains: the reference that unlearning is measured against."""

from __future__ import annotations

from torch import Tensor

from unlearn.checks import IntArray
from unlearn.forecasters import HeadObjective
from unlearn.unlearning.newton import remain_weights


def retrain(objective: HeadObjective, unlearn: IntArray, weights: Tensor | None = None) -> Tensor:
    """Refit a head from the remaining data by least squares, without using the trained one.

    Args:
        objective: the training problem on T.
        unlearn: rows of T to leave out.
        weights: weights before the removal, shape (n,); None means ones.

    Returns:
        θ, shape (P,).

    Raises:
        InputError: rows empty, total, out of range or repeated.
        SingularHessianError: the remaining samples do not determine the parameters.
    """
    return objective.fit(remain_weights(objective, unlearn, weights))


def relative_distance(theta: Tensor, reference: Tensor) -> float:
    """`‖θ − θ_ref‖ / ‖θ_ref‖`."""
    return float((theta - reference).norm() / reference.norm())
