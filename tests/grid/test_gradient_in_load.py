"""The gradient of the cost with respect to the true load, alone and with that in the forecast.

A customer who leaves takes load off the grid, not only off the forecast. What that saves is the cost's slope in the
true load: how it moves what is shed and stored once the dispatch is fixed.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.proofs import proof_count
from unlearn.grid import GridCase, OperatingCost, load_case, price_hours
from unlearn.grid.options import BOUNDS
from unlearn.grid.region_cache import RegionCache

#: In p.u. Costs of about 1e4 are known to 1e-11, so a quotient of two is to 1e-6 of slopes of thousands.
STEP = 1e-5


def draw(case: GridCase, seed: int, n: int, error: float = 0.05) -> tuple[Tensor, Tensor]:
    """Forecasts and loads (n, B) at 40 to 95 % of nominal; every second hour lacks what the others have too much.

    Under-forecast hours have two buses with next to no load: there is more to be shed than a bus has.
    """
    random = np.random.default_rng(seed)
    load = random.uniform(0.4, 0.95, (n, case.n_loads)) * case.nominal_load_mw / case.base_mva
    for hour in range(1, n, 2):
        load[hour, random.choice(case.n_loads, 2, replace=False)] *= 0.02
    side = np.where(np.arange(n) % 2, -1.0, 1.0)[:, None]
    forecast = load * (1 + side * np.abs(random.normal(2 * error, error, load.shape)))
    return torch.from_numpy(np.clip(forecast, 0, None)), torch.from_numpy(load)


def slopes(cost: OperatingCost, forecast: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients in forecast and in load, each (n, B)."""
    both = forecast.clone().requires_grad_(), load.clone().requires_grad_()
    return torch.autograd.grad(cost(*both).total.sum(), both)


def differences(cost: OperatingCost, forecast: Tensor, load: Tensor) -> Tensor:
    """Central differences of each hour's cost in each load, (n, B)."""
    n, b = load.shape
    steps = STEP * torch.eye(b, dtype=load.dtype)
    forecasts = forecast.repeat_interleave(b, dim=0)
    above, below = (price_hours(cost, forecasts, (load[:, None] + side * steps).reshape(-1, b)) for side in (1, -1))
    return (above.total - below.total).reshape(n, b) / (2 * STEP)


@pytest.fixture(scope="module", params=[(name, bounds) for name in ("ieee14", "ieee30") for bounds in BOUNDS], ids=str)
def priced(request):
    name, bounds = request.param
    case = load_case(name)
    return case, OperatingCost(case, bounds=bounds)


def test_it_equals_finite_differences_where_too_much_and_too_little_was_forecast(priced):
    case, cost = priced
    forecast, load = draw(case, 0, 60)
    found = cost(forecast, load)
    assert found.over_generated[::2].all()
    assert not found.over_generated[1::2].any()
    _, slope = slopes(cost, forecast, load)
    expected = differences(cost, forecast, load)
    error = (slope - expected).abs() / expected.abs().clamp(min=1.0)
    for hours in (slice(0, None, 2), slice(1, None, 2)):
        inside = error[hours][~found.degenerate[hours]]
        assert len(inside) >= 20, "most hours should have a two-sided derivative"
        # 99 %: where a step crosses a kink of the piecewise quadratic cost, the difference quotient is wrong.
        assert float((inside <= 1e-5).double().mean()) >= 0.99
        assert float(inside.median()) < 1e-8


def test_no_more_is_shed_than_there_is_where_that_is_asked_for(priced):
    """The bound `shed <= load` holds back some of these hours, so that its slope in the load is tested, too."""
    case, cost = priced
    forecast, load = draw(case, 0, 60)
    shed_above = cost(forecast, load).shed_above_load
    assert bool(shed_above.any()) == (cost.bounds == "published")
    published = OperatingCost(case)(forecast, load).total
    dearer = cost(forecast, load).total > published + 1e-6
    assert bool(dearer.any()) == (cost.bounds == "shed_at_most_load")


