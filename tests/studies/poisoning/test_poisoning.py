"""Detection and unlearning of poisoned hours beside refits, brute force and scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

import unlearn
from unlearn.data import LoadDataset, Poisoned, SplitSpec, poison
from unlearn.detectors.base import Detector, FittedDetector, WindowScores
from unlearn.detectors.baselines import Median
from unlearn.detectors.windows import Windows, cut_windows, scale
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.households.buildings import BuildingSeries
from unlearn.studies._shared.study import measure
from unlearn.studies.poisoning.detection import (
    Detection,
    by_influence,
    by_residual,
    mitigations,
    of_nothing,
    of_truth,
    quality,
    refitted,
    series_of,
)
from unlearn.studies.poisoning.measure import PoisonedStudy
from unlearn.studies.poisoning.options import PoisoningOptions

OPTIONS = PoisoningOptions(tails=(3.0, 8.0), l1_budgets=(0.05,), window_hours=24, stride_hours=24)


@pytest.fixture(scope="module")
def poisoned(dataset: LoadDataset, linear: Forecaster) -> Poisoned:
    return poison(dataset, 0.1, "scaling", -0.5, seed=1, rows=linear.training_rows(dataset))


@pytest.fixture(scope="module")
def study(linear: Forecaster, poisoned: Poisoned, cost: OperatingCost) -> PoisonedStudy:
    return PoisonedStudy(linear, poisoned, cost, OPTIONS, hours=48)


def refit_without(model: Forecaster, dataset: LoadDataset, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares by NumPy's normal equations; the head, shape (B, D)."""
    design = model.design_of(dataset, rows).numpy()
    target = dataset.load_pu[rows]
    gram = design.T @ (weights[:, None] * design)
    return np.linalg.solve(gram, design.T @ (weights[:, None] * target)).T


def test_a_refitted_head_is_what_fitting_from_the_start_gives(dataset: LoadDataset, linear: Forecaster) -> None:
    attacked = poison(dataset, 0.2, "noise", 0.4)
    fresh = unlearn.fit_linear(attacked.dataset)
    model = refitted(linear, attacked)
    np.testing.assert_allclose(model.theta, fresh.theta, rtol=0, atol=1e-12)
    assert model.card.fingerprint == fresh.card.fingerprint
    assert linear.card.fingerprint == dataset.fingerprint


def test_a_refitted_network_is_what_training_from_the_start_gives(dataset: LoadDataset, one_thread: None) -> None:
    attacked = poison(dataset, 0.2, "scaling", -0.3, rows=dataset.split.sensitive)
    options = unlearn.TrainingOptions(epochs=2, learning_rate=1e-3)
    clean, fresh = (unlearn.fit_network(data, "cnn", options) for data in (dataset, attacked.dataset))
    # The extractor saw core hours only, which are clean.
    np.testing.assert_allclose(refitted(clean, attacked).theta, fresh.theta, rtol=0, atol=1e-9)


def test_poison_in_the_core_of_a_network_and_other_data_are_refused(dataset: LoadDataset, cnn: Forecaster) -> None:
    with pytest.raises(MismatchError, match=r"poisoned rows of the core.*rows=dataset.split.sensitive"):
        refitted(cnn, poison(dataset, 0.2, "scaling", -0.3))
    other = replace(dataset, load_mw=dataset.load_mw + 1.0)
    with pytest.raises(MismatchError, match="do not match"):
        refitted(cnn, poison(other, 0.2, "scaling", -0.3, rows=other.split.sensitive))


def test_complete_unlearning_of_flags_equals_a_refit_without_them(study: PoisonedStudy) -> None:
    flagged = study.detection("residual").flagged
    mitigation = next(iter(mitigations(study.study, np.flatnonzero(flagged), OPTIONS)))
    own = study.study
    expected = refit_without(own.model, own.dataset, own.training_rows, (~flagged).astype(float))
    found = mitigation.theta.numpy().reshape(expected.shape)
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


def test_reweighted_mitigations_are_those_of_reweight(study: PoisonedStudy, cost: OperatingCost) -> None:
    own, rows = study.study, np.flatnonzero(study.truth)
    for mitigation in list(mitigations(own, rows, OPTIONS))[1:]:
        hours = own.dataset.split.validation[np.linspace(0, 139, 48).round().astype(int)]
        criterion = str(mitigation.columns["criterion"])
        expected = unlearn.reweight(own.model, own.dataset, rows, criterion, 0.05, grid=cost, evaluate_on=hours)
        np.testing.assert_allclose(mitigation.theta, expected.model.theta, rtol=0, atol=1e-8)
        assert 0 < mitigation.weights_differ < 1  # ε was taken at a model that has seen the flagged rows


