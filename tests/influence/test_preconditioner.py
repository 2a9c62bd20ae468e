"""The block preconditioner of networks: exact where it says so, fewer steps, and what it refuses."""

import pytest
import torch
from torch import nn

from tests.linalg.test_block_cg import condition_left
from unlearn.errors import InputError
from unlearn.influence import ModuleObjective
from unlearn.linalg import IhvpOptions, dense_matrix, inverse_hvp, solve_cg

N, B = 300, 3


@pytest.fixture
def samples():
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, 8, generator=random, dtype=torch.float64) * torch.logspace(0, -2, 8, dtype=torch.float64)
    return inputs, torch.sin(inputs @ torch.randn(8, B, generator=random, dtype=torch.float64))


def network(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, B, bias=bias)).double()


@pytest.mark.parametrize("bias", [True, False])
def test_the_last_layer_is_inverted_exactly(samples, bias):
    objective = ModuleObjective(network(bias), *samples, l2=0.1)
    weights = torch.linspace(0.5, 2, N, dtype=torch.float64)
    inverse = objective.preconditioner(objective.theta, weights, damping=0.2)
    matrix = torch.stack([inverse(unit) for unit in torch.eye(objective.n_parameters, dtype=torch.float64)])
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-9, atol=1e-12)
    assert float(torch.linalg.eigvalsh(matrix)[0]) > 0
    hessian = dense_matrix(objective.hessian(objective.theta, weights, 0.2))
    last = slice(6 * 8 + 6, None)
    torch.testing.assert_close(matrix[last, last], torch.linalg.inv(hessian[last, last]), rtol=1e-9, atol=1e-12)
    assert not matrix[last, : 6 * 8 + 6].any()


def test_other_layers_have_blocks_close_to_their_curvature(samples):
    """With one hidden unit and constant slopes, a layer's Kronecker block is the Gauss-Newton block itself."""
    torch.manual_seed(0)
    objective = ModuleObjective(nn.Sequential(nn.Linear(8, 1), nn.Linear(1, 1)).double(), samples[0], samples[1][:, :1])
    weights = torch.linspace(0.5, 2, N, dtype=torch.float64)
    inverse = objective.preconditioner(objective.theta, weights, damping=0.2)
    matrix = torch.stack([inverse(unit) for unit in torch.eye(objective.n_parameters, dtype=torch.float64)])
    curvature = dense_matrix(objective.gauss_newton(objective.theta, weights, 0.2))[:9, :9]
    torch.testing.assert_close(matrix[:9, :9], torch.linalg.inv(curvature), rtol=1e-9, atol=1e-12)


def test_layers_that_are_not_linear_have_their_diagonal(samples):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 1)).double()
    objective = ModuleObjective(module, samples[0], samples[1][:, :1])
    weights = torch.ones(N, dtype=torch.float64)
    inverse = objective.preconditioner(objective.theta, weights, 0.2)
    ones = torch.ones(objective.n_parameters, dtype=torch.float64)
    exact = dense_matrix(objective.gauss_newton(objective.theta, weights, 0.2)).diagonal()[:8]
    # Eight random sign vectors over 300 samples: right within a factor.
    ratio = inverse(ones)[:8] * exact
    assert float(ratio.min()) > 0.2
    assert float(ratio.max()) < 5


def test_blocks_lower_the_condition_of_a_trained_network():
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 20, generator=random, dtype=torch.float64) * torch.logspace(0, -1, 20).double()
    targets = torch.sin(inputs @ torch.randn(20, 4, generator=random, dtype=torch.float64))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        (module(inputs) - targets).square().mean().backward()
        optimiser.step()
    objective = ModuleObjective(module, inputs, targets)
    weights = torch.ones(300, dtype=torch.float64)
    operator = objective.gauss_newton(objective.theta, weights, damping=1e-1)
    rhs = torch.ones(objective.n_parameters, dtype=torch.float64)
    options = IhvpOptions("cg", rtol=1e-8, max_iter=5000)
    preconditioner, dense = objective.preconditioner(objective.theta, weights, 1e-1), dense_matrix(operator)
    blocks = solve_cg(operator, rhs, options, preconditioner)
    exact = torch.linalg.solve(dense, rhs)
    # Residuals of 1e-8 at a condition of 1e5.
    assert float((blocks.value - exact).norm() / exact.norm()) <= 1e-3
    assert condition_left(preconditioner, dense) < 0.5 * float(torch.linalg.cond(dense))


def test_a_linear_module_is_one_block(samples):
    torch.manual_seed(0)
    objective = ModuleObjective(nn.Linear(8, B).double(), *samples)
    rhs = torch.ones(objective.n_parameters, dtype=torch.float64)
    options = IhvpOptions("cg", rtol=1e-9, preconditioner="block")
    found = inverse_hvp(objective, objective.theta, torch.ones(N, dtype=torch.float64), rhs, options)
    assert found.converged
    assert found.statistics["steps"] <= 3


class Twice(nn.Module):
    """One layer used twice, one unused, one over patches; only the last one has a block."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.patches, self.unused = nn.Linear(8, 8), nn.Linear(4, 4), nn.Linear(8, 2)
        self.last = nn.Linear(8, B)

    def forward(self, inputs):
        hidden = self.shared(self.shared(inputs).tanh()).tanh()
        self.unused(hidden)
        return self.last(self.patches(hidden.reshape(-1, 2, 4)).tanh().reshape(-1, 8))


def test_layers_of_other_kinds_of_use_are_solved_too(samples):
    objective = ModuleObjective(Twice().double(), *samples)
    weights = torch.ones(N, dtype=torch.float64)
    operator = objective.gauss_newton(objective.theta, weights, damping=1e-1)
    rhs = torch.ones(objective.n_parameters, dtype=torch.float64)
    found = solve_cg(
        operator, rhs, IhvpOptions("cg", rtol=1e-8), objective.preconditioner(objective.theta, weights, 0.1)
    )
    assert found.converged


def test_dead_features_do_not_break_it(samples):
    module = network()
    with torch.no_grad():
        module[0].weight[:3] = 0.0
        module[0].bias[:3] = 0.0
    objective = ModuleObjective(module, *samples)
    inverse = objective.preconditioner(objective.theta, torch.ones(N, dtype=torch.float64))
    assert inverse(torch.ones(objective.n_parameters, dtype=torch.float64)).isfinite().all()


def absolute(outputs, targets):
    return (outputs - targets).abs().mean(dim=-1)


class Shifted(nn.Module):
    """Something comes after the last linear layer."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, inputs):
        return self.inner(inputs) + 1.0


def frozen_last():
    module = network()
    module[2].requires_grad_(False)
    return module


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Shifted(), {}, r"ends in a trainable nn\.Linear with .*, got Shifted"),
        (frozen_last(), {}, r"ends in a trainable nn\.Linear with .*, got Sequential"),
        (network(), {"loss": absolute}, "expected the loss mean_squared_error"),
    ],
    ids=["a shift comes last", "a frozen last layer", "another loss"],
)
def test_modules_without_such_a_block_are_refused(samples, module, options, message):
    objective = ModuleObjective(module, *samples, **options)
    with pytest.raises(InputError, match=message):
        objective.preconditioner(objective.theta, torch.ones(N, dtype=torch.float64))


def test_the_module_is_only_read(samples):
    module = network()
    objective = ModuleObjective(module, *samples)
    objective.preconditioner(objective.theta, torch.ones(N, dtype=torch.float64))
    assert all(not layer._forward_hooks for layer in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
