"""The loss attack: a record is called a member if the model does well on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, as_floats, require_finite
from unlearn.errors import InputError


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
