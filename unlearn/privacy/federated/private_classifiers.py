"""Two private classifiers of a federation: gradient descent in many rounds of noisy sums, least squares in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from unlearn.checks import FloatArray, require_positive
from unlearn.privacy.federated.adoption import PUBLIC_SCALING, AdoptionData
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.logistic import design, household_gradients
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.noise import FederatedBudget
from unlearn.privacy.federated.private import PrivateDescent, descend, private_round


@dataclass(frozen=True)
class PrivateWay:
    """How a classifier is made of private sums; features are standardised by `PUBLIC_SCALING`.

    Attributes:
        method: its name.
        what: name of the contribution.
        rounds: noisy sums that it needs.
        clip: Euclidean norm that a household's vector is clipped to.
        vectors: name of a utility -> what gives its households' vectors, message -> (n, W).
        fit: runs the rounds, and gives coefficients of a design, shape (F + 1,).
        link: turns design times coefficients into a score that is compared with the rate of owners.
    """

    method: str
    what: str
    rounds: int
    clip: float
    vectors: Callable[[str], Callable[[Payload], FloatArray]]
    fit: Callable[[Channel, FederatedBudget], FloatArray]
    link: Callable[[FloatArray], FloatArray]


def by_descent(data: AdoptionData, options: PrivateDescent) -> PrivateWay:
    """Logistic regression by private gradient descent."""

    def gradients(utility: str) -> Callable[[Payload], FloatArray]:
        features, owns = data.training(utility)
        rows = design(features, PUBLIC_SCALING)
        return lambda asked: household_gradients(asked["coefficients"], rows, owns)

    def fit(channel: Channel, budget: FederatedBudget) -> FloatArray:
        households = {name: len(data.training(name)[1]) for name in data.utilities}
        return descend(channel, what, data.features.shape[1] + 1, households, budget, options)

    what = "adoption/gradients"
    return PrivateWay("private descent", what, options.rounds, options.clip, gradients, fit, expit)


def by_squares(data: AdoptionData, radius: float) -> PrivateWay:
    """Ridge regression of labels on rows z that are clipped to a norm R, from one noisy sum of z zᵀ and z y.

    A household's vector has the upper triangle of z zᵀ, entries off the diagonal times √2, and z y: together at most
    √(R⁴ + R²) long.

    Args:
        data: who the households are.
        radius: R, chosen without looking at them.
    """
    n_columns = data.features.shape[1] + 1
    upper = np.triu_indices(n_columns)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    clip = float(np.hypot(require_positive("radius", radius) ** 2, radius))

    def moments(utility: str) -> Callable[[Payload], FloatArray]:
        features, owns = data.training(utility)
        rows = design(features, PUBLIC_SCALING)
        rows = rows * np.minimum(1.0, radius / np.linalg.norm(rows, axis=1, keepdims=True))
        vectors = np.hstack([rows[:, upper[0]] * rows[:, upper[1]] * weight, rows * owns[:, None]])
        return lambda asked: vectors

    def fit(channel: Channel, budget: FederatedBudget) -> FloatArray:
        total, members = private_round(channel, what, {}, budget)
        gram = np.zeros((n_columns, n_columns))
        gram[upper] = total[: len(weight)] / weight
        gram = gram + np.triu(gram, 1).T
        # Noise of about this size is in every eigenvalue; a ridge as large steadies them, and is no secret.
        ridge = budget.noise.multiplier(len(members)) * clip * np.sqrt(n_columns)
        return np.linalg.solve(gram + ridge * np.eye(n_columns), total[len(weight) :])

    what = "adoption/private moments"
    return PrivateWay("private least squares", what, 1, clip, moments, fit, lambda values: values)
