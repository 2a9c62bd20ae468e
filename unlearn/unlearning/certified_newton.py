"""Gradients, Hessians and Newton's method of perturbed losses, for B outputs that share their rows.

`L(W) = Σ_i Σ_b ℓ(w_b·x_i, y_ib) + l2/2 ‖W‖² + ⟨P, W⟩`, with W and the perturbation P of shape (B, D): the outputs have
nothing in common but the rows X, so that the Hessian is B blocks of shape (D, D).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from unlearn.checks import FloatArray
from unlearn.errors import ConvergenceError, SingularHessianError
from unlearn.unlearning.certified_losses import CertifiedLoss

_MAX_STEPS = 200
#: A Newton step is halved until the gradient falls, down to this share; below it rounding is all that is left.
_SHORTEST = 2.0**-30
#: What the solver may leave of the gradient, in units of its size at the start.
_ACCURACY = 1e-9


def gradient(
    W: FloatArray, X: FloatArray, Y: FloatArray, loss: CertifiedLoss, l2: float, perturbation: FloatArray
) -> FloatArray:
    """∇L, shape (B, D)."""
    return loss.slope(X @ W.T, Y).T @ X + l2 * W + perturbation


def hessian(w: FloatArray, X: FloatArray, y: FloatArray, loss: CertifiedLoss, l2: float) -> FloatArray:
    """∇²L of one output, shape (D, D)."""
    return (X * loss.curvature(X @ w, y)[:, None]).T @ X + l2 * np.eye(X.shape[1])


def rounding(W: FloatArray, X: FloatArray, Y: FloatArray, loss: CertifiedLoss) -> FloatArray:
    """What rounding may hide of a gradient's norm, by output, shape (B,): of its sum, and of the forecasts in it.

    An estimate from above, for errors that do not all point the same way; some 1e-8 where budgets are 1e-2.
    """
    Z, (n, D) = X @ W.T, X.shape
    of_sum = math.sqrt(n) * np.abs(loss.slope(Z, Y)).sum(axis=0)
    of_forecasts = D * np.linalg.norm(W, axis=1) * (1 + loss.curvature(Z, Y).sum(axis=0))
    return np.finfo(np.float64).eps * (of_sum + of_forecasts)


def solve_with_hessian(
    W: FloatArray, X: FloatArray, Y: FloatArray, loss: CertifiedLoss, l2: float, right: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """H⁻¹ times a vector for each output, shape (B, D), and the norm of what rounding leaves of each, shape (B,).

    Raises:
        SingularHessianError: l2 is too small for the rows.
    """
    solved, left = np.empty_like(W), np.empty(len(W))
    for b, own in enumerate(right):
        H = hessian(W[b], X, Y[:, b], loss, l2)
        try:
            solved[b] = cho_solve(cho_factor(H), own)
        except np.linalg.LinAlgError as error:
            raise SingularHessianError(
                f"certified head: expected a Hessian that is positive definite, got one that is singular in float64, "
                f"of output {b}, with l2={l2:g}. Raise l2."
            ) from error
        left[b] = np.linalg.norm(H @ solved[b] - own)
    return solved, left


def removal_step(
    W: FloatArray, X: FloatArray, Y: FloatArray, loss: CertifiedLoss, l2: float, removed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The Newton step that removes rows, and what it adds to the bound of the gradient.

    The bound is derived in `unlearn.unlearning.certified`.

    Args:
        W: present weights, shape (B, D).
        X: rows that remain, shape (n, D).
        Y: their targets, shape (n, B).
        loss: ℓ.
        l2: regulariser.
        removed: sum of the gradients of the rows that go, shape (B, D).

    Returns:
        v, shape (B, D), and `γ/2 · ‖X‖₂ · √(Σ s_i⁴)` with what rounding adds, shape (B,).
    """
    step, left = solve_with_hessian(W, X, Y, loss, l2, removed)
    largest = math.sqrt(np.linalg.eigvalsh(X.T @ X)[-1])
    bound = 0.5 * loss.lipschitz * largest * np.sqrt(((X @ step.T) ** 4).sum(axis=0))
    return step, bound + left + rounding(W, X, Y, loss)


def minimise(
    X: FloatArray,
    Y: FloatArray,
    loss: CertifiedLoss,
    l2: float,
    perturbation: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """The minimiser of L, from 0 and as accurately as float64 allows.

    Newton's method, each step halved until the norm of the gradient falls: L is strongly convex, so that it falls along
    every Newton direction.

    Args:
        X: rows, shape (n, D).
        Y: targets, shape (n, B).
        loss: ℓ.
        l2: regulariser, > 0.
        perturbation: P, shape (B, D).

    Returns:
        W, shape (B, D), and a bound of the gradient's norm that is left of each output, rounding included, shape (B,).

    Raises:
        ConvergenceError: the gradient did not fall far enough.
    """
    W = np.zeros_like(perturbation)
    found, size = gradient(W, X, Y, loss, l2, perturbation), np.abs(loss.slope(X @ W.T, Y)).sum(axis=0)
    scale = size + np.linalg.norm(perturbation, axis=1) + l2
    norm = np.linalg.norm(found, axis=1)
    going = np.flatnonzero(norm > 0)
    for _ in range(_MAX_STEPS):
        if not len(going):
            break
        step, _ = solve_with_hessian(W[going], X, Y[:, going], loss, l2, -found[going])
        share, falling = np.ones(len(going)), np.zeros(len(going), dtype=bool)
        while not falling.all() and share[~falling].max() > _SHORTEST:
            tried = W[going] + share[:, None] * step
            new = gradient(tried, X, Y[:, going], loss, l2, perturbation[going])
            length = np.linalg.norm(new, axis=1)
            better = ~falling & (length <= (1 - 1e-4 * share) * norm[going])
            at = going[better]
            W[at], found[at], norm[at] = tried[better], new[better], length[better]
            falling |= better
            share[~falling] /= 2
            # Where nothing but rounding is left, shorter steps do not help.
            if (norm[going[~falling]] <= 1e-12 * scale[going[~falling]]).all():
                break
        going = going[falling]
    if (norm > _ACCURACY * scale).any():
        b = int((norm / scale).argmax())
        raise ConvergenceError(
            f"certified head: expected the gradient of output {b} to fall to {_ACCURACY * scale[b]:.1e}, got "
            f"{norm[b]:.1e} after {_MAX_STEPS} Newton steps at most. Raise l2, or take a wider loss."
        )
    return W, norm + rounding(W, X, Y, loss)
