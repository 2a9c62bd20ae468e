"""Forget and tune, against a model that was fitted and tuned on data whose training rows never held what is removed."""

from dataclasses import replace

import numpy as np
import pytest

import unlearn
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.unlearning import relative_distance
from unlearn.unlearning.tuning import Affine, Head, Quantile, Scale, TuningMethod, Weights

#: Each method with its hyper-parameters given, and two that are chosen on folds.
RECIPES: dict[str, tuple[TuningMethod, int]] = {
    "scale": (Scale(), 0),
    "affine": (Affine(trust=1000.0, steps=10), 0),
    "quantile of loads": (Quantile(tau=0.7, variant="loads"), 0),
    "quantile of the total": (Quantile(tau=0.7, variant="total"), 0),
    "weights": (Weights(l1_budget=0.05, steps=4), 0),
    "head": (Head(trust=1000.0, steps=10), 0),
    "total, chosen": (Quantile(variant="total", n_taus=3), 2),
    "head, chosen": (Head(steps=3, relative_trusts=(0.3, 0.03)), 2),
}


def without(dataset: LoadDataset, removed: np.ndarray) -> LoadDataset:
    """The same hours, of which the removed ones are no part of the split any more."""
    split = dataset.split
    parts = {name: np.setdiff1d(getattr(split, name), removed) for name in ("train", "sensitive")}
    return replace(dataset, split=replace(split, **parts))


def never_given(model: Forecaster, dataset: LoadDataset) -> Forecaster:
    """A model with the same preprocessing whose head is fitted from scratch, on the rows of a data set alone."""
    other = model.with_theta(model.theta)
    other.card = replace(model.card, fingerprint=dataset.fingerprint, split=dataset.split.describe())
    return other.fitted_to(dataset)


@pytest.mark.parametrize("name", RECIPES)
def test_forget_then_tune_is_to_tune_what_was_never_given_the_rows(
    name: str, model: Forecaster, dataset: LoadDataset, cost: OperatingCost
) -> None:
    method, folds = RECIPES[name]
    removed = dataset.split.sensitive[100:260:2]
    found = unlearn.forget(model, dataset, removed, tune=unlearn.Tuning("cost", method, cost, folds)).model
    own = without(dataset, removed)
    fitted = never_given(model, own)
    assert len(fitted.weights) == len(model.weights) - len(removed)
    truth = unlearn.tune(fitted, own, "cost", method, grid=cost.fresh(), folds=folds).model
    assert relative_distance(found.tuned, truth.tuned) <= 1e-8
    assert relative_distance(found.head, truth.head) <= 1e-8
    assert relative_distance(truth.tuned, fitted.head) > 1e-4  # it did tune
    hours = dataset.features[dataset.split.test]
    np.testing.assert_allclose(found.forecast(hours), truth.forecast(hours), rtol=0, atol=1e-8)
