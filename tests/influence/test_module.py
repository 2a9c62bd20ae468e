"""`ModuleObjective` (any module, autograd) against `HeadObjective` (closed form) and torch.func."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from unlearn.errors import InputError
from unlearn.forecasters import HeadObjective
from unlearn.influence import ModuleObjective
from unlearn.linalg import IhvpOptions, dense_matrix, inverse_hvp

N, D, B = 30, 5, 3
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture
def samples():
    random = torch.Generator().manual_seed(0)
    return (
        torch.randn(N, D, generator=random, dtype=torch.float64),
        torch.randn(N, B, generator=random, dtype=torch.float64),
        torch.rand(N, generator=random, dtype=torch.float64),
    )


@pytest.fixture
def pair(samples):
    """The same least-squares problem twice, and a point θ that is no minimiser."""
    inputs, targets, _ = samples
    torch.manual_seed(0)
    module = nn.Linear(D, B, bias=False).double()
    by_autograd = ModuleObjective(module, inputs, targets, l2=0.3, chunk=7)
    return by_autograd, HeadObjective(inputs, targets, l2=0.3), by_autograd.theta


def test_per_sample_gradients_equal_vmap_of_grad(pair, samples):
    by_autograd, closed, theta = pair
    inputs, targets, _ = samples

    def loss(head, x, y):
        return (head.reshape(B, D) @ x - y).square().mean()

    expected = vmap(grad(loss), in_dims=(None, 0, 0))(theta, inputs, targets)
    torch.testing.assert_close(closed.per_sample_gradients(theta), expected, **TIGHT)
    torch.testing.assert_close(by_autograd.per_sample_gradients(theta), expected, **TIGHT)


def test_both_objectives_agree_on_everything(pair, samples):
    by_autograd, closed, theta = pair
    weights = samples[2]
    vector = torch.linspace(-1, 1, B * D, dtype=torch.float64)
    assert (by_autograd.n_samples, by_autograd.n_parameters) == (closed.n_samples, closed.n_parameters) == (N, B * D)
    torch.testing.assert_close(by_autograd.losses(theta), closed.losses(theta), **TIGHT)
    for regularised in (True, False):
        torch.testing.assert_close(
            by_autograd.gradient(theta, weights, regularised), closed.gradient(theta, weights, regularised), **TIGHT
        )
    torch.testing.assert_close(
        by_autograd.gradient_products(theta, vector), closed.gradient_products(theta, vector), **TIGHT
    )
    expected = dense_matrix(closed.hessian(theta, weights, 0.2))
    torch.testing.assert_close(dense_matrix(by_autograd.hessian(theta, weights, 0.2)), expected, **TIGHT)
    torch.testing.assert_close(dense_matrix(by_autograd.gauss_newton(theta, weights, 0.2)), expected, **TIGHT)


def test_gradient_products_are_rows_of_the_per_sample_gradients(pair):
    _, closed, theta = pair
    vector = torch.linspace(-1, 1, B * D, dtype=torch.float64)
    torch.testing.assert_close(closed.gradient_products(theta, vector), closed.per_sample_gradients(theta) @ vector)


def test_inverse_products_agree_between_structured_dense_and_cg(pair, samples):
    by_autograd, closed, theta = pair
    rhs = torch.ones(B * D, dtype=torch.float64)
    structured = inverse_hvp(closed, theta, samples[2], rhs, IhvpOptions())
    for options in (IhvpOptions(), IhvpOptions("cg")):
        found = inverse_hvp(by_autograd, theta, samples[2], rhs, options)
        torch.testing.assert_close(found.value, structured.value, **TIGHT)


def test_a_bent_module_has_the_gradient_and_hessian_of_its_summed_loss(samples):
    inputs, targets, weights = samples
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, B)).double()
    objective = ModuleObjective(module, inputs, targets)

    def total(theta):
        names, start = {}, 0
        for name, parameter in module.named_parameters():
            names[name] = theta[start : start + parameter.numel()].reshape(parameter.shape)
            start += parameter.numel()
        return (weights * (functional_call(module, names, (inputs,)) - targets).square().mean(dim=1)).sum()

    slope, curvature = torch.func.grad(total)(objective.theta), torch.func.hessian(total)(objective.theta)
    torch.testing.assert_close(objective.gradient(objective.theta, weights), slope, **TIGHT)
    torch.testing.assert_close(dense_matrix(objective.hessian(objective.theta, weights)), curvature, **TIGHT)
    eigenvalues = torch.linalg.eigvalsh(dense_matrix(objective.gauss_newton(objective.theta, weights)))
    assert eigenvalues.min() > -1e-12


def test_the_module_is_only_read(samples):
    inputs, targets, weights = samples
    module = nn.Linear(D, B)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    objective = ModuleObjective(module, inputs, targets)
    objective.gradient(objective.theta, weights)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == torch.float32
    assert all(parameter.grad is None for parameter in module.parameters())


def test_frozen_parameters_stay_out_of_theta(samples):
    inputs, targets, _ = samples
    module = nn.Linear(D, B)
    module.bias.requires_grad_(False)
    assert ModuleObjective(module, inputs, targets).n_parameters == B * D


def test_another_loss_may_be_given(samples):
    inputs, targets, _ = samples
    objective = ModuleObjective(nn.Linear(D, B), inputs, targets, loss=lambda f, y: (f - y).abs().sum(dim=-1))
    assert objective.losses(objective.theta).shape == (N,)
    assert (objective.losses(objective.theta) > 0).all()


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(1)], ids=["dropout", "batch norm"])
def test_a_module_that_is_not_in_evaluation_mode_is_refused(layer):
    module = nn.Sequential(nn.Linear(1, 1), layer)
    inputs, targets = torch.ones(4, 1), torch.ones(4, 1)
    with pytest.raises(InputError, match=r"call module\.eval\(\) first"):
        ModuleObjective(module, inputs, targets)
    assert ModuleObjective(module.eval(), inputs, targets).n_samples == 4


def test_a_module_that_is_random_for_its_own_reasons_is_refused(samples):
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), B, dtype=x.dtype)

    with pytest.raises(InputError, match="two passes over the same samples differ"):
        ModuleObjective(Noisy(D, B).eval(), *samples[:2])


def test_a_module_without_trainable_parameters_is_refused(samples):
    inputs, targets, _ = samples
    with pytest.raises(InputError, match="expected trainable parameters, got none"):
        ModuleObjective(nn.Linear(D, B).requires_grad_(False), inputs, targets)


def test_inputs_and_targets_must_have_as_many_rows(samples):
    with pytest.raises(InputError, match=f"expected as many rows, got {N} and 3"):
        ModuleObjective(nn.Linear(D, B), samples[0], samples[1][:3])


def test_targets_and_losses_that_would_broadcast_are_refused():
    inputs, targets = torch.randn(20, 3).double(), torch.randn(20, 1).double()
    with pytest.raises(InputError, match="targets: expected the shape of the outputs"):
        ModuleObjective(torch.nn.Linear(3, 1), inputs, targets[:, 0])
    with pytest.raises(InputError, match="loss: expected one value per sample"):
        ModuleObjective(torch.nn.Linear(3, 1), inputs, targets, loss=torch.nn.functional.mse_loss)
