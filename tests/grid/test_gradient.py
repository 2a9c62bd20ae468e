"""The gradient of the cost with respect to the forecast, against central finite differences."""

import pytest
import torch

from unlearn.grid import OperatingCost, price_hours

STEP = 1e-5


def finite_differences(cost: OperatingCost, forecast: torch.Tensor, load: torch.Tensor) -> torch.Tensor:
    """Central differences of each hour's cost in each load, (n, B), from direct solves.

    A forecast at 0 has only a right side (a step below is clipped): there the difference is forward.
    """
    n, b = forecast.shape
    steps = STEP * torch.eye(b, dtype=forecast.dtype)
    above, below = forecast[:, None] + steps, (forecast[:, None] - steps).clamp(min=0)
    width = (above - below).sum(dim=2)
    loads = load.repeat_interleave(b, dim=0)
    moved = [price_hours(cost, side.reshape(-1, b), loads).total.reshape(n, b) for side in (above, below)]
    return (moved[0] - moved[1]) / width


def relative_error(cost: OperatingCost, truth: torch.Tensor, forecast: torch.Tensor, load: torch.Tensor):
    asked = forecast.clone().requires_grad_()
    cost(asked, load).total.sum().backward()
    return (asked.grad - truth).abs() / truth.abs().clamp(min=1.0)


@pytest.fixture(scope="module")
def differences(cost, hours):
    forecast, load = hours
    return finite_differences(cost, forecast, load)


def test_gradient_equals_finite_differences_over_200_hours(cost, hours, differences):
    error = relative_error(cost, differences, *hours)
    assert error.shape == (200, 14)
    # 99 %: where a step crosses a kink of the piecewise quadratic cost, the difference quotient is wrong.
    assert float((error <= 1e-3).double().mean()) >= 0.99
    assert float(error.median()) < 1e-8


@pytest.mark.parametrize("form", ["ptdf", "angle"])
def test_the_dense_derivative_of_cvxpylayers_agrees_but_for_nearly_degenerate_hours(grid, hours, differences, form):
    first = slice(0, 60)
    reference = OperatingCost(grid, "cvxpylayers", form=form)
    error = relative_error(reference, differences[first], hours[0][first], hours[1][first])
    assert float((error <= 1e-3).double().mean()) >= 0.97
    assert float(error.median()) < 1e-5


def test_hours_of_one_region_have_one_derivative_of_the_generation_cost(cost, hours):
    """Proposition 1: the solution map is affine while the active set stays the same, so its cost is quadratic."""
    forecast, load = hours[0][:1], hours[1][:1]

    def slope(point: torch.Tensor) -> torch.Tensor:
        asked = point.clone().requires_grad_()
        cost(asked, load).generation.sum().backward()
        return asked.grad

    step = 1e-6 * torch.randn(forecast.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second, third = (slope(forecast + k * step) for k in (0, 1, 2))
    # Differences of slopes of about 100 cancel down to 1e-5.
    torch.testing.assert_close(third - second, second - first, rtol=0, atol=1e-12)


def test_the_derivative_is_finite_where_it_is_one_sided(cost, hours):
    """At the truth nothing is shed or stored, so more constraints are active than independent."""
    load = hours[1][:4]
    exact = load.clone().requires_grad_()
    priced = cost(exact, load)
    priced.total.sum().backward()
    assert priced.degenerate.all()
    assert torch.isfinite(exact.grad).all()
    with torch.no_grad():
        assert torch.equal(cost(exact, load).degenerate, priced.degenerate)


def test_the_default_derivative_of_cvxpylayers_is_wrong(grid, hours, differences):
    """If this fails, a newer diffcp may have mended its LSQR mode."""
    first = slice(0, 24)
    published = OperatingCost(grid, "cvxpylayers", derivative="lsqr")
    error = relative_error(published, differences[first], hours[0][first], hours[1][first])
    assert float(error.median()) > 0.05


def test_every_extra_unit_of_surplus_costs_more_and_of_shortage_too(cost, hours):
    load = hours[1][:4]
    above = (1.03 * load).requires_grad_()
    below = (0.97 * load).requires_grad_()
    cost(above, load).total.sum().backward()
    cost(below, load).total.sum().backward()
    assert (above.grad > 0).all()
    assert (below.grad < 0).all()
