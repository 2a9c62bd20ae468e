"""The backends of `OperatingCost` compared property by property; the oracle is `active_set_oracle.py`."""

import copy
import pickle
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor

from tests.grid.active_set_oracle import OraclePricer
from unlearn.errors import InputError, SolverError
from unlearn.grid import CostBreakdown, GridCase, OperatingCost, batched

PARTS = ("generation", "shedding", "storage")
#: Largest difference between two exact ways to the same number, relative to the largest number of its hour or 1.
COST, GRADIENT = 1e-9, 1e-6
#: Hours closer to the edge of their region than this may have another derivative on each side of it.
EDGE = 1e-6


def draw(seed: int, n: int, level: float = 1.0, error: float = 0.05) -> tuple[Tensor, Tensor]:
    """Forecasts and loads of n random hours in p.u.; the nominal loads of IEEE 14 lie between 0.1 and 1.9."""
    random = np.random.default_rng(seed)
    load = level * random.uniform(0.1, 1.0, (n, 14)) * np.linspace(0.3, 1.3, 14)
    forecast = np.clip(load + random.normal(0, error, load.shape), 0, None)
    return torch.from_numpy(forecast), torch.from_numpy(load)


def ask(price, forecast: Tensor, load: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Parts of the cost (3, n), and the gradient of their weighted sum (n, B)."""
    asked = forecast.clone().requires_grad_()
    priced = price(asked, load)
    parts = torch.stack([getattr(priced, name) for name in PARTS])
    (parts * (torch.ones_like(parts) if weights is None else weights)).sum().backward()
    return parts.detach(), asked.grad


def assert_close(got: Tensor, expected: Tensor, tolerance: float, dim: int) -> None:
    size = expected.abs().amax(dim=dim, keepdim=True).clamp(min=1.0)
    assert ((got - expected).abs() <= tolerance * size).all(), float(((got - expected).abs() / size).max())


def assert_equals_the_oracle(
    case: GridCase, forecast: Tensor, load: Tensor, bounds: str = "published"
) -> OperatingCost:
    """Parts of every hour, and gradients with weights of their own of every hour that is not degenerate."""
    cost, oracle = OperatingCost(case, bounds=bounds), OraclePricer(case, bounds)
    weights = torch.from_numpy(np.random.default_rng(0).uniform(-1.0, 2.0, (3, len(load))))
    parts, gradient = ask(cost, forecast, load, weights)
    expected, slope = ask(oracle, forecast, load, weights)
    assert_close(parts, expected, COST, dim=0)
    inside = torch.from_numpy(oracle.margin > EDGE)
    assert_close(gradient[inside], slope[inside], GRADIENT, dim=1)
    assert torch.equal(~cost(forecast, load).degenerate, inside)
    assert torch.isfinite(gradient).all()
    return cost


@pytest.mark.parametrize("bounds", ["published", "shed_at_most_load"])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0, 1.7, 3.0])
def test_every_level_of_load(grid, level, bounds):
    assert_equals_the_oracle(grid, *draw(1, 12, level, 0.1), bounds)


@pytest.mark.parametrize("error", [0.0, 1e-12, 1e-9, 1e-7, 1e-5])
def test_forecasts_that_are_almost_true(grid, error):
    assert_equals_the_oracle(grid, *draw(2, 12, 1.0, error))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_congested_lines(grid, share):
    tight = replace(grid, line_limit_pu=share * grid.line_limit_pu)
    assert_equals_the_oracle(tight, *draw(3, 12))


@pytest.mark.parametrize("bounds", ["published", "shed_at_most_load"])
def test_lines_that_carry_nothing(grid, bounds):
    """A loop of closed lines makes rows depend on each other, and both directions of a line are always active."""
    limits = np.where(np.arange(20) % 3 == 0, 0.0, grid.line_limit_pu)
    assert_equals_the_oracle(replace(grid, line_limit_pu=limits), *draw(4, 20, 1.5), bounds)


def test_generation_exactly_at_its_limit(grid):
    forecast, load = draw(5, 12)
    wide = replace(grid, line_limit_pu=np.full(20, 20.0))
    at_limit = forecast * wide.p_gen_max_pu.sum() / forecast.sum(dim=1, keepdim=True)
    cost = assert_equals_the_oracle(wide, at_limit, load)
    assert cost(at_limit, load).degenerate.all()


@pytest.mark.parametrize("bounds", ["published", "shed_at_most_load"])
def test_hours_that_shed_everything(grid, bounds):
    forecast, load = draw(6, 6)
    assert_equals_the_oracle(grid, torch.zeros_like(forecast), load, bounds)
    dead = replace(grid, p_gen_max_pu=np.zeros(5))
    assert_equals_the_oracle(dead, forecast, load, bounds)
    # Shedding is not spread over the loads here: each bus sheds its own.
    shed = OperatingCost(replace(dead, line_limit_pu=np.zeros(20)), bounds=bounds)(forecast, load).shedding
    quadratic, linear = grid.shedding_cost
    torch.testing.assert_close(shed, (quadratic * load**2 + linear * load).sum(dim=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-6])
def test_generators_of_nearly_equal_cost(grid, spread):
    costs = np.stack([np.full(5, 2.0), 50.0 + spread * np.arange(5)])
    assert_equals_the_oracle(replace(grid, generation_cost=costs), *draw(7, 12, 1.5))


def test_the_backends_agree(grid):
    """cvxpylayers' conic form reaches KKT residuals of 1e-5, and derivatives of 1e-5 off the edges."""
    forecast, load = draw(8, 8)
    parts, gradient = ask(OperatingCost(grid), forecast, load)
    layered, slope = ask(OperatingCost(grid, "cvxpylayers"), forecast, load)
    assert_close(layered, parts, 1e-5, dim=0)
    assert_close(slope, gradient, 1e-3, dim=1)


@pytest.mark.extras
def test_a_backend_without_its_package_is_refused(grid, monkeypatch):
    monkeypatch.setitem(sys.modules, "moreau", None)
    monkeypatch.delitem(sys.modules, "moreau.torch", raising=False)
    with pytest.raises(InputError, match=r'backend=moreau: .* Run pip install "unlearn\[moreau\]"'):
        OperatingCost(grid, "moreau")


def test_moreau_agrees(grid):
    """It stops at KKT residuals of 1e-3 at worst."""
    pytest.importorskip("moreau")
    forecast, load = draw(8, 20)
    parts, gradient = ask(OperatingCost(grid), forecast, load)
    solved, slope = ask(OperatingCost(grid, "moreau"), forecast, load)
    assert_close(solved, parts, 1e-4, dim=0)
    assert float((slope - gradient).abs().median()) < 1e-3


@given(seed=st.integers(0, 1000), n=st.integers(1, 12))
def test_neither_order_nor_company_of_hours_counts(cost, seed, n):
    forecast, load = draw(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts, gradient = ask(cost, forecast, load)
    again, slope = ask(cost, forecast[order], load[order])
    assert_close(again, parts[:, order], 1e-12, dim=0)
    assert_close(slope, gradient[order], GRADIENT, dim=1)
    alone, own = ask(cost, forecast[:1], load[:1])
    assert_close(alone, parts[:, :1], 1e-12, dim=0)
    assert_close(own, gradient[:1], GRADIENT, dim=1)


@given(seed=st.integers(0, 10_000), before=st.lists(st.tuples(st.integers(0, 999), st.integers(1, 60)), max_size=3))
def test_what_a_cache_held_before_changes_nothing(grid, seed, before):
    forecast, load = draw(seed, 10)
    fresh, learnt = OperatingCost(grid), OperatingCost(grid)
    for other, n in before:
        learnt(*draw(other, n, level=0.5 + other / 500))
    parts, gradient = ask(fresh, forecast, load)
    again, slope = ask(learnt, forecast, load)
    assert_close(again, parts, 1e-12, dim=0)
    inside = ~fresh(forecast, load).degenerate
    assert_close(slope[inside], gradient[inside], 1e-9, dim=1)


def test_repeated_hours_have_the_same_price(cost):
    forecast, load = (tensor.repeat(5, 1) for tensor in draw(9, 1))
    parts, gradient = ask(cost, forecast, load)
    assert_close(parts, parts[:, :1].expand(-1, 5), 1e-14, dim=0)
    assert_close(gradient, gradient[:1].expand(5, -1), 1e-14, dim=1)


def test_tensors_may_be_of_single_precision_and_lie_anyhow_in_memory(cost):
    forecast, load = (tensor.float() for tensor in draw(10, 6))
    expected, slope = ask(cost, forecast.double(), load.double())
    parts, gradient = ask(cost, forecast, load)
    assert parts.dtype == torch.float64
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(parts, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope.float())
    wide, transposed = forecast.double().repeat(1, 2)[:, 14:], load.double().T.contiguous().T
    assert not wide.is_contiguous()
    assert not transposed.is_contiguous()
    again, same = ask(cost, wide, transposed)
    torch.testing.assert_close(again, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(same, slope)


def test_a_gradient_can_be_asked_for_twice_and_in_parts(cost):
    forecast, load = draw(11, 6)
    asked = forecast.clone().requires_grad_()
    priced = cost(asked, load)
    parts = [torch.autograd.grad(getattr(priced, name).sum(), asked, retain_graph=True)[0] for name in PARTS]
    whole = [torch.autograd.grad(priced.total.sum(), asked, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*whole)
    torch.testing.assert_close(sum(parts), whole[0])
    assert not torch.equal(parts[0], parts[1])


def test_no_gradient_is_kept_where_none_is_wanted(cost):
    forecast, load = draw(12, 3)
    asked = forecast.clone().requires_grad_()
    with torch.no_grad():
        priced = cost(asked, load)
    assert not priced.total.requires_grad
    torch.testing.assert_close(priced.total, cost(asked, load).total.detach(), rtol=1e-12, atol=0)


def test_a_forecast_below_zero_counts_as_zero_without_a_gradient(cost):
    forecast, load = draw(13, 3)
    forecast[1, 4] = -0.2
    parts, gradient = ask(cost, forecast, load)
    clipped, _ = ask(cost, forecast.clamp(min=0), load)
    # The regions that an hour is tried in may differ from call to call, and so the last bit.
    torch.testing.assert_close(parts, clipped, rtol=1e-12, atol=1e-12)
    assert torch.equal(gradient == 0, forecast < 0)


def test_hours_are_priced_in_chunks(grid, monkeypatch):
    forecast, load = draw(14, 11)
    weights = torch.linspace(-1.0, 2.0, 33, dtype=torch.float64).reshape(3, 11)
    whole, gradient = ask(OperatingCost(grid), forecast, load, weights)
    monkeypatch.setattr(batched, "CHUNK", 4)
    parts, slope = ask(OperatingCost(grid), forecast, load, weights)
    assert_close(parts, whole, 1e-12, dim=0)
    assert_close(slope, gradient, 1e-9, dim=1)


@pytest.mark.parametrize("backend", ["batched", "cvxpylayers"])
def test_limits_that_no_flow_can_keep_are_refused_with_the_hour(grid, backend):
    narrow = replace(grid)
    object.__setattr__(narrow, "line_limit_pu", np.full(20, -0.1))  # a case refuses them
    with pytest.raises(SolverError, match=r"dispatch: 1 of 1 hours .*first is hour 0|dispatch: 2 of 2 .*hour 0"):
        OperatingCost(narrow, backend)(*draw(15, 2))


def test_an_hour_beyond_the_first_chunk_is_named(grid, monkeypatch):
    """Both finders are made to fail on it; the other hours lie in regions that are known."""
    cost = OperatingCost(grid)
    forecast, load = draw(16, 7)
    cost(forecast, load)
    monkeypatch.setattr(batched, "CHUNK", 3)
    monkeypatch.setattr("unlearn.grid.region_cache.propose_active_sets", lambda *_: iter(()))
    monkeypatch.setattr(cost._pricer.dispatch._program, "tolerance", -1.0)
    forecast[5] = 9.0
    with pytest.raises(SolverError, match=r"dispatch: .*first is hour 2: .* Hours are counted from 3\."):
        cost(forecast, load)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda cost: pickle.loads(pickle.dumps(cost))])
def test_a_cost_can_be_copied_and_pickled_with_what_it_learnt(grid, again):
    cost = OperatingCost(grid)
    forecast, load = draw(17, 20)
    parts, gradient = ask(cost, forecast, load)
    copied = again(cost)
    searched = {name: cache.searched for name, cache in copied.statistics.items()}
    found, slope = ask(copied, forecast, load)
    assert_close(found, parts, 1e-12, dim=0)
    assert_close(slope, gradient, 1e-9, dim=1)
    assert {name: cache.searched for name, cache in copied.statistics.items()} == searched
    assert cost.statistics["dispatch"].hours == 20, "the copy learns for itself"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_may_lie_on_a_cuda_device(cost):
    forecast, load = draw(18, 6)
    parts, gradient = ask(cost, forecast, load)
    on_device, slope = ask(cost, forecast.cuda(), load.cuda())
    assert on_device.is_cuda
    assert slope.is_cuda
    assert_close(on_device.cpu(), parts, 1e-12, dim=0)
    assert_close(slope.cpu(), gradient, 1e-9, dim=1)


def test_every_field_of_a_breakdown_has_one_entry_an_hour(cost):
    priced = cost(*draw(19, 5))
    assert isinstance(priced, CostBreakdown)
    assert {len(value) for value in vars(priced).values()} == {5}
    assert all(first == second for first, second in pairwise(value.device for value in vars(priced).values()))


def test_blas_runs_on_one_thread_while_hours_are_priced_and_as_before_afterwards(grid, monkeypatch):
    def threads() -> list[int]:
        # NumPy's own: scipy brings another, which the engine makes no use of.
        return [pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]]

    cost = OperatingCost(grid)
    inside = []
    price = cost._pricer._price
    monkeypatch.setattr(cost._pricer, "_price", lambda *hours: (inside.append(threads()), price(*hours))[1])
    with threadpool_limits(2, user_api="blas"):
        cost(*draw(20, 2))
        assert threads() == [2]
    assert inside == [[1]]