def test_nothing_flagged_leaves_the_model_and_reweights_it(study: PoisonedStudy) -> None:
    complete, *others = mitigations(study.study, np.array([], dtype=np.int64), OPTIONS)
    assert torch.equal(complete.theta, study.study.model.theta)
    assert len(others) == 2
    assert all(not torch.allclose(other.theta, complete.theta) for other in others)


def test_residuals_find_halved_loads_and_further_rounds_more_of_them(cost: OperatingCost) -> None:
    year = unlearn.load_dataset("synthetic", n_hours=8760, nominal_mw=cost.case.nominal_load_mw)
    half = PoisonedStudy(unlearn.fit_linear(year), poison(year, 0.3, "scaling", -0.5), cost)
    first, third = (quality(by_residual(half.study, 0.01, rounds), half.truth) for rounds in (1, 3))
    assert third["roc_auc"] > 0.95
    assert third["recall"] > 0.8
    assert third["f1"] > first["f1"]


def test_the_bias_of_a_poisoned_model_falls_out_of_residuals(study: PoisonedStudy) -> None:
    # A constant added to every load, validation hours included, changes no score.
    data = study.study.dataset
    shifted = replace(data, load_mw=data.load_mw + 5.0)
    other = replace(study.poisoned, dataset=shifted, original=data)
    again = PoisonedStudy(unlearn.fit_linear(data), other, study.study.cost, OPTIONS)
    np.testing.assert_allclose(by_residual(again.study, 0.02).score, by_residual(study.study, 0.02).score, rtol=1e-6)


def test_a_threshold_leaves_the_asked_share_of_validation_hours_above(study: PoisonedStudy) -> None:
    own = study.study
    found = by_residual(own, 0.1)
    residual = own.dataset.load_pu - own.model.forecast(own.dataset.features)
    trusted = residual[own.dataset.split.validation]
    centre = np.median(trusted, axis=0)
    spread = 1.4826 * np.median(np.abs(trusted - centre), axis=0)
    score = np.abs((residual - centre) / spread).mean(axis=1)
    assert (score[own.dataset.split.validation] > found.threshold).mean() == pytest.approx(0.1, abs=1 / 140)
    np.testing.assert_array_equal(found.flagged, score[own.training_rows] > found.threshold)


@pytest.mark.parametrize("criterion", ["mse", "cost"])
def test_influence_flags_harmful_rows_and_takes_the_tail_that_validation_likes_best(
    study: PoisonedStudy, criterion: str
) -> None:
    own = study.study
    influence = own.influence(criterion)
    spread = 1.4826 * np.median(np.abs(influence - np.median(influence)))
    hours = own.dataset.split.validation[np.linspace(0, 139, 48).round().astype(int)]

    def judged(flagged: np.ndarray) -> float:
        weights = (~flagged).astype(float)
        theta = torch.from_numpy(refit_without(own.model, own.dataset, own.training_rows, weights).reshape(-1))
        return measure(own.model.with_theta(theta), own.dataset, hours, own.cost).means(hours)[criterion]

    options = {tail: (influence < np.median(influence) - tail * spread) & (influence < 0) for tail in (3.0, 8.0)}
    best = min(options, key=lambda tail: judged(options[tail]))
    found = by_influence(own, criterion, (3.0, 8.0))
    if judged(options[best]) < judged(np.zeros_like(options[best])):
        assert found.threshold == best
        np.testing.assert_array_equal(found.flagged, options[best])
    else:
        assert not found.flagged.any()


def test_tails_that_flag_nothing_leave_everything_unflagged(study: PoisonedStudy) -> None:
    found = by_influence(study.study, "mse", (1e9,))
    assert not found.flagged.any()
    assert np.isinf(found.threshold)


def test_quality_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, score = random.random(200) < 0.2, random.random(200)
    found = quality(Detection("any", score, score > 0.7, 0.7), truth)
    assert found["precision"] == pytest.approx(precision_score(truth, score > 0.7))
    assert found["recall"] == pytest.approx(recall_score(truth, score > 0.7))
    assert found["f1"] == pytest.approx(f1_score(truth, score > 0.7))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, score))
    assert found["false_alarms"] == pytest.approx((score > 0.7)[~truth].mean())
    assert quality(of_truth(None, None, truth), truth)["f1"] == 1.0
    assert quality(of_nothing(None, None, truth), truth)["precision"] == 0.0