def test_more_load_saves_storage_where_there_is_a_surplus_and_costs_shedding_where_there_is_none(cost, hours):
    load = hours[1][:4]
    (above, below) = (slopes(cost, factor * load, load)[1] for factor in (1.03, 0.97))
    assert (above < 0).all(), "a surplus that is used need not be stored"
    assert (below > 0).all(), "a shortage that grows is shed"


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("form", ["ptdf", "angle"])
def test_the_dense_derivative_of_cvxpylayers_agrees(grid, bounds, form):
    forecast, load = draw(grid, 1, 24)
    batched, layered = OperatingCost(grid, bounds=bounds), OperatingCost(grid, "cvxpylayers", form=form, bounds=bounds)
    inside = ~batched(forecast, load).degenerate
    for own, reference in zip(slopes(batched, forecast, load), slopes(layered, forecast, load), strict=True):
        error = ((own - reference).abs() / own.abs().clamp(min=1.0))[inside]
        # The layer's solutions have KKT residuals of 1e-5; 97 %: hours close to an edge of a region magnify them.
        assert float((error <= 1e-3).double().mean()) >= 0.97
        assert float(error.median()) < 1e-5


@settings(max_examples=proof_count(60))
@given(seed=st.integers(0, 10_000), error=st.floats(0.02, 0.2), bounds=st.sampled_from(BOUNDS))
def test_a_joint_step_in_forecast_and_load_costs_what_both_slopes_say(grid, seed, error, bounds):
    cost = PRICED.setdefault(bounds, OperatingCost(grid, bounds=bounds))
    forecast, load = draw(grid, seed, 12, error)
    direction = [torch.from_numpy(np.random.default_rng(seed + k).normal(size=load.shape)) for k in (1, 2)]
    # Small, so that few steps cross a kink; slopes of thousands are then known to 1e-5.
    step = 1e-6

    def at(k: int) -> tuple[Tensor, Tensor]:
        return forecast + k * step * direction[0], load + k * step * direction[1]

    def along(k: int) -> Tensor:
        return sum((own * way).sum(dim=1) for own, way in zip(slopes(cost, *at(k)), direction, strict=True))

    middle, ahead, behind = along(0), along(1), along(-1)
    size = middle.abs().clamp(min=100.0)
    # Within a region the cost is quadratic, so its slope is linear; where it is not, the step has crossed a kink.
    smooth = (ahead + behind - 2 * middle).abs() <= 1e-6 * size
    assert smooth.sum() >= 9
    quotient = (cost(*at(1)).total - cost(*at(-1)).total) / (2 * step)
    assert ((quotient - middle).abs() <= 1e-5 * size)[smooth].all()


PRICED: dict[str, OperatingCost] = {}


