"""Logistic regression over the households of several members: local training, and gradients of single households.

Designs have the intercept first: `design(features, scaling)`. The loss is the mean over households of the log loss plus
penalty / 2 times the squared norm of the coefficients without the intercept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from unlearn.checks import FloatArray, as_floats, require_finite, require_not_negative, require_shape
from unlearn.errors import InputError
from unlearn.privacy.federated.learners import LocalTraining
from unlearn.privacy.federated.messages import Payload, require_arrays

#: Mean and standard deviation of each feature.
Scaling = tuple[ArrayLike, ArrayLike]


def design(features: ArrayLike, scaling: Scaling) -> FloatArray:
    """Standardised features after a column of ones, shape (n, F + 1).

    >>> design([[3.0], [5.0]], ([4.0], [2.0])).tolist()
    [[1.0, -0.5], [1.0, 0.5]]

    Args:
        features: shape (n, F).
        scaling: mean and standard deviation, each of shape (F,).

    Raises:
        InputError: no finite matrix, or a scaling of another length or with a deviation that is not above 0.
    """
    array = as_floats("features", features, ndim=2)
    require_finite("features", array)
    mean, deviation = (as_floats("scaling", own, ndim=1) for own in scaling)
    for own in (mean, deviation):
        require_shape("scaling", own, (array.shape[1],))
        require_finite("scaling", own)
    if (deviation <= 0).any():
        raise InputError(
            f"scaling: expected deviations above 0, got {deviation.min():g} of feature {int(deviation.argmin())}. "
            "Leave out features that are the same for all."
        )
    return np.hstack([np.ones((len(array), 1)), (array - mean) / deviation])


def household_gradients(coefficients: FloatArray, rows: FloatArray, labels: NDArray) -> FloatArray:
    """Gradient of each household's own log loss, shape (n, F + 1): (probability - label) times its row.

    Args:
        coefficients: shape (F + 1,).
        rows: of a design, shape (n, F + 1).
        labels: 0 or 1, shape (n,).
    """
    return (expit(rows @ coefficients) - labels)[:, None] * rows


@dataclass(frozen=True, eq=False)
class LogisticLearner:
    """A member's side of federated averaging of a logistic regression, a `Learner`.

    >>> rows = design([[0.0], [1.0], [2.0], [3.0]], ([1.5], [1.0]))
    >>> learner = LogisticLearner(rows, np.array([0, 0, 1, 1]), penalty=0.1)
    >>> options = LocalTraining(epochs=200, batch_size=0, learning_rate=1.0, optimiser="sgd")
    >>> learner.train({"coefficients": np.zeros(2)}, options, 0, 0)["coefficients"].round(2).tolist()
    [-0.0, 1.51]

    Attributes:
        rows: its households, as `design` gives them, shape (n, F + 1).
        labels: 0 or 1, shape (n,).
        penalty: of the squared norm; the same for all members.

    Raises:
        InputError: arrays that do not fit, labels other than 0 and 1, or a negative penalty.
    """

    rows: FloatArray
    labels: NDArray
    penalty: float = 1e-2

    def __post_init__(self) -> None:
        require_finite("rows", as_floats("rows", self.rows, ndim=2))
        require_shape("labels", np.asarray(self.labels), (len(self.rows),))
        if not np.isin(self.labels, (0, 1)).all():
            raise InputError("labels: expected 0 and 1, got others. Write whether a household belongs to the class.")
        require_not_negative("penalty", self.penalty)

    @property
    def n_samples(self) -> int:
        return len(self.rows)

    def gradient(self, coefficients: FloatArray, rows: NDArray[np.int64] | slice = slice(None)) -> FloatArray:
        """Gradient of the loss over some of its households, shape (F + 1,)."""
        shrunk = np.concatenate([[0.0], coefficients[1:]])
        own = household_gradients(coefficients, self.rows[rows], self.labels[rows])
        return own.mean(axis=0) + self.penalty * shrunk

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        """Train for some local epochs; see `Learner`.

        Raises:
            ProtocolError: weights of another name, type or length.
        """
        found = require_arrays("weights of a round", weights, {"coefficients": (np.floating, (self.rows.shape[1],))})[
            "coefficients"
        ].astype(np.float64)
        random = np.random.default_rng(seed)
        size = min(options.batch_size or self.n_samples, self.n_samples)
        mean, square, step = np.zeros_like(found), np.zeros_like(found), 0
        for _ in range(options.epochs):
            # All rows at once stand in their own order, so that sums repeat.
            order = np.arange(self.n_samples) if size == self.n_samples else random.permutation(self.n_samples)
            for start in range(0, self.n_samples, size):
                gradient = self.gradient(found, order[start : start + size])
                if options.optimiser == "sgd":
                    found = found - options.learning_rate * gradient
                    continue
                step += 1  # Adam (Kingma and Ba 2015) with its usual constants
                mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
                scale = np.sqrt(square / (1 - 0.999**step)) + 1e-8
                found = found - options.learning_rate * mean / (1 - 0.9**step) / scale
        return {"coefficients": found}
