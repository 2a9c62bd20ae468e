"""Shadow models of a forecaster with an analytic head: hundreds of weighted least-squares fits at once.

A forecaster's features are fixed, so a shadow model is another head on the same design. All Gram matrices are
one product of the weights with the products of the design's columns, and all heads one batched Cholesky solve.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import (
    FloatArray,
    as_floats,
    require_count,
    require_finite,
    require_fraction,
    require_not_negative,
    require_shape,
)
from unlearn.errors import InputError
from unlearn.forecasters import HeadObjective

#: Bound of the condition number of a Gram matrix, columns scaled to unit norm, up to which its Cholesky solve is
#: taken: heads are then within 1e-9 of a least-squares fit, relatively. Above, each head is fitted by SVD.
CONDITION = 1e6

#: Rows whose column products are formed at once, and entries of the Gram matrices that are solved at once.
ROWS, ENTRIES = 512, 4_000_000


def fit_heads(design: ArrayLike, target: ArrayLike, weights: ArrayLike, l2: float = 0.0) -> FloatArray:
    """Minimise `Σ_i w_i (1/B)‖W φ_i − y_i‖² + (l2/2)‖W‖²` for many weights at once.

    Args:
        design: Φ with the intercept, shape (n, D).
        target: Y in p.u., shape (n, B).
        weights: w >= 0 of every row for each shadow model, shape (k, n); 0 leaves a row out.
        l2: regulariser of the sum, >= 0.

    Returns:
        Heads W, shape (k, B, D), float64.

    Raises:
        InputError: shapes that do not fit, NaN, a negative weight.
        SingularHessianError: the rows of a shadow model do not determine its head; names the dependent columns.
    """
    phi, y = as_floats("design", design, ndim=2), as_floats("target", target, ndim=2)
    chosen = as_floats("weights", weights, ndim=2)
    require_shape("target", y, (len(phi), None))
    require_shape("weights", chosen, (None, len(phi)))
    for name, values in (("design", phi), ("target", y), ("weights", chosen)):
        require_finite(name, values)
    if (chosen < 0).any():
        raise InputError(
            f"weights: expected numbers of at least 0, got {chosen.min()}; the Hessian would be indefinite."
        )
    ridge = 0.5 * require_not_negative("l2", l2) * y.shape[1]
    columns = torch.from_numpy(phi), torch.from_numpy(y)
    at_once = max(1, ENTRIES // phi.shape[1] ** 2)
    parts = [_fit(*columns, part, ridge, l2) for part in torch.from_numpy(chosen).split(at_once)]
    empty = torch.zeros((0, y.shape[1], phi.shape[1]), dtype=torch.float64)
    return torch.cat([empty, *parts]).numpy()


def residuals_of(heads: ArrayLike, design: ArrayLike, target: ArrayLike) -> FloatArray:
    """Forecast − truth of n rows under k heads, shape (k, n, B); heads (k, B, D), design (n, D), target (n, B)."""
    w, phi, y = as_floats("heads", heads, ndim=3), as_floats("design", design, ndim=2), as_floats("target", target)
    require_shape("heads", w, (None, None, phi.shape[1]))
    require_shape("target", y, (len(phi), w.shape[1]))
    return np.matmul(phi, w.transpose(0, 2, 1)) - y


def random_subsets(n_rows: int, n_subsets: int, share: float, seed: int) -> np.ndarray:
    """Draw subsets without replacement, all of `round(share · n_rows)` rows, as masks of shape (n_subsets, n_rows).

    Raises:
        InputError: a count below 1, a share outside of (0, 1), or a subset of no row.
    """
    require_count("rows", n_rows)
    size = round(require_fraction("share", share) * n_rows)
    if not size:
        raise InputError(f"subsets: expected a share that holds at least one of {n_rows} rows, got {share}.")
    drawn = np.random.default_rng(seed).random((require_count("subsets", n_subsets), n_rows))
    return np.argsort(np.argsort(drawn, axis=1), axis=1) < size


def bootstrap_weights(n_rows: int, n_draws: int, seed: int) -> FloatArray:
    """How often each row occurs in data sets of n rows drawn with replacement, shape (n_draws, n_rows)."""
    require_count("rows", n_rows)
    shares = np.full(n_rows, 1 / n_rows)
    drawn = np.random.default_rng(seed).multinomial(n_rows, shares, size=require_count("draws", n_draws))
    return drawn.astype(np.float64)


def _fit(design: Tensor, target: Tensor, weights: Tensor, ridge: float, l2: float) -> Tensor:
    gram, cross = _moments(design, target, weights)
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    squares = gram.diagonal(dim1=1, dim2=2)
    scale = torch.where(squares > 0, squares, 1.0).rsqrt()
    scaled = scale[:, :, None] * gram * scale[:, None, :]
    factor, failed = torch.linalg.cholesky_ex(scaled)
    heads = (scale[:, :, None] * torch.cholesky_solve(scale[:, :, None] * cross, factor)).transpose(1, 2)
    # Largest eigenvalue <= Frobenius norm, 1 / smallest <= trace of the inverse.
    inverse = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2).sum(dim=1)
    bound = torch.linalg.matrix_norm(scaled) * inverse
    inaccurate = (failed > 0) | ~(bound <= CONDITION)
    if inaccurate.any():
        objective = HeadObjective(design, target, l2)
        for place in inaccurate.nonzero()[:, 0].tolist():
            heads[place] = objective.fit(weights[place]).reshape(heads[place].shape)
    return heads


def _moments(design: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """`Σ_i w_i φ_i φ_i'`, shape (k, D, D), and `Σ_i w_i φ_i y_i'`, shape (k, D, B)."""
    d, b = design.shape[1], target.shape[1]
    first, second = torch.triu_indices(d, d)
    n_products = len(first)
    sums = torch.zeros((len(weights), n_products + d * b), dtype=torch.float64)
    for phi, y, w in zip(design.split(ROWS), target.split(ROWS), weights.split(ROWS, dim=1), strict=True):
        outer = (phi[:, :, None] * y[:, None, :]).reshape(len(phi), -1)
        sums += w @ torch.cat([phi[:, first] * phi[:, second], outer], dim=1)
    gram = torch.empty((len(weights), d, d), dtype=torch.float64)
    gram[:, first, second] = sums[:, :n_products]
    gram[:, second, first] = sums[:, :n_products]
    return gram, sums[:, n_products:].reshape(-1, d, b)
