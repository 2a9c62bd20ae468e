"""Models whose parameters are shared, computed, frozen or the root's own: right against a dense oracle, or refused."""

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.data import DataLoader, TensorDataset

from tests.linalg.collinear import normal
from unlearn.errors import InputError
from unlearn.influence import (
    AutogradInfluenceModule,
    CGInfluenceModule,
    KFACInfluenceModule,
    LiSSAInfluenceModule,
    ModuleObjective,
    PairObjective,
)
from unlearn.influence.flat import copied
from unlearn.linalg import IhvpOptions, dense_matrix, inverse_hvp
from unlearn.unlearning.trained import TrainedModule

D, N, DAMP = 3, 24, 0.1
QUIET = pytest.mark.filterwarnings("ignore:Complex modules are a new feature")


class Stack(nn.Module):
    def __init__(self, change=None):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        if change is not None:
            change(self)

    def forward(self, x):
        return self.c(self.b(self.a(x).tanh()).tanh())


def share_weight(of, by):
    return lambda model: setattr(getattr(model, by), "weight", getattr(model, of).weight)


def share_bias(model):
    model.b.bias = model.a.bias


def same_layer_twice(model):
    model.b = model.a


def under(change, place):
    """A parametrisation of the layer at a place."""
    return lambda model: setattr(model, place, change(getattr(model, place)))


class LowRank(nn.Module):
    """`W + U V`, W frozen."""

    def __init__(self):
        super().__init__()
        self.U, self.V = nn.Parameter(0.1 * torch.randn(D, 1)), nn.Parameter(torch.randn(1, D))

    def forward(self, weight):
        return weight + self.U @ self.V


def low_rank(layer):
    parametrize.register_parametrization(layer, "weight", LowRank())
    layer.parametrizations.weight.original.requires_grad_(False)
    return layer


def frozen(*names):
    return lambda model: [model.get_parameter(name).requires_grad_(False) for name in names]


