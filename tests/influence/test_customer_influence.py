"""Customers' influence against their true removal, and against finite differences in one customer's readings."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

import unlearn
from tests.households.customer_data import loads, meters, places, readings, weather
from unlearn.criteria import MSE, Weighted
from unlearn.data import Lags, SplitSpec
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions
from unlearn.households import customer_loads, hourly_meters, spread


@pytest.fixture(scope="module")
def many():
    """210 customers on the 14 buses of the grid."""
    own = meters(n=210, n_hours=480)
    place = spread(own.customer_ids, 14, seed=2)
    temperature = weather(own.hours)["temperature"].iloc[:, 0]
    data = customer_loads(own, place, {"temperature": temperature}, split=SplitSpec())
    return data.scaled_to(unlearn.load_case("ieee14").nominal_load_mw)


@pytest.fixture(scope="module")
def fitted(many):
    return unlearn.fit_linear(many)


def mean_of(criterion, model, data, rows):
    with torch.no_grad():
        forecast = torch.from_numpy(model.forecast(data.features[rows]))
        return float(criterion(forecast, torch.from_numpy(data.load_pu[rows])).mean())


def true_changes(criterion, model, data, case, customers):
    rows = data.split.validation
    before = mean_of(criterion, model, data, rows)
    found = []
    for one in customers:
        done = unlearn.forget_customers(model, data, [one], case)
        found.append(mean_of(criterion, done.model, done.dataset, rows) - before)
    return np.array(found)


@pytest.mark.parametrize("case", ["objects", "leaves"])
def test_influence_on_mse_is_exact(many, fitted, case):
    scores = unlearn.customer_influence(fitted, many, "mse")
    assert scores.value == pytest.approx(mean_of(MSE(), fitted, many, many.split.validation), rel=1e-12)
    true = true_changes(MSE(), fitted, many, case, scores.customers[:60])
    # Both are differences of numbers near the MSE, which rounding limits.
    np.testing.assert_allclose(getattr(scores, case)[:60], true, rtol=1e-7, atol=1e-12 * scores.value)


def test_influence_on_cost_orders_two_hundred_true_removals(many, fitted, grid_cost):
    scores = unlearn.customer_influence(fitted, many, "cost", grid=grid_cost)
    chosen = scores.customers[:200]
    criterion = unlearn.OperatingCostCriterion(grid_cost)
    true = true_changes(criterion, fitted, many, "objects", chosen)
    assert spearmanr(true, scores.objects[:200]).statistic >= 0.95
    # A gradient, of a cost that curves upwards, in customers who are a fifteenth of their load.
    assert 1.0 <= np.polyfit(scores.objects[:200], true, 1)[0] <= 1.5
    true = true_changes(criterion, fitted, many, "leaves", chosen)
    assert spearmanr(true, scores.leaves[:200]).statistic >= 0.9  # two terms of opposite sign
    assert scores.unit == "money/h"


@pytest.fixture(scope="module")
def grid_cost():
    return unlearn.OperatingCost("ieee14")


@pytest.mark.parametrize("lags", [None, Lags((24,), (48,))])
@pytest.mark.parametrize("name", ["mse", "mape", "cost"])
def test_it_is_the_derivative_of_a_true_refit(lags, name, grid_cost):
    """A customer's readings shrink by a small share: the change per share tends to the influence (its first order)."""
    table = readings(n=28, n_hours=480)
    kwh = np.rint(table.to_numpy() * 2.0**10) / 2.0**10  # shares of these are readings that meters keep exactly
    temperature = weather(table.index)["temperature"].iloc[:, 0]

    def built(energy):
        own = hourly_meters(pd.DataFrame(energy, table.index, table.columns))
        return customer_loads(own, spread(own.customer_ids, 14, seed=2), {"temperature": temperature}, lags=lags)

    criterion = unlearn.make_criterion(name, grid_cost)
    base = built(kwh).scaled_to(grid_cost.case.nominal_load_mw)
    model = unlearn.fit_linear(base)
    rows = base.split.validation
    first_order = Weighted({criterion: 1.0})
    first_order.curvature = lambda forecast, load: torch.zeros_like(forecast)
    scores = unlearn.customer_influence(model, base, first_order, evaluate_on=rows)
    share = 2.0**-7
    for i in (3, 17):
        slope = 0.0
        for sign in (1, -1):
            other = built(kwh * np.where(np.arange(28) == i, 1 - sign * share, 1.0))
            other = dataclasses.replace(other._with(other.roster, base.mw_per_kwh), base_mva=base.base_mva)
            slope += sign * mean_of(criterion, unlearn.fit_linear(other), other, rows) / (2 * share)
        # Exact for a quadratic; with lags off by share squared. Absolute errors and regions have kinks in the step.
        rtol = 2e-2 if name != "mse" else 1e-8 if lags is None else 1e-3
        assert scores.leaves[i] == pytest.approx(slope, rel=rtol, abs=rtol * np.abs(scores.leaves).max())


