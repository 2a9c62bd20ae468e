"""Singular Hessians are refused and ill-conditioned ones are solved, whatever the processor rounds to.

A Cholesky factorisation of a singular matrix succeeds or fails by the last bits of its entries.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.influence.kfac_models import kfac
from tests.linalg.collinear import COLLINEAR, normal, repeated
from unlearn.errors import InputError, SingularHessianError
from unlearn.influence import AutogradInfluenceModule, PairObjective


def module(X, Y, dtype=torch.float64, batch_size=64, **options):
    model = nn.Linear(X.shape[1], 1).to(dtype)
    # Away from an exact fit of few rows, whose losses are rounding error.
    solution = np.linalg.lstsq(np.c_[X.numpy(), np.ones(len(X))], Y.numpy() + 0.1, rcond=None)[0][:, 0] + 0.1
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(solution[None, :-1]))
        model.bias.copy_(torch.from_numpy(solution[-1:]))
    rows = DataLoader(TensorDataset(X.to(dtype), Y.to(dtype)), batch_size)
    return AutogradInfluenceModule(model, PairObjective(F.mse_loss), rows, rows, "cpu", **{"damp": 0.0, **options})


@given(
    build=st.sampled_from(COLLINEAR),
    n=st.integers(12, 400),
    d=st.integers(3, 10),
    seed=st.integers(0, 9999),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    gnh=st.booleans(),
    check=st.booleans(),
)
def test_collinear_designs_are_refused(build, n, d, seed, dtype, gnh, check):
    expected = InputError if check else SingularHessianError
    with pytest.raises(expected, match=r"singular to rounding.*Remove repeated or dependent features, pass damp="):
        module(build(n, d, seed), normal(n, 1, seed + 2), dtype, gnh=gnh, check_eigvals=check)


@pytest.mark.extras
@given(
    build=st.sampled_from(COLLINEAR),
    n=st.integers(12, 200),
    d=st.integers(3, 8),
    seed=st.integers(0, 9999),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    corrected=st.booleans(),
)
def test_kronecker_factors_of_collinear_designs_are_refused(build, n, d, seed, dtype, corrected):
    inputs, targets = build(n, d, seed).to(dtype), normal(n, 2, seed + 1).to(dtype)
    torch.manual_seed(seed)
    module = kfac(nn.Linear(d, 2).to(dtype), inputs, targets, 0.0, eigenvalue_correction=corrected)
    with pytest.raises(SingularHessianError, match="singular to rounding"):
        module.inverse_hvp(torch.ones(2 * (d + 1), dtype=dtype))


@given(n=st.integers(2, 8), more=st.integers(0, 30), seed=st.integers(0, 9999), check=st.booleans())
def test_fewer_rows_than_parameters_are_refused(n, more, seed, check):
    with pytest.raises((InputError, SingularHessianError), match="singular to rounding"):
        module(normal(n, n + more, seed), normal(n, 1, seed + 1), check_eigvals=check)


@given(exponent=st.floats(0, 9), n=st.integers(30, 300), d=st.integers(2, 10), seed=st.integers(0, 9999))
def test_ill_conditioned_hessians_are_accepted_and_solved(exponent, n, d, seed):
    """Condition numbers of the Hessian up to 1e9, against a QR of the design in extended precision's stead."""
    left = torch.linalg.qr(torch.cat([torch.ones(n, 1, dtype=torch.float64), normal(n, d, seed)], dim=1))[0][:, 1:]
    right = torch.linalg.qr(normal(d, d, seed + 1))[0]
    sizes = torch.logspace(0, -exponent / 2, d, dtype=torch.float64)
    X = n**0.5 * (left * sizes) @ right.T
    Y = X @ normal(d, 1, seed + 2) + normal(n, 1, seed + 3)
    found = module(X, Y, check_eigvals=True)
    assert found.positive_definite
    # The columns are orthogonal to the intercept and of known singular values: the inverse is known without solving.
    vector = normal(d + 1, 1, seed + 4)[:, 0]
    expected = torch.cat([right @ (right.T @ vector[:-1] / sizes.square()), vector[-1:]]) / 2
    error = (found.inverse_hvp(vector) - expected).norm() / expected.norm()
    assert float(error) <= 1e-13 * 10**exponent + 1e-12


@pytest.mark.parametrize("damp", [1e-6, 1e-2])
def test_damping_makes_a_collinear_design_definite(damp):
    found = module(repeated(50, 4, 0), normal(50, 1, 1), damp=damp, check_eigvals=True)
    assert found.positive_definite
    vector = torch.ones(5, dtype=torch.float64)
    product = found.operator(damping=damp).matvec(found.inverse_hvp(vector))
    torch.testing.assert_close(product, vector, rtol=1e-8, atol=1e-8)


def test_the_damping_that_the_message_names_is_enough():
    X, Y = repeated(50, 4, 0), normal(50, 1, 1)
    with pytest.raises(InputError) as refused:
        module(X, Y, check_eigvals=True)
    named = float(str(refused.value).rsplit("above ", 1)[1].rstrip("."))
    assert module(X, Y, damp=2 * named, check_eigvals=True).positive_definite
    assert module(X, Y, damp="auto", check_eigvals=True).positive_definite


def test_an_indefinite_network_names_its_smallest_eigenvalue_and_the_damping():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    rows = DataLoader(TensorDataset(normal(40, 4, 0), 5 * normal(40, 1, 1)), 8)
    with pytest.raises(InputError, match=r"not positive definite: .* run from -.*a damp above .*gnh=True") as refused:
        AutogradInfluenceModule(network, PairObjective(F.mse_loss), rows, rows, "cpu", 0.0, check_eigvals=True)
    named = float(str(refused.value).split("a damp above ")[1].split(",")[0])
    damped = AutogradInfluenceModule(
        network, PairObjective(F.mse_loss), rows, rows, "cpu", 1.1 * named, check_eigvals=True
    )
    assert damped.positive_definite


def test_a_hessian_with_nan_is_refused():
    """The second derivative of this loss is infinite where the output meets the target."""

    def loss(outputs, targets):
        return (outputs - targets).abs().pow(1.5).mean()

    X = normal(20, 3, 0)
    rows = DataLoader(TensorDataset(X, X @ torch.ones(3, 1, dtype=torch.float64)), 5)
    model = nn.Linear(3, 1, bias=False).double()
    nn.init.ones_(model.weight)
    with pytest.raises(SingularHessianError, match="expected finite entries, got NaN or infinity"):
        AutogradInfluenceModule(model, PairObjective(loss), rows, rows, "cpu", 0.0)