class OwnParameters(nn.Module):
    """Parameters of the root itself, by the names that a linear layer's have."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(D, D)), nn.Parameter(torch.zeros(D))
        self.c = nn.Linear(D, D)

    def forward(self, x):
        return self.c((x @ self.weight + self.bias).tanh())


class Decoder(nn.Module):
    """The weight of a layer used again outside of it."""

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x):
        return self.c(F.linear(self.a(x).tanh(), self.a.weight.T))


STRUCTURES = {
    "plain": Stack,
    "shared weight": lambda: Stack(share_weight("a", "b")),
    "shared last weight": lambda: Stack(share_weight("a", "c")),
    "shared bias": lambda: Stack(share_bias),
    "layer twice": lambda: Stack(same_layer_twice),
    "own parameters": OwnParameters,
    "used outside": Decoder,
    "frozen bias": lambda: Stack(frozen("a.bias", "c.bias")),
    "frozen weights": lambda: Stack(frozen("a.weight", "c.weight")),
    **{
        f"{name} of {place}": lambda change=change, place=place: Stack(under(change, place))
        for name, change in {
            "weight_norm": parametrizations.weight_norm, "old weight_norm": nn.utils.weight_norm,
            "spectral_norm": parametrizations.spectral_norm, "old spectral_norm": nn.utils.spectral_norm,
            "orthogonal": parametrizations.orthogonal, "low rank": low_rank,
        }.items()
        for place in "bc"
    },
}  # fmt: skip


def problem(structure, dtype=torch.float64):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = STRUCTURES[structure]().to(dtype).eval()
    X = normal(N, D, 1).to(dtype)
    # A forward pass with gradients, as a training loop leaves old parametrisations behind.
    Y = model(X).detach() + 0.3 * normal(N, D, 2).to(dtype)
    return model, X, Y


def oracle(model, X, Y):
    """Gauss-Newton matrix and Hessian of the mean loss and per-row gradients, by functional calls of PyTorch's own."""
    # They leave other tensors behind where a layer stands in two places.
    with torch.no_grad():
        model(X)
    model = copied(model)
    trainable = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in trainable.values()]

    def outputs(theta, inputs):
        pieces = zip(trainable.items(), theta.split(sizes), strict=True)
        return functional_call(model, {name: piece.view(p.shape) for (name, p), piece in pieces}, (inputs,))

    theta = torch.cat([p.reshape(-1) for p in trainable.values()])
    slopes = jacrev(outputs)(theta, X)
    matrix = 2 / (N * D) * slopes.flatten(end_dim=1).T @ slopes.flatten(end_dim=1)
    rows = 2 / D * torch.einsum("nb,nbp->np", outputs(theta, X) - Y, slopes)
    # By differences: PyTorch's own second derivative of `weight_norm` is wrong.
    slope, unit = grad(lambda point: (outputs(point, X) - Y).square().mean()), torch.eye(len(theta), dtype=theta.dtype)
    curved = torch.stack([(slope(theta + 1e-5 * e) - slope(theta - 1e-5 * e)) / 2e-5 for e in unit], dim=1)
    return matrix, curved, rows


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_scores_and_steps_are_those_of_the_dense_oracle(structure):
    model, X, Y = problem(structure)
    gauss_newton, curved, rows = oracle(model, X, Y)
    rows_of = DataLoader(TensorDataset(X, Y), 7)
    damped = gauss_newton + DAMP * torch.eye(len(gauss_newton), dtype=torch.float64)
    vector = normal(len(damped), 1, 3)[:, 0]
    solved, scores = torch.linalg.solve(damped, vector), rows @ torch.linalg.solve(damped, rows.mean(dim=0)) / N
    close = {"rtol": 1e-6, "atol": 1e-8}
    dense = AutogradInfluenceModule(model, PairObjective(F.mse_loss), rows_of, rows_of, "cpu", DAMP, gnh=True)
    torch.testing.assert_close(dense.inverse_hvp(vector), solved, **close)
    # Differences are good to some 1e-10.
    torch.testing.assert_close(dense_matrix(dense.operator(False)), curved, rtol=1e-6, atol=1e-8)
    for preconditioner in ("auto", "nystrom"):
        found = CGInfluenceModule(
            model, PairObjective(F.mse_loss), rows_of, rows_of, "cpu", DAMP, True, preconditioner=preconditioner
        )
        torch.testing.assert_close(found.inverse_hvp(vector), solved, **close)
        torch.testing.assert_close(found.influences(range(N), range(N)), scores, **close)
    trained = TrainedModule(model, F.mse_loss, rows_of, rows_of, damp=DAMP)
    torch.testing.assert_close(torch.from_numpy(trained.influences()), scores, **close)
    forgotten = trained.forget([1, 2]).model
    assert forgotten(X).isfinite().all()
    assert [name for name, _ in forgotten.named_parameters()] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_sum_over_samples_has_the_same_curvature(structure):
    model, X, Y = problem(structure)
    _, curved, _ = oracle(model, X, Y)
    objective, ones = ModuleObjective(model, X, Y), torch.ones(N, dtype=torch.float64)
    system = N * curved + 60 * torch.eye(len(curved), dtype=torch.float64)
    torch.testing.assert_close(dense_matrix(objective.hessian(objective.theta, ones, 60)), system, rtol=1e-6, atol=1e-7)
    rhs = normal(len(curved), 1, 4)[:, 0]
    options = IhvpOptions("cg", damping=60, rtol=1e-9, preconditioner="block")
    if structure.endswith(" of c") or structure in ("shared last weight", "frozen weights"):
        with pytest.raises(InputError, match=r'with a weight of its own .*use preconditioner="none"'):
            inverse_hvp(objective, objective.theta, ones, rhs, options)
        return
    found = inverse_hvp(objective, objective.theta, ones, rhs, options).value
    torch.testing.assert_close(found, torch.linalg.solve(system, rhs), rtol=1e-6, atol=1e-8)
    assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in model.parameters())


@pytest.mark.extras
@pytest.mark.parametrize("structure", STRUCTURES)
def test_kronecker_factors_are_those_of_layers_or_refused(structure):
    model, X, Y = problem(structure)
    rows_of = DataLoader(TensorDataset(X, Y), 7)
    if structure in ("plain", "frozen bias", "frozen weights"):
        KFACInfluenceModule(
            model, PairObjective(F.mse_loss), rows_of, rows_of, "cpu", DAMP, loss_function=nn.MSELoss()
        ).influences([0], [0])
        return
    with pytest.raises(InputError, match=r"model: K-FAC .*freeze it .*or use CGInfluenceModule"):
        KFACInfluenceModule(model, PairObjective(F.mse_loss), rows_of, rows_of, "cpu", DAMP, loss_function=nn.MSELoss())