class Level(Detector, FittedDetector):
    """A detector that scores an hour by its value: the truth of a detector on windows is easily told."""

    name = "level"

    def __init__(self) -> None:
        self.seen: list[Windows] = []

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> list[FittedDetector]:
        self.seen.append(windows)
        return [self]

    def score(self, windows: Windows) -> WindowScores:
        return WindowScores(-windows.values.mean(axis=1), -windows.values)


def test_windows_are_cut_from_training_and_validation_hours_only_and_scores_come_back_to_rows(
    study: PoisonedStudy,
) -> None:
    detector = Level()
    found = study.detection(detector)
    (seen,) = detector.seen
    data = study.study.dataset
    end = int(data.split.test.min())
    assert seen.series.series.n_hours == end
    assert seen.hours.max() < len(data.split.train)
    assert seen.hour_labels is None
    scaled = scale(series_of(data), np.arange(end) < len(data.split.train)).value
    np.testing.assert_allclose(found.score, -scaled[:, study.study.training_rows].mean(axis=0), rtol=1e-5)
    above = -scaled[:, data.split.validation].mean(axis=0) > found.threshold
    assert above.mean() == pytest.approx(0.01, abs=1 / 140)
    expected = data.load_mw[:end].T * 1000
    np.testing.assert_allclose(series_of(data).kwh, expected)


def test_the_median_detector_compares_with_the_same_hour_of_the_days_before() -> None:
    random = np.random.default_rng(0)
    kwh = random.random((2, 24 * 6 + 5))
    hours = np.datetime64("2020-01-01T00", "h") + np.arange(kwh.shape[1])
    series = BuildingSeries("two", ("a", "b"), hours, kwh)
    windows = cut_windows(scale(series, np.ones(kwh.shape[1], dtype=bool)), 24, 1)
    found = Median(days=3).score(windows).by_hour(windows)
    value = windows.series.value.astype(float)
    for t in range(kwh.shape[1]):
        before = [value[:, s] for s in range(t - 24, max(t - 24 * 3, 0) - 1, -24)]
        expected = np.abs(value[:, t] - np.median(before, axis=0)) if before else np.zeros(2)
        np.testing.assert_allclose(found[:, t], expected, atol=1e-12)


def test_records_hold_every_number_once(study: PoisonedStudy) -> None:
    models, found = study.models(), study.detected("truth")
    assert set(models["method"]) == {"clean", "poisoned", "reweighted"}
    key = ["method", "criterion", "l1_budget", "metric", "split"]
    for records in (models, found):
        assert not records.duplicated(key).any()
        assert np.isfinite(records["value"]).all()
    values = found.set_index(["method", "metric"])["value"]
    assert values["unlearnt", "distance_to_retrained"] <= 1e-9
    assert values["detection", "recall"] == 1
    assert found["proportion"].dropna().unique() == pytest.approx([0.1])
    costs = models[models["metric"] == "cost"].groupby("method")["value"].first()
    assert values["unlearnt", "cost"] < costs["poisoned"]


def test_what_cannot_be_measured_is_refused(
    study: PoisonedStudy, dataset: LoadDataset, linear: Forecaster, cost: OperatingCost
) -> None:
    with pytest.raises(InputError, match=r"poisoning: detectors: expected one of .*influence_cost.*tarot"):
        study.detected("tarot")
    blank = replace(study.poisoned, dataset=dataset, original=dataset, mask=np.zeros_like(study.poisoned.mask))
    with pytest.raises(InputError, match="some but not all of 980 training rows poisoned, got 0"):
        PoisonedStudy(linear, blank, cost)
    bare = unlearn.load_dataset("synthetic", n_hours=400, nominal_mw=cost.case.nominal_load_mw, split=SplitSpec(0.8, 0))
    hopeless = PoisonedStudy(unlearn.fit_linear(bare), poison(bare, 0.1, "scaling", -0.5), cost)
    with pytest.raises(InputError, match="no validation rows"):
        hopeless.detected("residual")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"false_alarms": 0.0}, "poisoning: false_alarms"),
        ({"rounds": 0}, "poisoning: rounds"),
        ({"tails": ()}, "at least one number of deviations"),
        ({"tails": (0.0,)}, "poisoning: tails"),
        ({"criteria": ("rmse",)}, "poisoning: criteria"),
        ({"l1_budgets": (0.0,)}, "always measured; drop it"),
        ({"window_hours": 0}, "poisoning: window_hours"),
        ({"stride_hours": 0}, "poisoning: stride_hours"),
        ({"stride_hours": 61}, "at most the 60 hours of a window"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        PoisoningOptions(**settings)
