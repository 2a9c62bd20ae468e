"""Losses of certified removal: derivatives, convexity, and the least Lipschitz constant of the curvature."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from torch.nn import functional as F

from unlearn.errors import InputError
from unlearn.unlearning import CERTIFIED_LOSSES, Logistic, PseudoHuber, SmoothPinball

LOSSES = [Logistic(), PseudoHuber(0.3), PseudoHuber(2.0), SmoothPinball(0.8, 0.5), SmoothPinball(0.5, 0.1)]
NUMBER = st.floats(-20, 20)


def in_torch(loss, z, y):
    """The loss from its definition, for autograd."""
    if isinstance(loss, Logistic):
        return F.softplus(-y * z)
    if isinstance(loss, PseudoHuber):
        return loss.width**2 * (torch.sqrt(1 + ((z - y) / loss.width) ** 2) - 1)
    # The second integral of the triangle, piece by piece.
    e, h, zero = z - y, loss.width, torch.zeros_like(z)
    ramp = torch.where(e < 0, h * (1 + e / h) ** 3 / 6, e + h * (1 - e / h) ** 3 / 6)
    return -loss.tau * e + torch.where(e <= -h, zero, torch.where(e >= h, e, ramp))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_derivatives_are_those_of_the_definition(loss):
    z = torch.linspace(-3.01, 2.97, 997, dtype=torch.float64, requires_grad=True)
    y = torch.ones_like(z)
    wanted = [in_torch(loss, z, y)]
    for _ in range(3):
        wanted.append(torch.autograd.grad(wanted[-1].sum(), z, create_graph=True)[0])
    got = [f(z.detach().numpy(), y.numpy()) for f in (loss.value, loss.slope, loss.curvature, loss.third)]
    for own, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(own, other.detach().numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@given(z=NUMBER, other=NUMBER)
def test_the_curvature_is_lipschitz_and_not_negative(loss, z, other):
    one, two = (float(loss.curvature(np.array(at), np.array(1.0))) for at in (z, other))
    assert min(one, two) >= 0
    assert abs(one - two) <= loss.lipschitz * abs(z - other) + 1e-12 * loss.lipschitz


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_smaller_constant_would_do(loss):
    z = np.linspace(-5, 5, 200_001)
    steepest = np.abs(np.diff(loss.curvature(z, np.ones_like(z)))).max() / (z[1] - z[0])
    assert 0.999 * loss.lipschitz < steepest < 1.0001 * loss.lipschitz
    assert np.abs(loss.third(z, np.ones_like(z))).max() <= loss.lipschitz * (1 + 1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_the_smooth_pinball_is_the_pinball_averaged_over_a_triangle(tau):
    loss = SmoothPinball(tau, 0.5)
    pinball = lambda e: max(-tau * e, (1 - tau) * e)  # noqa: E731
    for e in (-0.7, -0.5, -0.3, 0.0, 0.1, 0.499, 0.8):
        mean, _ = quad(lambda t, e=e: pinball(e + t) * (1 - abs(t) / 0.5) / 0.5, -0.5, 0.5, points=[0.0, -e], limit=200)
        assert float(loss.value(np.array(e), np.array(0.0))) == pytest.approx(mean, abs=1e-9)
        if abs(e) >= 0.5:
            assert float(loss.value(np.array(e), np.array(0.0))) == pytest.approx(pinball(e), abs=1e-15)


def test_large_errors_do_not_overflow():
    for loss in LOSSES:
        z = np.array([-1e8, 1e8])
        for of in (loss.value, loss.slope, loss.curvature, loss.third):
            assert np.isfinite(of(z, np.ones(2))).all()


def test_targets_of_the_logistic_loss():
    for given_ in ([0, 1, 1], [-1, 1, 1], [False, True, True]):
        assert Logistic().targets(np.array(given_, dtype=float)).tolist() == [-1, 1, 1]
    with pytest.raises(InputError, match=r"expected 0 and 1, or -1 and 1.*got 3 different"):
        Logistic().targets(np.array([0.0, 0.5, 1.0]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PseudoHuber(0.0), "width: expected a number above 0"),
        (lambda: SmoothPinball(1.0), "tau: expected a share"),
        (lambda: SmoothPinball(0.5, -1.0), "width: expected a number above 0"),
        (lambda: CERTIFIED_LOSSES["huber"], "loss: expected one of logistic, pseudo_huber, smooth_pinball"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(InputError, match=said):
        make()
