"""Membership in a model's training, by what it does on a record: loss, shadow models in and out, likelihood ratios."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.attacks.base import MIN_SHADOWS
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


def loss_scores(residuals: ArrayLike) -> FloatArray:
    """Minus the squared error of each record, averaged over its outputs (Yeom et al. 2018); higher means "member".

    Args:
        residuals: forecast − truth of n records under one model, shape (n, B), or under k of them, (k, n, B).

    Returns:
        Scores, shape (n,) or (k, n).

    Raises:
        InputError: another number of axes, no output, NaN.
    """
    errors = as_floats("residuals", residuals)
    if errors.ndim not in (2, 3) or not errors.shape[-1]:
        raise InputError(f"residuals: expected shape (n, B) or (k, n, B) with B > 0, got {errors.shape}.")
    require_finite("residuals", errors)
    return -np.square(errors).mean(axis=-1)


def likelihood_ratio_scores(observed: ArrayLike, shadow: ArrayLike, member: ArrayLike) -> FloatArray:
    """Log-likelihood ratio "trained on" against "not trained on" of each record (Carlini et al. 2022, eq. 4).

    Each statistic of a record is normal over shadow models, with its own mean and variance over those that were
    trained on the record and over those that were not (the online attack). Residuals are better statistics than losses:
    they are nearer to normal and keep their sign. The paper's statistic is the logit of a classifier's confidence;
    it gives several of one record their covariance, which count as independent here, and shares one variance among
    all records where there are few shadow models, which here are refused.

    Args:
        observed: statistics of each record under the model attacked, shape (n,) or (n, m).
        shadow: the same under each shadow model, shape (k, n) or (k, n, m).
        member: whether a shadow model was trained on a record, shape (k, n).

    Returns:
        Scores, shape (n,); higher means "member". Ratios of a record whose statistics do not differ between the two
        kinds of models are 0.

    Raises:
        InputError: shapes that do not fit, NaN, or a record with fewer than 8 shadow models of a kind.
    """
    seen, drawn = as_floats("observed", observed), as_floats("shadow", shadow)
    inside = np.asarray(member, dtype=bool)
    if seen.ndim == 1:
        seen, drawn = seen[:, None], drawn[..., None]
    require_shape("shadow", drawn, (None, *seen.shape))
    require_shape("member", inside, drawn.shape[:2])
    require_finite("observed", seen)
    require_finite("shadow", drawn)
    for what, count in (("trained on it", inside.sum(axis=0)), ("not trained on it", (~inside).sum(axis=0))):
        if count.size and count.min() < MIN_SHADOWS:
            raise InputError(
                f"likelihood ratio: expected at least {MIN_SHADOWS} shadow models of each kind for each record, got "
                f"{int(count.min())} {what} for record {int(count.argmin())}. Train more shadow models."
            )
    return (_log_density(seen, drawn, inside) - _log_density(seen, drawn, ~inside)).sum(axis=1)


def _log_density(seen: FloatArray, drawn: FloatArray, chosen: np.ndarray) -> FloatArray:
    """Log density of statistics under the normal distribution of the chosen shadow models, shape (n, m)."""
    weight = chosen[..., None] / chosen.sum(axis=0)[:, None]
    mean = (weight * drawn).sum(axis=0)
    variance = (weight * np.square(drawn - mean)).sum(axis=0)
    # Statistics that no shadow model moves say nothing; a floor keeps them from saying everything.
    floor = 1e-12 * np.square(drawn).mean(axis=0) + np.finfo(np.float64).tiny
    variance = np.maximum(variance, floor)
    return -0.5 * (np.square(seen - mean) / variance + np.log(variance))


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
