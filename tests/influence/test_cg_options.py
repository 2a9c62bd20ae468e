"""What `CGInfluenceModule` takes over from SciPy's `cg`, and its own preconditioners on networks."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.influence.problems import Ridge, RidgeProblem
from tests.linalg.test_block_cg import condition_left
from unlearn.errors import InputError
from unlearn.influence import CGInfluenceModule
from unlearn.linalg import dense_matrix

VECTOR = torch.linspace(-1, 1, 11, dtype=torch.float64)


@pytest.fixture
def problem():
    problem = RidgeProblem.make()
    problem.X[:, 0] *= 30
    return problem


def solve(problem, **options):
    module = problem.module(CGInfluenceModule, damp=0.0, **{"preconditioner": "none", **options})
    return module.inverse_hvp(VECTOR), module.solution.statistics


@pytest.mark.parametrize("name", ["rtol", "tol"])
def test_the_tolerance_is_that_of_scipy(problem, name):
    loose, few = solve(problem, **{name: 1e-2})
    tight, many = solve(problem, **{name: 1e-12})
    assert few["steps"] < many["steps"]
    assert 1e-12 < few["relative_residual"] <= 1e-2
    assert not torch.allclose(loose, tight, rtol=1e-6)
    absolute, _ = solve(problem, rtol=1e-30, atol=1e-2 * float(VECTOR.norm()))
    torch.testing.assert_close(absolute, loose, rtol=1e-9, atol=1e-12)


def test_it_starts_where_told_and_calls_back_with_arrays(problem):
    exact, _ = solve(problem)
    seen = []
    found, statistics = solve(problem, callback=seen.append)
    assert len(seen) == statistics["steps"] > 3
    assert isinstance(seen[0], np.ndarray)
    np.testing.assert_allclose(seen[-1], found.numpy(), rtol=1e-6)
    _, again = solve(problem, x0=exact.numpy(), rtol=1e-8)
    assert again["steps"] == 0


@pytest.mark.parametrize(
    "wrap",
    [
        torch.from_numpy,
        np.asarray,
        csr_array,
        aslinearoperator,
        lambda M: lambda vectors: torch.from_numpy(M) @ vectors,
    ],
    ids=["tensor", "array", "sparse", "linear operator", "function"],
)
def test_any_form_of_m_is_a_preconditioner(problem, wrap):
    inverse = torch.linalg.inv(problem.hessian(0.0)).numpy()
    plain, many = solve(problem)
    found, few = solve(problem, M=wrap(inverse))
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9)
    assert few["steps"] <= 3 < many["steps"]


def network(last=True):
    torch.manual_seed(0)
    layers = [nn.Linear(11, 8), nn.Tanh(), nn.Linear(8, 1), *([] if last else [nn.Softplus()])]
    return nn.Sequential(*layers).double()


def of_network(problem, model, **options):
    loader = DataLoader(TensorDataset(problem.X, problem.Y), 10)
    return CGInfluenceModule(model, Ridge(1e-3), loader, loader, "cpu", damp=1e-3, gnh=True, **options)


@pytest.mark.parametrize("memory_mb", [512.0, 5e-2], ids=["together", "in chunks"])
def test_preconditioners_of_a_network_lower_the_condition_and_not_the_solution(problem, memory_mb):
    vector = torch.ones(105, dtype=torch.float64)
    hessian = dense_matrix(of_network(problem, network(), preconditioner="none").operator(True, 1e-3))
    expected = torch.linalg.solve(hessian, vector)
    # Measured: 4e4 of the Hessian, 7e3 left by the blocks of an untrained network, 4 by a sketch.
    for name, left in (("block", 1e4), ("nystrom", 40), ("auto", 1e4)):
        module = of_network(problem, network(), preconditioner=name, memory_mb=memory_mb)
        torch.testing.assert_close(module.inverse_hvp(vector), expected, rtol=1e-5, atol=1e-6)
        assert condition_left(module._built[1], hessian) < left


def test_blocks_need_a_linear_layer_at_the_end(problem):
    vector = torch.ones(105, dtype=torch.float64)
    with pytest.raises(InputError, match=r"ends in a trainable nn\.Linear"):
        of_network(problem, network(last=False), preconditioner="block").inverse_hvp(vector)
    module = of_network(problem, network(last=False))
    torch.testing.assert_close(module.operator(True, 1e-3).matvec(module.inverse_hvp(vector)), vector)


def test_the_preconditioner_follows_the_parameters(problem):
    module = of_network(problem, network(), preconditioner="block")
    vector = torch.ones(105, dtype=torch.float64)
    module.inverse_hvp(vector)
    first = module._built
    module.inverse_hvp(vector)
    assert module._built is first
    with torch.no_grad():
        module.model[0].weight *= 1.5
    module.inverse_hvp(vector)
    assert module._built is not first
