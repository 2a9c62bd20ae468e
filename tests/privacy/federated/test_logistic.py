"""Logistic regression of several members against pooled descent, scikit-learn, torch and finite differences."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import (
    AveragingOptions,
    LocalChannel,
    LocalTraining,
    LogisticLearner,
    Party,
    federated_average,
    household_gradients,
    trainer,
)
from unlearn.privacy.federated.logistic import design

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal([3.0, -1.0, 0.0], [2.0, 0.5, 1.0], size=(90, 3))
ROWS = design(FEATURES, (FEATURES.mean(axis=0), FEATURES.std(axis=0)))
LABELS = ROWS @ [0.2, 1.0, -0.5, 0.3] + RANDOM.logistic(size=90) > 0
PENALTY = 0.05
#: Members of 20, 30 and 40 households.
PARTS = {"a": slice(0, 20), "b": slice(20, 50), "c": slice(50, 90)}


def loss(coefficients: np.ndarray) -> float:
    margins = np.where(LABELS, 1, -1) * (ROWS @ coefficients)
    return float(np.logaddexp(0, -margins).mean() + PENALTY / 2 * np.square(coefficients[1:]).sum())


def test_gradients_are_those_of_finite_differences() -> None:
    at = np.array([0.3, -0.2, 0.5, 1.0])
    learner = LogisticLearner(ROWS, LABELS, PENALTY)
    np.testing.assert_allclose(learner.gradient(at), approx_fprime(at, loss, 1e-7), atol=1e-6)
    own = household_gradients(at, ROWS, LABELS)
    assert own.shape == ROWS.shape
    np.testing.assert_allclose(own.mean(axis=0) + PENALTY * at * [0, 1, 1, 1], learner.gradient(at), atol=1e-14)


def averaged(rounds: int, **settings: object) -> np.ndarray:
    channel = LocalChannel(
        [Party(name, trainer(name, LogisticLearner(ROWS[own], LABELS[own], PENALTY))) for name, own in PARTS.items()]
    )
    options = AveragingOptions(
        rounds=rounds, batch_size=0, learning_rate=1.0, optimiser="sgd", schedule="constant", **settings
    )
    return federated_average(channel, {"coefficients": np.zeros(4)}, options).weights["coefficients"]


def test_one_full_step_a_round_is_pooled_gradient_descent() -> None:
    pooled, expected = LogisticLearner(ROWS, LABELS, PENALTY), np.zeros(4)
    for _ in range(15):
        expected = expected - pooled.gradient(expected)
    np.testing.assert_allclose(averaged(15), expected, atol=1e-12)


def test_averaging_comes_to_what_pooled_training_comes_to() -> None:
    fitted = LogisticRegression(C=1 / (PENALTY * len(LABELS)), tol=1e-12, max_iter=10_000).fit(ROWS[:, 1:], LABELS)
    np.testing.assert_allclose(averaged(120), [*fitted.intercept_, *fitted.coef_[0]], atol=1e-5)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_local_epochs_are_those_of_torch(optimiser: str) -> None:
    options = LocalTraining(epochs=7, batch_size=0, learning_rate=0.1, optimiser=optimiser)
    start = np.array([0.1, 0.2, -0.3, 0.4])
    found = LogisticLearner(ROWS, LABELS, PENALTY).train({"coefficients": start}, options, 0, 0)["coefficients"]
    weights = torch.tensor(start, requires_grad=True)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    steps = kind([weights], lr=0.1)
    for _ in range(7):
        steps.zero_grad()
        log_loss = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(ROWS) @ weights, torch.from_numpy(LABELS.astype(float))
        )
        (log_loss + PENALTY / 2 * weights[1:].square().sum()).backward()
        steps.step()
    np.testing.assert_allclose(found, weights.detach().numpy(), atol=1e-9)


def test_batches_follow_the_seed_and_take_each_household_once() -> None:
    learner, start = LogisticLearner(ROWS, LABELS, PENALTY), {"coefficients": np.zeros(4)}
    options = LocalTraining(epochs=1, batch_size=7, learning_rate=1e-9, optimiser="sgd")
    first, again, other = (learner.train(start, options, 0, seed)["coefficients"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # Steps so small that they add up: 12 batches of 7, and one of the 6 that are left.
    weights = np.repeat([1 / 7, 1 / 6], [84, 6])
    order = np.random.default_rng(1).permutation(90)
    expected = -1e-9 * (household_gradients(np.zeros(4), ROWS, LABELS)[order] * weights[:, None]).sum(axis=0)
    np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="labels: expected 0 and 1"):
        LogisticLearner(ROWS, np.full(90, 2))
    with pytest.raises(InputError, match=r"labels: expected shape \(90"):
        LogisticLearner(ROWS, LABELS[:3])
    with pytest.raises(InputError, match="rows: expected finite"):
        LogisticLearner(np.full((2, 2), np.nan), np.ones(2))
    with pytest.raises(InputError, match="penalty"):
        LogisticLearner(ROWS, LABELS, -1.0)
    with pytest.raises(InputError, match="expected deviations above 0, got 0 of feature 1"):
        design([[1.0, 2.0]], ([0.0, 0.0], [1.0, 0.0]))
    with pytest.raises(InputError, match=r"scaling: expected shape \(2"):
        design([[1.0, 2.0]], ([0.0], [1.0]))
    for wrong in ({"coefficients": np.zeros(3)}, {"weights": np.zeros(4)}, {"coefficients": np.full(4, np.nan)}):
        with pytest.raises(ProtocolError, match="weights of a round"):
            LogisticLearner(ROWS, LABELS).train(wrong, LocalTraining(), 0, 0)