def test_customers_that_are_gone_have_no_score_and_partly_gone_ones_only_for_what_is_left():
    data = loads()
    model = unlearn.fit_linear(data)
    done = unlearn.forget_customers(model, data, ["c001"])
    done = unlearn.forget_customers(done.model, done.dataset, ["c002"], hours=range(200))
    scores = unlearn.customer_influence(done.model, done.dataset, "mse")
    assert "c001" not in scores.customers
    true = true_changes(MSE(), done.model, done.dataset, "objects", ["c002", "c003"])
    np.testing.assert_allclose(scores.objects[1:3], true, rtol=1e-7)


@pytest.mark.parametrize("kind", ["regularised", "network"])
def test_any_least_squares_head_is_scored_exactly(kind):
    data = loads()
    if kind == "network":
        model = unlearn.fit_network(data, "cnn", TrainingOptions(epochs=1))
    else:
        model = unlearn.fit_linear(data, l2=0.5)
    scores = unlearn.customer_influence(model, data, "mse")
    true = true_changes(MSE(), model, data, "objects", ["c000", "c031"])
    np.testing.assert_allclose(scores.objects[[0, 31]], true, rtol=1e-6, atol=1e-12 * scores.value)


class Sum:
    """Linear in the forecast, so that the first order is all there is."""

    name, unit = "sum", "pu"

    def __call__(self, forecast_pu, load_pu):
        return (forecast_pu * torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)).sum(dim=1) + 0 * load_pu.sum(dim=1)


def test_a_customer_is_part_of_what_fills_the_gaps_of_others():
    data = loads(lives=True)
    model = unlearn.fit_linear(data)
    for who, how, hours in (
        ("c001", "class_mean", None),
        ("c003", "class_mean", range(220, 260)),
        ("c004", "rescale", None),
    ):
        done = unlearn.forget_customers(model, data, [who], "objects", hours=hours, replacement=how)
        model, data = done.model, done.dataset
    scores = unlearn.customer_influence(model, data, Sum())
    chosen = ["c000", "c002", "c006", "c007", "c010", "c031"]  # of c003 a true removal takes its own fill, too
    true = true_changes(Sum(), model, data, "objects", chosen)
    places_of = [scores.customers.index(one) for one in chosen]
    np.testing.assert_allclose(scores.objects[places_of], true, rtol=1e-7, atol=1e-11)


def test_weights_of_single_loads_count():
    data = loads()
    first = unlearn.forget(unlearn.fit_linear(data), data, range(40, 120), loads=["bus_1"])
    scores = unlearn.customer_influence(first.model, data, "mse")
    true = true_changes(MSE(), first.model, data, "objects", ["c000", "c001"])
    np.testing.assert_allclose(scores.objects[:2], true, rtol=1e-7)


def test_a_criterion_of_ones_own_and_a_sum_of_criteria(many, fitted):
    class Cubed:
        name, unit = "cubed", "pu3"

        def __call__(self, forecast_pu, load_pu):
            return (forecast_pu - load_pu).abs().pow(3).sum(dim=1)

    own = unlearn.customer_influence(fitted, many, Cubed())
    both = unlearn.customer_influence(fitted, many, Weighted({Cubed(): 2.0, MSE(): 3.0}))
    mse = unlearn.customer_influence(fitted, many, "mse")
    np.testing.assert_allclose(both.leaves, 2 * own.leaves + 3 * mse.leaves, rtol=1e-9, atol=1e-15)
    table = both.to_frame()
    assert list(table.columns) == ["customer", "load", "segment", "objects", "leaves"]
    assert table["objects"].is_monotonic_decreasing


def test_a_file_gives_the_scores_of_memory(tmp_path, many, fitted):
    from unlearn.households.io.meters import save_meters

    kept = dataclasses.replace(many, meters=save_meters(many.meters, tmp_path / "meters.parquet"))
    ours, theirs = (unlearn.customer_influence(fitted, data, "mse") for data in (many, kept))
    np.testing.assert_allclose(theirs.objects, ours.objects, rtol=1e-12)


def test_wrong_calls_are_refused(many, fitted):
    with pytest.raises(InputError, match="expected CustomerLoads, which know their customers"):
        unlearn.customer_influence(fitted, many.with_loads(many.load_mw), "mse")
    with pytest.raises(InputError, match='"cost" needs a grid'):
        unlearn.customer_influence(fitted, many, "cost")
    tuned = unlearn.tune(fitted, many, "mse", "scale", folds=2).model
    with pytest.raises(InputError, match=r"Pass model\.untuned"):
        unlearn.customer_influence(tuned, many, "mse")
    data = loads()
    lagged = {"yesterday": pd.DataFrame(np.roll(data.load_mw, 24, axis=0), data.timestamps, data.load_names)}
    held = customer_loads(data.meters, places(), lagged)
    with pytest.raises(InputError, match="expected lags that lags= made"):
        unlearn.customer_influence(unlearn.fit_linear(held), held, "mse")