@pytest.mark.parametrize("structure", ["shared weight", "layer twice", "weight_norm of b", "low rank of c"])
def test_helpers_of_subclasses_put_parameters_everywhere_they_belong(structure):
    model, X, Y = problem(structure)
    _, curved, _ = oracle(model, X, Y)
    rows_of = DataLoader(TensorDataset(X, Y), N)
    module = CGInfluenceModule(copied(model), PairObjective(F.mse_loss), rows_of, rows_of, "cpu", DAMP)
    expected = module.model(X).detach()
    theta = module._flatten_params_like(module._model_make_functional())
    vector = normal(len(theta), 1, 3)[:, 0]
    found = module._hvp_at_batch((X, Y), theta, vector, gnh=False)
    torch.testing.assert_close(found, curved @ vector, rtol=1e-6, atol=1e-8)
    module._model_reinsert_params(module._reshape_like_params(theta.detach()), register=True)
    torch.testing.assert_close(module.model(X).detach(), expected)
    assert sum(p.numel() for p in module.model.parameters() if p.requires_grad) == len(theta)


KINDS = {
    "cg": lambda *given: CGInfluenceModule(*given, "cpu", DAMP),
    "autograd": lambda *given: AutogradInfluenceModule(*given, "cpu", DAMP),
    "lissa": lambda *given: LiSSAInfluenceModule(*given, "cpu", DAMP, 1, 2, 100.0),
    "kfac": lambda *given: KFACInfluenceModule(*given, "cpu", DAMP, loss_function=nn.MSELoss()),
    "trained": lambda model, objective, *loaders: TrainedModule(model, F.mse_loss, *loaders),
}


def of_kind(kind, model, X, Y):
    rows_of = DataLoader(TensorDataset(X, Y), 7)
    return KINDS[kind](model, PairObjective(F.mse_loss), rows_of, rows_of)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, pytest.param(torch.complex64, marks=QUIET)])
@pytest.mark.parametrize("kind", [pytest.param("kfac", marks=pytest.mark.extras), *sorted(set(KINDS) - {"kfac"})])
def test_parameters_of_other_precisions_are_refused_before_any_work(kind, dtype):
    X = normal(N, D, 0).to(dtype)
    with pytest.raises(InputError, match=rf"model: expected .*float32 or float64, got {dtype}.*model\.double\(\)"):
        of_kind(kind, nn.Linear(D, D).to(dtype), X, X)


def mixed():
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, D))
    model[0].double()
    return model


def frozen_half():
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, D))
    model[0].half().requires_grad_(False)
    return model


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.GRU(D, D, batch_first=True), nn.Linear(D, D)

    def forward(self, x):
        return self.last(self.inner(x[:, None])[0][:, -1])


@pytest.mark.parametrize(
    ("model", "inputs", "targets"),
    [
        (mixed, torch.float32, torch.float32),
        (frozen_half, torch.float32, torch.float32),
        *((lambda: nn.Linear(D, D), dtype, torch.float32) for dtype in (
            torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64
        )),
        (lambda: nn.Linear(D, D), torch.float32, torch.float64),
        (lambda: nn.Linear(D, D).double(), torch.float32, torch.float64),
        (lambda: nn.Sequential(nn.Unflatten(1, (1, D)), nn.Conv1d(1, 1, 3, padding=1), nn.Flatten()),
         torch.float64, torch.float32),
        (Recurrent, torch.float64, torch.float32),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["autograd", "cg", "lissa", "trained"])
def test_data_of_another_dtype_than_the_model_is_refused_by_name(kind, model, inputs, targets):
    X = normal(N, D, 0)
    with pytest.raises(InputError, match=r"expected (dtypes that go together, got torch\.|parameters of one floating)"):
        of_kind(kind, model(), X.to(inputs), X.to(targets))


@QUIET
def test_an_objective_of_a_complex_module_is_refused():
    X = normal(N, D, 0)
    with pytest.raises(InputError, match="expected real parameters, got complex ones: weight, bias"):
        ModuleObjective(nn.Linear(D, D).to(torch.complex64), X, X)