@pytest.mark.parametrize("backend", ["batched", "cvxpylayers"])
def test_each_gradient_alone_is_that_of_both_together(grid, backend):
    cost = OperatingCost(grid, backend)
    forecast, load = draw(grid, 2, 12)
    together = slopes(cost, forecast, load)
    forecast_alone, load_alone = forecast.clone().requires_grad_(), load.clone().requires_grad_()
    cost(forecast_alone, load).total.sum().backward()
    cost(forecast, load_alone).total.sum().backward()
    # cvxpylayers solves the dispatch by another path where it needs no derivative of it, to 1e-10.
    tolerance = {"rtol": 1e-12, "atol": 1e-9} if backend == "batched" else {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(forecast_alone.grad, together[0], **tolerance)
    torch.testing.assert_close(load_alone.grad, together[1], **tolerance)


def test_moreau_agrees(grid):
    pytest.importorskip("moreau")
    forecast, load = draw(grid, 3, 12)
    batched = OperatingCost(grid)
    inside = ~batched(forecast, load).degenerate
    for own, other in zip(
        slopes(batched, forecast, load), slopes(OperatingCost(grid, "moreau"), forecast, load), strict=True
    ):
        error = ((own - other).abs() / own.abs().clamp(min=1.0))[inside]
        assert float(error.median()) < 1e-5


def test_prices_are_the_same_to_the_bit_with_and_without_it(cost, grid):
    forecast, load = draw(grid, 4, 40)
    # What was priced before decides in which products the same sums are formed.
    plain, asked = cost.fresh()(forecast, load), cost.fresh()(forecast, load.clone().requires_grad_())
    assert not plain.total.requires_grad
    for part in ("generation", "shedding", "storage", "over_generated", "clipped", "shed_above_load", "degenerate"):
        assert torch.equal(getattr(plain, part), getattr(asked, part).detach()), part
    assert not asked.over_generated.requires_grad
    # A load that is a plain array has no gradient to ask for; the forecast's is as before.
    (by_tensor,), (by_array,) = (
        torch.autograd.grad(cost.fresh()(f := forecast.clone().requires_grad_(), own).total.sum(), f)
        for own in (load, load.numpy())
    )
    assert torch.equal(by_tensor, by_array)


def test_nothing_is_kept_for_it_where_it_is_not_asked_for(cost, grid, monkeypatch):
    """Neither for a forecast's gradient, nor where autograd is off; and regions take no more memory for it."""
    forecast, load = draw(grid, 5, 20)
    cost(forecast, load)
    size = cost._pricer.redispatch.nbytes
    slopes(cost, forecast, load)
    assert cost._pricer.redispatch.nbytes == size

    def refuse(*_):
        raise AssertionError("slopes in the load were computed")

    monkeypatch.setattr(type(cost._pricer), "_load_slopes", refuse)
    cost(forecast.clone().requires_grad_(), load).total.sum().backward()
    price_hours(cost, forecast, load.clone().requires_grad_())
    with torch.no_grad():
        assert not cost(forecast, load.clone().requires_grad_()).total.requires_grad


def test_the_load_moves_what_is_shed_and_stored_but_not_the_generation(cost, grid):
    forecast, load = draw(grid, 6, 12)
    asked = load.clone().requires_grad_()
    found = cost(forecast, asked)
    parts = [
        torch.autograd.grad(getattr(found, part).sum(), asked, retain_graph=True)[0]
        for part in ("generation", "shedding", "storage")
    ]
    assert (parts[0] == 0).all()
    assert (parts[1] != 0).any()
    assert (parts[2] != 0).any()
    torch.testing.assert_close(sum(parts), torch.autograd.grad(found.total.sum(), asked)[0])


def test_each_hours_slope_is_weighted_by_what_is_asked_of_it(cost, grid):
    forecast, load = draw(grid, 7, 12)
    weights = torch.linspace(-1, 2, 12, dtype=torch.float64)
    asked = load.clone().requires_grad_()
    (found,) = torch.autograd.grad(cost(forecast, asked).total @ weights, asked)
    torch.testing.assert_close(found, weights[:, None] * slopes(cost, forecast, load)[1])


def test_it_does_not_depend_on_how_hours_are_split_or_ordered(grid, monkeypatch):
    forecast, load = draw(grid, 8, 50)
    whole = slopes(OperatingCost(grid), forecast, load)
    monkeypatch.setattr("unlearn.grid.batched.CHUNK", 7)
    for order in (torch.arange(50), torch.from_numpy(np.random.default_rng(0).permutation(50))):
        chunked = slopes(OperatingCost(grid), forecast[order], load[order])
        for own, other in zip(chunked, whole, strict=True):
            # Sums of a product add up in an order that depends on how many hours share a region.
            torch.testing.assert_close(own, other[order], rtol=1e-9, atol=1e-7)


def test_a_cache_too_small_for_all_regions_gives_the_same(grid):
    forecast, load = draw(grid, 9, 40)
    whole, small = OperatingCost(grid), OperatingCost(grid)
    for cache in (small._pricer.dispatch, small._pricer.redispatch):
        assert isinstance(cache, RegionCache)
        cache.capacity = 16
    inside = ~whole(forecast, load).degenerate
    for own, other in zip(slopes(small, forecast, load), slopes(whole, forecast, load), strict=True):
        torch.testing.assert_close(own[inside], other[inside], rtol=1e-6, atol=1e-6)


def test_a_forecast_below_zero_has_no_slope_but_the_load_of_that_hour_does(cost, grid):
    forecast, load = draw(grid, 10, 4)
    forecast[1, [2, 5]] = -0.3
    at_zero = slopes(cost, forecast.clamp(min=0), load)
    by_forecast, by_load = slopes(cost, forecast, load)
    assert (by_forecast[1, [2, 5]] == 0).all()
    assert (by_load[1, [2, 5]] != 0).all()
    # The same hours, but regions that were not known at first: products of other sizes.
    torch.testing.assert_close(by_load, at_zero[1], rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_where_it_is_one_sided_it_is_finite_and_counted(grid, bounds):
    """At the truth nothing is shed or stored; at no load at all nothing can be taken away."""
    cost = OperatingCost(grid, bounds=bounds)
    _, load = draw(grid, 11, 6)
    load[2:4] = 0.0
    both = load.clone().requires_grad_(), load.clone().requires_grad_()
    found = cost(*both)
    found.total.sum().backward()
    assert found.degenerate.all()
    for value in both:
        assert value.grad.isfinite().all()


def test_single_precision_comes_back_as_such(cost, grid):
    forecast, load = draw(grid, 12, 4)
    asked = load.float().requires_grad_()
    cost(forecast, asked).total.sum().backward()
    assert asked.grad.dtype == torch.float32
    # float32 keeps 7 digits of the load, and slopes change by thousands per p.u.
    torch.testing.assert_close(asked.grad.double(), slopes(cost, forecast, load)[1], rtol=1e-3, atol=0.1)
