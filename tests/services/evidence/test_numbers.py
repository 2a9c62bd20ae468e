"""What is measured of a deletion, against numpy by hand; and deletions that were not."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unlearn
from tests.households.customer_data import loads
from tests.proofs import proof_count
from unlearn.data import LoadDataset
from unlearn.errors import InputError, MismatchError, SingularHessianError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.grid.cost import price_hours
from unlearn.services.evidence.numbers import distance_to_refit, effects, refit, residual_gradient, sums_gap

EXACT = 1e-11  # rounding of sums over a thousand rows, and of φ in other batches


@pytest.fixture(scope="module")
def data() -> LoadDataset:
    return unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000)


@pytest.fixture(scope="module")
def model(data: LoadDataset) -> Forecaster:
    return unlearn.fit_linear(data)


def measured(model: Forecaster, dataset: LoadDataset) -> tuple[float, float, float]:
    gap = sums_gap(model, dataset)
    assert gap is not None
    return residual_gradient(model, dataset), gap, distance_to_refit(model, dataset)


def with_head(model: Forecaster, head: torch.Tensor) -> Forecaster:
    """Another head, sums and weights as they are."""
    return model.with_theta(head.reshape(-1))


def test_exact_removals_measure_as_rounding(data: LoadDataset, model: Forecaster) -> None:
    some = unlearn.forget(model, data, range(100, 130)).model
    single = unlearn.forget(some, data, range(200, 260), loads=data.load_names[:1]).model
    emptied = unlearn.forget(single, data, data.split.train, loads=data.load_names[1:2]).model
    for own in (model, some, single, emptied):
        assert max(measured(own, data)) < EXACT


def test_exact_removals_with_a_regulariser_measure_as_rounding(data: LoadDataset) -> None:
    ridge = unlearn.fit_linear(data, l2=3.0)
    assert max(measured(unlearn.forget(ridge, data, range(50)).model, data)) < EXACT


def test_networks_are_measured_by_their_head(dataset: LoadDataset, cnn: Forecaster) -> None:
    done = unlearn.forget(cnn, dataset, dataset.split.sensitive[:40])
    slope, gap, _ = measured(done.model, dataset)
    assert slope < 1e-9
    assert gap < 1e-12
    assert residual_gradient(done.model.with_theta(cnn.theta), dataset) > 1e-6


@pytest.mark.parametrize("lags", [None, [24]])
def test_customers_are_measured_in_the_data_without_them(lags: list[int] | None) -> None:
    own = loads(lags=lags)
    model = unlearn.fit_linear(own)
    done = unlearn.forget_customers(model, own, ["c007", "c008"])
    assert max(measured(done.model, done.dataset)) < EXACT
    with pytest.raises(MismatchError):
        residual_gradient(done.model, own)


def test_a_tuned_model_is_measured_beneath(data: LoadDataset, model: Forecaster) -> None:
    tuned = unlearn.tune(model, data, "mse", "scale").model
    done = unlearn.forget(tuned, data, range(100))
    assert done.model.is_tuned
    assert max(measured(done.model, data)) < EXACT


def test_the_gradient_is_that_of_the_definition(data: LoadDataset) -> None:
    model = unlearn.fit_linear(data, l2=2.0)
    done = unlearn.forget(model, data, range(300), form="first_order").model
    rows = data.split.train
    phi = done.design_of(data, rows).numpy()
    weights = np.ones(len(rows))
    weights[:300] = 0.0
    ratios = []
    for b in range(3):
        theta, y = done.head.numpy()[b], data.load_pu[rows][:, b]
        # (1/B) Σ w (θ'φ − y)² + (l2/2) ‖θ‖², by central differences; quadratic, so exact but for rounding.
        slope = np.empty(len(theta))
        for j, e in enumerate(np.eye(len(theta))):

            def loss(t: np.ndarray, y: np.ndarray = y) -> float:
                return float((weights * (phi @ t - y) ** 2).sum() / 3 + (t**2).sum())

            slope[j] = (loss(theta + e) - loss(theta - e)) / 2
        ratios.append(np.linalg.norm(slope) / np.linalg.norm(2 / 3 * phi.T @ (weights * y)))
    assert residual_gradient(done, data) == pytest.approx(max(ratios), rel=1e-6)
    assert residual_gradient(done, data) > 1e-5


def test_an_output_that_should_be_empty_and_is_not(data: LoadDataset, model: Forecaster) -> None:
    done = unlearn.forget(model, data, data.split.train, loads=data.load_names[:1]).model
    assert residual_gradient(done, data) < EXACT
    head = done.head.clone()
    head[0, 0] = 1e-9
    assert residual_gradient(with_head(done, head), data) == 1.0


def test_sums_that_still_hold_what_the_head_does_not(data: LoadDataset, model: Forecaster) -> None:
    done = unlearn.forget(model, data, range(10)).model
    old = done.with_theta(done.theta, done.weights, statistics=model.statistics)
    assert residual_gradient(old, data) < EXACT
    gap = sums_gap(old, data)
    assert gap is not None
    assert gap > 1e-3
    none = done.with_theta(done.theta, done.weights)
    assert sums_gap(none, data) is None


def test_the_distance_is_that_to_the_normal_equations(data: LoadDataset, model: Forecaster) -> None:
    moved = with_head(model, model.head * 1.5)
    assert distance_to_refit(moved, data) == pytest.approx(0.5, rel=1e-9)
    rows = data.split.train
    phi, y = model.design_of(data, rows).numpy(), data.load_pu[rows]
    head = np.linalg.solve(phi.T @ phi, phi.T @ y).T
    assert np.allclose(refit(phi, y, np.ones(y.shape)), head, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10_000), ridge=st.sampled_from([0.0, 0.5]))
def test_refits_minimise_weighted_squares(seed: int, ridge: float) -> None:
    random = np.random.default_rng(seed)
    phi, y = random.normal(size=(30, 4)) * [1, 10, 0.1, 1], random.normal(size=(30, 3))
    weights = np.stack([random.integers(0, 3, 30) for _ in range(2)] + [np.zeros(30)], axis=1).astype(float)
    head = refit(phi, y, weights, ridge)
    for b in range(2):
        gram = phi.T @ (weights[:, b, None] * phi) + ridge * np.eye(4)
        assert np.allclose(gram @ head[b], phi.T @ (weights[:, b] * y[:, b]), atol=1e-9)
    assert not head[2].any()


def test_refits_of_too_few_rows_are_refused() -> None:
    with pytest.raises(SingularHessianError, match="3 parameters of each output, got rank 2"):
        refit(np.array([[1.0, 2, 3], [4, 5, 6], [5, 7, 9]]), np.ones((3, 1)), np.ones((3, 1)))


def test_networks_trained_as_a_whole_are_refused(data: LoadDataset) -> None:
    options = unlearn.TrainingOptions(epochs=1)
    whole = unlearn.fit_network(data, "cnn", options, loss="mse")
    for measure in (residual_gradient, sums_gap, distance_to_refit):
        with pytest.raises(InputError, match="trained as a whole"):
            measure(whole, data)


def test_effects_are_errors_and_cost_of_hours_that_nothing_was_fitted_on(
    dataset: LoadDataset, linear: Forecaster, cost: OperatingCost
) -> None:
    done = unlearn.forget(linear, dataset, range(200)).model
    left_out = dataset.split.test[:30]
    found = effects({"before": linear, "after": done}, dataset, cost, left_out=left_out)
    assert [(row["method"], row["split"]) for row in found] == [
        ("before", "validation"), ("before", "test"), ("after", "validation"), ("after", "test")
    ]  # fmt: skip
    for row, own in zip(found, (linear, linear, done, done), strict=True):
        rows = dataset.split.validation if row["split"] == "validation" else dataset.split.test[30:]
        forecast, load = own.forecast(dataset.features[rows]), dataset.load_pu[rows]
        assert row["hours"] == len(rows)
        assert row["mse_pu2"] == pytest.approx(((forecast - load) ** 2).mean())
        assert row["mape_percent"] == pytest.approx(100 * (np.abs(forecast - load) / load).mean())
        assert row["cost_per_hour"] == pytest.approx(float(price_hours(cost, forecast, load).total.mean()), rel=1e-6)
    assert effects({"before": linear, "after": done}, dataset, cost, left_out=left_out) == found


def test_the_truth_is_the_physical_load_of_each_data_set() -> None:
    own = loads()
    model = unlearn.fit_linear(own)
    left = unlearn.forget_customers(model, own, ["c007"])
    objects = unlearn.forget_customers(model, own, ["c007"], "objects")
    models = {"before": model, "left": left.model, "objects": objects.model}
    data = {"before": own, "left": left.dataset, "objects": objects.dataset}
    found = {row["method"]: row for row in effects(models, data, splits=["test"])}
    rows = own.split.test
    for name, truth in (("left", left.dataset), ("objects", own)):
        error = models[name].forecast(own.features[rows]) - truth.load_pu[rows]
        assert found[name]["mse_pu2"] == pytest.approx((error**2).mean())
    assert found["left"]["cost_per_hour"] is None


def test_loads_of_0_have_no_percentage_and_no_hour_no_error(data: LoadDataset, cost: OperatingCost) -> None:
    blank = data.load_mw.copy()
    rows = data.split.validation
    blank[rows[:5], 0] = 0.0
    blank[rows[5:7]] = 0.0
    own = data.with_loads(blank)
    model = unlearn.fit_linear(own)
    (row,) = effects({"one": model}, own, cost, splits=("validation",))
    forecast, load = model.forecast(own.features[rows]), own.load_pu[rows]
    share = np.abs(forecast - load)[load > 0] / load[load > 0]
    # An hour counts once, whatever the number of its loads.
    hour = np.repeat(np.arange(len(rows)), (load > 0).sum(axis=1))
    means = np.bincount(hour, share, len(rows))[(load > 0).any(axis=1)] / (load > 0).sum(axis=1)[(load > 0).any(axis=1)]
    assert row["mape_percent"] == pytest.approx(100 * means.mean())
    assert row["cost_per_hour"] is None  # 3 loads on a grid of 14
    (none,) = effects({"one": model}, own, splits=("validation",), left_out=rows)
    assert none["hours"] == 0
    assert none["mse_pu2"] is None
    assert none["mape_percent"] is None


def test_effects_that_cannot_be_compared_are_refused(data: LoadDataset, model: Forecaster, cost: OperatingCost) -> None:
    later = unlearn.load_dataset("synthetic", n_loads=3, n_hours=900)
    with pytest.raises(InputError, match="splits: expected some of validation, test, got 'train'"):
        effects({"one": model}, data, splits=["train"])
    with pytest.raises(InputError, match="none for 'two'"):
        effects({"one": model, "two": model}, {"one": data})
    with pytest.raises(InputError, match="same hours"):
        effects({"one": model, "two": unlearn.fit_linear(later)}, {"one": data, "two": later})
    with pytest.raises(MismatchError):
        effects({"one": model}, later)
    with pytest.raises(InputError, match="left_out"):
        effects({"one": model}, data, left_out=[5000])
    wide = unlearn.load_dataset("synthetic", n_hours=1000)
    other = dataclasses.replace(wide, base_mva=50.0)
    with pytest.raises(MismatchError, match="50 MVA"):
        effects({"one": unlearn.fit_linear(other)}, other, cost)


@settings(max_examples=proof_count(200))
@given(seed=st.integers(0, 10**6), l2=st.sampled_from([0.0, 5.0]))
def test_sequences_of_random_removals_measure_as_rounding_and_the_model_before_does_not(
    data: LoadDataset, seed: int, l2: float
) -> None:
    random = np.random.default_rng(seed)
    model = before = unlearn.fit_linear(data, l2=l2)
    for part in np.array_split(random.permutation(data.split.train)[: random.integers(4, 300)], 3):
        names = random.permutation(data.load_names)[: random.integers(1, 4)]
        model = unlearn.forget(model, data, np.sort(part), loads=[own for own in data.load_names if own in names]).model
    assert max(measured(model, data)) < EXACT
    assert min(measured(before.with_theta(before.theta, model.weights, statistics=before.statistics), data)) > 1e-7
