"""Criteria against numpy, and how they are made by name."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.criteria import CRITERIA, MAPE, MSE, Criterion, OperatingCostCriterion, Weighted, make_criterion
from unlearn.errors import InputError


def draw(seed: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=(n, 3))), torch.from_numpy(random.uniform(0.1, 2.0, (n, 3)))


@given(seed=st.integers(0, 1000), n=st.integers(1, 20))
def test_mse_and_mape_equal_numpy(seed, n):
    forecast, load = draw(seed, n)
    f, d = forecast.numpy(), load.numpy()
    np.testing.assert_allclose(MSE()(forecast, load).numpy(), ((f - d) ** 2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(MAPE()(forecast, load).numpy(), 100 * np.mean(np.abs(f - d) / d, axis=1), rtol=1e-12)


@given(seed=st.integers(0, 1000))
def test_the_truth_has_no_error(seed):
    _, load = draw(seed)
    assert not MSE()(load, load).any()
    assert not MAPE()(load, load).any()


def test_mape_refuses_a_load_of_zero_and_names_the_hour():
    forecast, load = draw(0)
    load[3, 1] = 0
    with pytest.raises(InputError, match="MAPE: expected loads other than 0, got a 0 in hour 3; use MSE"):
        MAPE()(forecast, load)


def test_operating_cost_criterion_is_the_total_cost(cost, hours):
    criterion = OperatingCostCriterion(cost)
    # The regions that an hour is tried in may differ from call to call, and so the last bit.
    torch.testing.assert_close(criterion(*hours), cost(*hours).total, rtol=1e-12, atol=0)
    assert criterion.grid is cost


def test_weighted_is_the_weighted_sum_and_says_so():
    forecast, load = draw(1)
    both = Weighted({MSE(): 2.0, MAPE(): 0.5})
    expected = 2 * MSE()(forecast, load) + 0.5 * MAPE()(forecast, load)
    torch.testing.assert_close(both(forecast, load), expected)
    assert both.name == "2*mse+0.5*mape"


def test_weighted_needs_a_part():
    with pytest.raises(InputError, match="Weighted: expected a mapping of at least one criterion"):
        Weighted({})


@pytest.mark.parametrize("name", CRITERIA.names())
def test_criteria_are_made_by_name_and_follow_the_protocol(cost, name):
    made = make_criterion(name, cost)
    assert isinstance(made, Criterion)
    assert made.name == name
    assert made.unit


def test_a_weighted_sum_follows_the_protocol():
    assert isinstance(Weighted({MSE(): 1.0}), Criterion)


def test_a_criterion_of_ones_own_is_passed_through():
    own = MSE()
    assert make_criterion(own) is own


def test_cost_without_a_grid_is_refused_with_a_remedy():
    with pytest.raises(InputError, match='criterion "cost" needs a grid: pass grid="ieee14"'):
        make_criterion("cost")


def test_an_unknown_criterion_lists_the_known_ones():
    with pytest.raises(InputError, match="criterion: expected one of mse, mape, cost; got 'rmse'"):
        make_criterion("rmse")


def test_a_grid_may_be_a_case_or_a_name(grid, hours):
    by_case, by_name = make_criterion("cost", grid), make_criterion("cost", "ieee14")
    first = tuple(tensor[:2] for tensor in hours)
    torch.testing.assert_close(by_case(*first), by_name(*first), rtol=1e-9, atol=0)


def test_mape_leaves_out_loads_of_0_where_it_is_told_to() -> None:
    load = torch.tensor([[2.0, 0.0, 4.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    forecast = torch.tensor([[1.0, 5.0, 5.0], [1.5, 1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    found = MAPE(leave_out_zeros=True)(forecast, load)
    torch.testing.assert_close(found, torch.tensor([100 * (0.5 + 0.25) / 2, 100 * 0.5 / 3], dtype=torch.float64))
    (slope,) = torch.autograd.grad(found.sum(), forecast)
    assert slope[0, 1] == 0
    assert torch.isfinite(slope).all()
    with pytest.raises(InputError, match="leave_out_zeros=True"):
        MAPE()(forecast, load)
    with pytest.raises(InputError, match="got only 0 in hour 1"):
        MAPE(leave_out_zeros=True)(forecast, load * torch.tensor([[1.0], [0.0]]))


@pytest.mark.parametrize("criterion", [MSE(), MAPE()])
@pytest.mark.parametrize(
    ("forecast", "load", "message"),
    [
        (torch.ones(3, 2), torch.ones(2), r"of one shape \(n, B\), got \(3, 2\) and \(2,\)"),
        (torch.ones(3, 2), torch.ones(3, 1), "of one shape"),
        (torch.ones(3), torch.ones(3), "of one shape"),
        (np.ones((3, 2)), torch.ones(3, 2), "expected tensors, got ndarray for forecast; use torch.as_tensor"),
        (torch.ones(3, 2), [[1.0, 1.0]], "expected tensors, got list for load"),
    ],
)
def test_what_would_be_broadcast_is_refused(criterion, forecast, load, message):
    with pytest.raises(InputError, match=message):
        criterion(forecast, load)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([MSE()], "expected a mapping"),
        ({MSE(): np.nan}, "weight of mse: expected finite"),
        ({MSE(): "half"}, "weight of mse: expected numbers"),
        ({"mse": 1.0}, r"expected criteria such as unlearn.MSE\(\), got 'mse'"),
        ({MSE: 1.0}, "expected criteria such as unlearn.MSE"),
    ],
)
def test_weighted_sums_of_something_else_are_refused(parts, message):
    with pytest.raises(InputError, match=message):
        Weighted(parts)
