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
    assert float(error.median()) < 1e-5


def test_the_angle_form_has_the_same_gradient(grid, hours, differences):
    first = slice(0, 40)
    angle = OperatingCost(grid, form="angle")
    error = relative_error(angle, differences[first], hours[0][first], hours[1][first])
    assert float((error <= 1e-3).double().mean()) >= 0.99


def test_the_default_derivative_of_cvxpylayers_is_wrong(grid, hours, differences):
    """The trap of DEPENDENCIES.md: if this fails, a newer diffcp may have mended its LSQR mode."""
    first = slice(0, 24)
    published = OperatingCost(grid, derivative="lsqr")
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
