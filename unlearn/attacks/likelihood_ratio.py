"""The likelihood-ratio attack (LiRA): is what a model does on a record likelier if it was trained on it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, require_finite, require_shape
from unlearn.errors import InputError

#: Shadow models with and without a record that its distributions are fitted on, at least.
MIN_SHADOWS = 8


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
