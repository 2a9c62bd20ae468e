"""The whole network trained for a criterion: its gradient, what it gains, which rows it knows, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unlearn
from unlearn.criteria import MAPE, MSE, OperatingCostCriterion, Weighted
from unlearn.data import StandardScaler
from unlearn.errors import ConvergenceError, InputError, MismatchError
from unlearn.forecasters import NetworkForecaster, TrainingOptions
from unlearn.forecasters.base import FROZEN, UNUSED
from unlearn.forecasters.extractors import N_FEATURES, CnnExtractor
from unlearn.forecasters.network import loss_in_pu
from unlearn.grid import price_hours
from unlearn.unlearning import select

QUICK = TrainingOptions(epochs=3, learning_rate=1e-3)


@pytest.fixture(scope="module")
def small():
    return unlearn.load_dataset("synthetic", n_hours=700, n_loads=4)


@pytest.fixture(scope="module")
def whole(dataset):
    """Trained for MSE on the even training rows."""
    return unlearn.fit_network(dataset, "cnn", QUICK, loss="mse", rows=dataset.split.train[::2])


@pytest.mark.parametrize("name", ["cost", "mixed", "mape", "mse"])
def test_the_gradient_of_the_loss_is_that_of_finite_differences_through_the_grid(dataset, cost, name):
    criterion = {
        "cost": OperatingCostCriterion(cost), "mape": MAPE(), "mse": MSE(),
        "mixed": Weighted({OperatingCostCriterion(cost): 1.0, MSE(): 1000.0}),
    }[name]  # fmt: skip
    rows = dataset.split.train[10:400:80]
    inputs = StandardScaler.fit(dataset.features[dataset.split.train])(torch.from_numpy(dataset.features[rows]))
    load, scaler = torch.from_numpy(dataset.load_pu[rows]), StandardScaler.fit(dataset.load_pu[dataset.split.train])
    torch.manual_seed(3)
    network = nn.Sequential(CnnExtractor(dataset.n_loads, len(dataset.feature_names)), nn.Linear(N_FEATURES, 14))
    network.double()
    loss = loss_in_pu(criterion, scaler)
    loss(network(inputs), load).mean().backward()
    # The last layer's bias and weights, and a layer of the extractor.
    for parameter in (network[1].bias, network[1].weight, network[0].linear.weight):
        direction = torch.randn_like(parameter)
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += step * direction
                values.append(float(loss(network(inputs), load).mean()))
                parameter -= step * direction
        assert float((parameter.grad * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_it_is_plain_training_of_the_whole_network(small):
    """For MSE, written out anew: standardise, Adam with cosine annealing, watch the last tenth, keep the best."""
    rows = small.split.train
    x, y = small.features[rows], small.load_pu[rows]
    mean, std = x.mean(axis=0), x.std(axis=0)
    mean[:, :4], std[:, :4] = 0.0, 1.0
    inputs = torch.from_numpy((x - mean) / std).float()
    y_mean, y_std = torch.from_numpy(y.mean(axis=0)), torch.from_numpy(y.std(axis=0))
    target, n = torch.from_numpy(y), len(rows) - len(rows) // 10
    torch.manual_seed(7)
    network = nn.Sequential(CnnExtractor(4, len(small.feature_names)), nn.Linear(N_FEATURES, 4))
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 3)
    order = torch.Generator().manual_seed(7)

    def loss(part):
        return (network(inputs[part]).double() * y_std + y_mean - target[part]).square().mean()

    watched = []
    for _ in range(3):
        for batch in torch.randperm(n, generator=order).split(16):
            adam.zero_grad()
            loss(batch).backward()
            adam.step()
        cosine.step()
        watched.append(float(loss(slice(n, None)).detach()))
    model = unlearn.fit_network(small, "cnn", QUICK, seed=7, loss="mse")
    assert watched == sorted(watched, reverse=True), "the last epoch is the best one, which this oracle keeps"
    np.testing.assert_allclose(model.card.history["validation"], watched, rtol=1e-3)
    with torch.no_grad():
        expected = network(torch.from_numpy((small.features - mean) / std).float()).double() * y_std + y_mean
    assert np.abs(model.forecast(small.features) - expected.numpy()).max() < 1e-3 * y.max()


def test_training_for_cost_lowers_cost_and_training_for_mse_lowers_mse(dataset, cost):
    def scores(loss):
        model = unlearn.fit_network(dataset, "cnn", TrainingOptions(epochs=8, learning_rate=1e-3), loss=loss, grid=cost)
        rows = dataset.split.validation
        forecast = torch.from_numpy(model.forecast(dataset.features[rows]))
        load = torch.from_numpy(dataset.load_pu[rows])
        return float(price_hours(cost, forecast, load).total.mean()), float(MSE()(forecast, load).mean())

    (cheap, far), (dear, near) = scores("cost"), scores("mse")
    assert cheap < 0.9 * dear
    assert near < 0.9 * far


def test_rows_that_are_left_out_have_no_influence(small, one_thread):
    kept = small.split.train[small.split.train % 3 > 0]
    others = np.setdiff1d(np.arange(len(small.timestamps)), kept)
    features, load = small.features.copy(), small.load_mw.copy()
    features[others, :, 4:] *= 1.5
    load[others] *= np.linspace(1, 2, 4)
    changed = replace(small, features=features, load_mw=load)
    one, other = (unlearn.fit_network(data, "mixer", QUICK, loss="mape", rows=kept) for data in (small, changed))
    assert one.card.history == other.card.history
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_rows_that_are_kept_have(small, one_thread):
    load = small.load_mw.copy()
    load[small.split.train[:5]] *= 2
    one, other = (unlearn.fit_network(d, "cnn", QUICK, loss="mse") for d in (small, replace(small, load_mw=load)))
    assert not torch.equal(one.head, other.head)


def test_rows_may_be_named_in_any_form_and_all_training_rows_are_the_default(small, one_thread):
    mask = np.zeros(len(small.timestamps), dtype=bool)
    mask[small.split.train] = True
    heads = [
        unlearn.fit_network(small, "cnn", QUICK, loss="mse", rows=rows).head
        for rows in (None, mask, small.split.train[::-1], small.timestamps[small.split.train])
    ]
    for head in heads[1:]:
        assert torch.equal(head, heads[0])


def test_forecasts_start_near_the_mean_load(small):
    model = unlearn.fit_network(small, "cnn", TrainingOptions(epochs=1, learning_rate=1e-12), loss="mse")
    seen = small.load_pu[small.split.train]
    assert (np.abs(model.forecast(small.features[:50]) - seen.mean(axis=0)) < 2 * seen.std(axis=0)).all()


def test_the_model_says_what_it_is(whole, dataset):
    used = dataset.split.train[::2]
    assert isinstance(whole, NetworkForecaster)
    assert whole.card.head_rows == "none"
    assert whole.card.settings["loss"] == "mse"
    assert whole.training_rows(dataset).tolist() == []
    assert whole.statistics is None
    for parts in (whole.parts, whole.parts_of(dataset)):
        assert (parts[used] == FROZEN).all()
        assert int((parts != UNUSED).sum()) == len(used)
    said = " ".join(whole.card.limitations)
    assert f"trained for mse on {len(used)} rows, the last {len(used) // 10} of which it was stopped by" in said
    assert "The rows left out still shaped what preprocessing fitted: load scale." in said
    assert whole.card.fitted[-1]["fitted_on"] == f"{len(used)} of the {len(dataset.split.train)} training rows"


def test_the_card_names_grids(dataset, cost):
    criterion = Weighted({OperatingCostCriterion(cost): 1, MSE(): 1000})
    model = unlearn.fit_network(dataset, "cnn", TrainingOptions(epochs=1), loss=criterion, rows=range(60))
    assert model.card.settings["grids"] == ["ieee14"]
    assert model.card.settings["loss"] == "1*cost+1000*mse"


def test_it_comes_back_from_a_file_and_still_refuses(whole, dataset, tmp_path):
    back = unlearn.load_forecaster(unlearn.save_forecaster(whole, tmp_path / "model"))
    assert type(back) is NetworkForecaster
    assert back.card == whole.card
    assert (back.forecast(dataset.features[:20]) == whole.forecast(dataset.features[:20])).all()
    assert torch.equal(back.parts, whole.parts)
    with pytest.raises(InputError, match="the head was fitted on none of the 3 asked for; 2 of them trained"):
        unlearn.forget(back, dataset, [0, 1, 2])


@pytest.mark.parametrize("rows", [[0, 2, 4], [0, 1, 2]])
def test_nothing_of_it_can_be_unlearnt(whole, dataset, rows):
    known = sum(row % 2 == 0 for row in rows)
    message = (
        f"none of the 3 asked for; {known} of them trained the extractor, which is frozen and forgets nothing. Fit the "
        "network anew on data without them"
    )
    features, load = dataset.features[rows], dataset.load_pu[rows]
    for call in (
        lambda: unlearn.forget(whole, dataset, rows),
        lambda: unlearn.forget(whole, dataset, rows, loads=[dataset.load_names[0]]),
        lambda: unlearn.forget_rows(whole, rows, features, load),
        lambda: unlearn.reweight(whole, dataset, rows, "mse", 0.1),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_rows_that_it_never_saw_need_no_forgetting(whole, dataset):
    with pytest.raises(InputError, match=r"fitted on none of the 2 asked for \(they are validation, test or left-out"):
        unlearn.forget(whole, dataset, [1, 3])


def test_its_head_has_no_training_problem_and_so_no_influence(whole, dataset):
    for call in (whole.objective, whole.fitted_to, whole.with_statistics, lambda d: select.by_influence(whole, d)):
        with pytest.raises(InputError, match="trained as a whole for mse: no row has an influence"):
            call(dataset)


def test_it_cannot_be_tuned(whole, dataset):
    with pytest.raises(InputError, match=r"without rows of its own \(a network that was trained as a whole\)"):
        unlearn.tune(whole, dataset, "mse")


def test_prices_of_before_leave_no_bit(dataset, grid, one_thread):
    """A grid that has priced other hours knows other regions, whose maps differ in last bits."""
    used = unlearn.OperatingCost(grid)
    price_hours(used, dataset.load_pu[900:] * 0.9, dataset.load_pu[900:])
    options = TrainingOptions(epochs=1, learning_rate=1e-3)
    one, other = (
        unlearn.fit_network(dataset, "cnn", options, loss="cost", grid=own, rows=range(300)) for own in (used, grid)
    )
    assert torch.equal(one.head, other.head)


def test_it_knows_its_data_set(whole, dataset):
    load = dataset.load_mw.copy()
    load[0] *= 2
    with pytest.raises(MismatchError, match="do not match"):
        unlearn.forget(whole, replace(dataset, load_mw=load), [0])


class _Matrix:
    name, unit = "matrix", ""

    def __call__(self, forecast_pu, load_pu):
        return (forecast_pu - load_pu).square()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": range(10)}, InputError, "rows: expected none without a loss"),
        ({"loss": "mse", "rows": [3, 690]}, InputError, r"rows: expected training rows .* got 1 of 2 .* first 690 \("),
        ({"loss": "mse", "rows": [3, 3]}, InputError, "rows: "),
        ({"loss": "mse", "rows": [3, 7000]}, InputError, "rows: "),
        ({"loss": "mse", "rows": ("2019-01-01", "2018-01-01")}, InputError, "rows: "),
        ({"loss": "mse", "rows": []}, InputError, "expected at least 2 rows .* got 0"),
        ({"loss": "mse", "rows": [5]}, InputError, "expected at least 2 rows .* got 1"),
        ({"loss": "mse", "l2": 0.1}, InputError, "l2: expected 0 with a loss"),
        ({"loss": "mae"}, InputError, "mae"),
        ({"loss": "cost"}, InputError, 'criterion "cost" needs a grid'),
        ({"loss": MSE}, InputError, r"write unlearn.MSE\(\)"),
        (
            {"loss": _Matrix()},
            InputError,
            r"criterion matrix: expected .* one value per hour",
        ),
        ({"loss": "cost", "grid": "ieee14"}, InputError, r"expected shape \(n, 14\) for grid ieee14"),
        ({"loss": "mse", "architecture": "linear"}, InputError, "architecture: expected one of cnn, mixer"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_trained_is_refused_before_training(small, monkeypatch, arguments, error, message):
    monkeypatch.setattr("unlearn.forecasters.network.train_network", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(error, match=message):
        unlearn.fit_network(small, training=QUICK, **arguments)


def test_loads_of_another_base_are_not_priced_within_a_sum_either(grid, cost):
    other = unlearn.load_dataset("synthetic", n_hours=600, nominal_mw=grid.nominal_load_mw, base_mva=50.0)
    for loss in ("cost", Weighted({OperatingCostCriterion(cost): 1.0, MSE(): 10.0})):
        with pytest.raises(MismatchError, match=r"per unit on 50 MVA.*on 100.*base_mva=100"):
            unlearn.fit_network(other, "cnn", QUICK, loss=loss, grid=cost)


def test_loads_of_0_have_no_mape_to_train_for(small):
    load = small.load_mw.copy()
    load[44, 2] = 0.0
    with pytest.raises(InputError, match="MAPE: expected loads other than 0, got a 0 in hour 44"):
        unlearn.fit_network(replace(small, load_mw=load), "cnn", QUICK, loss="mape")


@pytest.mark.parametrize("rate", [1e30, 1e6])
def test_a_diverging_training_is_said_whatever_the_criterion(dataset, cost, rate):
    options = TrainingOptions(epochs=2, learning_rate=rate)
    for loss in ("mse", "cost"):
        with pytest.raises(ConvergenceError, match="training diverged in epoch 0: lower the learning rate"):
            unlearn.fit_network(dataset, "cnn", options, loss=loss, grid=cost)
