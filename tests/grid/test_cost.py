"""`OperatingCost`: what it counts, what it refuses, and that it does not depend on how hours are batched."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.grid import CostBreakdown, OperatingCost, price_hours

PARTS = ("total", "generation", "shedding", "storage", "over_generated", "clipped", "shed_above_load", "degenerate")
# Objectives are solved to about 1e-9 of thousands.
SOLVED = 1e-6


def draw(grid, seed: int, n: int, level: float = 1.0, error: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    load = level * random.uniform(0.4, 1.0, (n, 14)) * grid.nominal_load_mw / 100
    forecast = np.clip(load + random.normal(0, error, load.shape), 0, None)
    return torch.from_numpy(forecast), torch.from_numpy(load)


def assert_same(one: CostBreakdown, other: CostBreakdown) -> None:
    for part in PARTS:
        torch.testing.assert_close(getattr(one, part), getattr(other, part), rtol=1e-6, atol=SOLVED)


@given(seed=st.integers(0, 10_000), level=st.floats(0.0, 1.5), error=st.floats(0.0, 0.3))
def test_cost_and_its_parts_are_not_negative_and_add_up(cost, grid, seed, level, error):
    found = cost(*draw(grid, seed, 3, level, error))
    for part in ("generation", "shedding", "storage"):
        assert (getattr(found, part) >= -SOLVED).all(), part
    torch.testing.assert_close(found.total, found.generation + found.shedding + found.storage, rtol=1e-12, atol=0)


@given(seed=st.integers(0, 10_000), error=st.floats(0.0, 0.3))
def test_no_forecast_is_cheaper_than_the_truth_within_capacity(cost, grid, seed, error):
    forecast, load = draw(grid, seed, 3, 0.9, error)
    regret = cost(forecast, load).total - cost(load, load).total
    assert (regret >= -SOLVED).all()


@pytest.mark.parametrize("error", [1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4])
def test_forecasts_that_are_almost_true_are_priced(cost, grid, error):
    """Found by the test above: the angle form with Clarabel's own regularisation failed on these."""
    forecast, load = draw(grid, 0, 60, 1.0, error)
    found = cost(forecast, load)
    # No more than the whole error at the price of shedding, with its curvature.
    assert (found.shedding + found.storage <= 7000 * (forecast - load).abs().sum(dim=1) + SOLVED).all()


@pytest.mark.parametrize("error", [0.0, 1e-6, 1e-4])
def test_forecasts_that_are_almost_true_have_a_gradient(cost, grid, error):
    forecast, load = draw(grid, 0, 30, 1.0, error)
    cost(forecast.requires_grad_(), load).total.sum().backward()
    assert forecast.grad.isfinite().all()


@given(seed=st.integers(0, 10_000), level=st.floats(0.0, 0.9))
def test_at_the_truth_nothing_is_shed_or_stored(cost, grid, seed, level):
    _, load = draw(grid, seed, 3, level)
    found = cost(load, load)
    torch.testing.assert_close(found.total, found.generation, rtol=1e-6, atol=1e-5)


@given(seed=st.integers(0, 10_000), at=st.integers(1, 7))
def test_cost_does_not_depend_on_batch_split_or_order(cost, grid, seed, at):
    forecast, load = draw(grid, seed, 8)
    whole = cost(forecast, load)
    split = CostBreakdown.concatenate([cost(forecast[:at], load[:at]), cost(forecast[at:], load[at:])])
    assert_same(whole, split)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(8))
    shuffled = cost(forecast[order], load[order])
    torch.testing.assert_close(shuffled.total, whole.total[order], rtol=1e-6, atol=SOLVED)


@pytest.mark.parametrize("needs_gradient", [False, True], ids=["direct", "layer"])
def test_a_batch_of_one_is_the_hour_itself(cost, hours, needs_gradient):
    forecast, load = hours[0][:3].clone().requires_grad_(needs_gradient), hours[1][:3]
    # 1e-5: the layer's accuracy.
    torch.testing.assert_close(
        cost(forecast[1:2], load[1:2]).total[0], cost(forecast, load).total[1], rtol=1e-5, atol=0
    )


def test_with_and_without_gradient_the_cost_is_the_same(cost, hours):
    direct = cost(*hours)
    layered = cost(hours[0].clone().requires_grad_(), hours[1])
    # The layer's conic form reaches KKT residuals of 1e-5 at prices of thousands.
    torch.testing.assert_close(layered.total.detach(), direct.total, rtol=1e-3, atol=0)
    assert abs(float(layered.total.mean() / direct.total.mean()) - 1) < 1e-5


def test_without_autograd_a_forecast_that_asks_for_a_gradient_is_priced_directly(cost, hours):
    with torch.no_grad():
        assert not cost(hours[0][:2].clone().requires_grad_(), hours[1][:2]).total.requires_grad


def test_float32_and_non_contiguous_input_is_accepted(cost, hours):
    forecast, load = hours[0][:4], hours[1][:4]
    expected = cost(forecast, load).total
    strided = cost(forecast.T.contiguous().T, load.repeat_interleave(2, dim=0)[::2])
    torch.testing.assert_close(strided.total, expected, rtol=1e-9, atol=0)
    # float32 keeps 7 digits of the forecast, which costs 3500 per p.u.
    torch.testing.assert_close(cost(forecast.float(), load.float()).total, expected, rtol=1e-4, atol=0)
    asked = forecast.float().requires_grad_()
    cost(asked, load.float()).total.sum().backward()
    assert asked.grad is not None
    assert asked.grad.dtype == torch.float32


def test_negative_forecasts_are_clipped_counted_and_have_no_gradient(cost, hours):
    forecast, load = hours[0][:2].clone(), hours[1][:2]
    forecast[0, [2, 5]] = -0.3
    at_zero = forecast.clamp(min=0)
    found = cost(forecast, load)
    assert found.clipped.tolist() == [2, 0]
    torch.testing.assert_close(found.total, cost(at_zero, load).total, rtol=1e-9, atol=0)
    forecast.requires_grad_()
    cost(forecast, load).total.sum().backward()
    assert (forecast.grad[0, [2, 5]] == 0).all()
    assert (forecast.grad[1] != 0).all()


def test_over_generation_is_a_forecast_above_the_truth(cost, hours):
    load = hours[1][:2]
    found = cost(torch.stack([1.05 * load[0], 0.95 * load[1]]), load)
    assert found.over_generated.tolist() == [True, False]
    assert found.storage[0] > 1
    assert found.shedding[0] < SOLVED
    assert found.shedding[1] > 1
    assert found.storage[1] < SOLVED


def test_an_hour_without_generation_sheds_all_its_load(cost, grid):
    load = torch.from_numpy(grid.nominal_load_mw[None] / 100)
    found = cost(torch.zeros_like(load), load)
    assert found.generation[0] < SOLVED
    # The least squares way to shed a fixed total spreads it evenly; line limits can only cost more.
    total = float(load.sum())
    assert found.shedding[0] >= 3500 * (total + total**2 / 14) - 1e-3
    assert found.shed_above_load.tolist() == [True]


def test_shed_at_most_load_is_respected_and_dearer(cost, grid, hours):
    load = torch.from_numpy(grid.nominal_load_mw[None] / 100)
    bounded = OperatingCost(grid, bounds="shed_at_most_load")
    found = bounded(torch.zeros_like(load), load)
    expected = 3500 * (load + load.square()).sum()  # all of each load is shed
    torch.testing.assert_close(found.shedding[0], expected, rtol=1e-6, atol=0)
    assert found.shed_above_load.tolist() == [False]
    assert found.total[0] > cost(torch.zeros_like(load), load).total[0]


def test_an_hour_without_load_costs_nothing(cost):
    nothing = torch.zeros(1, 14, dtype=torch.float64)
    found = cost(nothing, nothing)
    assert abs(float(found.total)) < SOLVED
    assert found.over_generated.tolist() == [False]
    assert found.shed_above_load.tolist() == [False]
    assert found.degenerate.tolist() == [True]


def test_more_load_is_never_cheaper_to_serve(cost, hours):
    load = hours[1][:5]
    served = torch.stack([cost(scale * load, scale * load).total for scale in (0.25, 0.5, 0.75, 1.0)])
    assert (served.diff(dim=0) > 0).all()


def test_the_truth_is_a_kink_and_a_random_hour_is_not(cost, hours):
    assert cost(hours[1][:10], hours[1][:10]).degenerate.all()
    assert not cost(*hours).degenerate.any()


def test_prices_do_not_depend_on_the_chunk(cost, hours):
    whole = price_hours(cost, *hours)
    assert_same(whole, price_hours(cost, *hours, chunk=37))
    assert len(whole.total) == 200


def test_price_hours_refuses_a_chunk_of_none(cost, hours):
    with pytest.raises(InputError, match="chunk: expected a whole number of at least 1"):
        price_hours(cost, *hours, chunk=0)


def test_price_hours_refuses_differing_lengths_before_it_starts(cost, hours):
    forecast, load = hours
    with pytest.raises(InputError, match="got 10 and 200 hours"):
        price_hours(cost, forecast[:10], load, chunk=10)


@pytest.mark.parametrize("needs_gradient", [False, True], ids=["direct", "layer"])
def test_no_hours_are_refused(cost, needs_gradient):
    with pytest.raises(InputError, match="expected at least one hour, got none"):
        cost(torch.zeros(0, 14, requires_grad=needs_gradient), torch.zeros(0, 14))


def test_wrong_shapes_name_what_the_grid_expects(cost, hours):
    forecast, load = hours
    with pytest.raises(InputError, match=r"forecast_pu: expected shape \(n, 14\) for grid ieee14, got \(200, 13\)"):
        cost(forecast[:, :13], load)
    with pytest.raises(InputError, match=r"load_pu: expected shape \(n, 14\) for grid ieee14, got \(14,\)"):
        cost(forecast, load[0])
    with pytest.raises(InputError, match="as many forecasts as loads, got 5 and 200 hours"):
        cost(forecast[:5], load)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_nan_and_infinity_name_the_hour(cost, hours, value, which):
    given_hours = [tensor[:5].clone() for tensor in hours]
    given_hours[which][3, 1] = value
    with pytest.raises(InputError, match=r"(forecast|load)_pu: expected finite loads, got NaN or infinity in hour 3"):
        cost(*given_hours)


def test_a_negative_true_load_names_the_hour(cost, hours):
    load = hours[1][:5].clone()
    load[4, 0] = -0.25
    with pytest.raises(InputError, match=r"load_pu: expected loads of at least 0, got -0\.25 in hour 4"):
        cost(hours[0][:5], load)


def test_a_grid_may_be_given_by_name(cost, hours):
    named = OperatingCost("ieee14")
    torch.testing.assert_close(named(*hours).total, cost(*hours).total, rtol=1e-12, atol=0)


# ---- what hours may come as, and wrong units


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: np.asfortranarray(x.numpy()),
        lambda x: x.float().double().numpy().astype(np.float32),
        lambda x: x.clone().requires_grad_(),
    ],
    ids=["numpy", "lists", "fortran", "single", "with_gradient"],
)
def test_arrays_and_lists_are_priced_like_tensors(cost, hours, convert):
    forecast, load = (x[:3].float().double() for x in hours)
    expected = cost(forecast, load)
    assert_same(cost(convert(forecast), convert(load)), expected)
    assert_same(price_hours(cost, convert(forecast), load), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("many", "forecast_pu: expected numbers, got str"),
        (None, "forecast_pu: expected"),
        ([["a"] * 14], "forecast_pu: expected numbers"),
        ([[1.0], [1.0, 2.0]], "forecast_pu: expected numbers"),
        (1.0, r"forecast_pu: expected shape \(n, 14\) for grid ieee14, got \(\)"),
        (torch.ones(14), r"expected shape \(n, 14\) for grid ieee14, got \(14,\)"),
        (torch.ones(1, 14, 1), "expected shape"),
        (torch.ones(1, 14, dtype=torch.complex64), "expected a dense tensor of real numbers, got torch.complex64"),
        (torch.ones(1, 14, dtype=torch.bool), "expected a dense tensor of real numbers, got torch.bool"),
        (torch.ones(1, 14).to_sparse(), "expected a dense tensor of real numbers"),
        (torch.ones(1, 14, device="meta"), "expected a dense tensor of real numbers, got .* on meta"),
        (np.full((1, 14), np.inf), "expected finite loads, got NaN or infinity in hour 0"),
    ],
)
@pytest.mark.parametrize("price", [OperatingCost.__call__, price_hours])
def test_hours_that_are_none_are_refused(cost, wrong, message, price):
    with pytest.raises(InputError, match=message):
        price(cost, wrong, torch.ones(1, 14))


def test_something_else_than_a_priced_grid_is_refused(grid):
    with pytest.raises(InputError, match=r"cost: expected an OperatingCost, got str; pass OperatingCost\(grid\)"):
        price_hours("ieee14", torch.ones(1, 14), torch.ones(1, 14))
    with pytest.raises(InputError, match="bounds: expected one of"):
        OperatingCost(grid, bounds="none")
    with pytest.raises(InputError, match="grid: expected a name such as ieee14 or a path, got NoneType"):
        OperatingCost(None)


@pytest.mark.parametrize("chunk", [4096, 2])
@pytest.mark.parametrize("which", ["load_pu", "forecast_pu"])
def test_kilowatts_and_megawatts_for_per_unit_are_warned_about_once(cost, hours, caplog, which, chunk):
    forecast, load = (x[:5].clone() for x in hours)
    wrong = load if which == "load_pu" else forecast
    wrong[1:] *= 100
    with caplog.at_level(logging.WARNING):
        price_hours(cost, forecast, load, chunk)
    (record,) = caplog.records
    hour, most = int(wrong.sum(dim=1).argmax()), float(wrong.sum(dim=1).max()) * 100
    assert record.name == "unlearn.grid.cost"
    message = record.getMessage()
    assert message.startswith(f"{which}: 4 of 5 hours need more than 3 times the 772.4 MW that all generators of grid")
    assert f"most in hour {hour} with {most:.4g} MW" in message
    assert "kW taken for MW, or MW for per unit?" in message
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        cost(forecast, load)
    assert len(caplog.records) == 1


def test_extreme_hours_are_not_warned_about(cost, hours, caplog):
    with caplog.at_level(logging.WARNING):
        cost(2.5 * hours[0], 2.5 * hours[1])
    assert not caplog.records


def test_a_price_is_shown_in_one_line(cost, hours):
    for shown in (repr(cost), repr(cost(*hours))):
        assert "\n" not in shown
        assert len(shown) < 200
    assert repr(cost(*hours)).startswith("CostBreakdown(200 hours, mean ")
    assert repr(cost).startswith("OperatingCost(GridCase('ieee14': 14 buses")
