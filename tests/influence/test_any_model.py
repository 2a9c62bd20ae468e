"""Models and batches of all kinds: the same numbers as plain autograd, row by row."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.influence.problems import Ridge
from unlearn.influence import AutogradInfluenceModule, BaseInfluenceModule, BaseObjective, CGInfluenceModule

N, D, B = 23, 6, 3


class Row(NamedTuple):
    x: Tensor
    y: Tensor


class Rows(Dataset):
    """A data set that is no TensorDataset, in the structure that `pack` gives."""

    def __init__(self, pack, classes=False):
        random = torch.Generator().manual_seed(0)
        self.X = torch.randn(N, D, generator=random, dtype=torch.float64)
        self.Y = torch.randn(N, B, generator=random, dtype=torch.float64)
        self.pack = pack

    def __len__(self):
        return N

    def __getitem__(self, row):
        return self.pack(self.X[row], self.Y[row])


class Packed(BaseObjective):
    def __init__(self, unpack):
        self.unpack = unpack

    def train_outputs(self, model, batch):
        return model(self.unpack(batch)[0])

    def train_loss_on_outputs(self, outputs, batch):
        return F.huber_loss(outputs, self.unpack(batch)[1])

    def train_regularization(self, params):
        return 0.05 * params.square().sum()

    def test_loss(self, model, params, batch):
        return F.mse_loss(model(self.unpack(batch)[0]), self.unpack(batch)[1])


BATCHES = {
    "tuple": (lambda x, y: (x, y), lambda b: b),
    "dict": (lambda x, y: {"features": x, "load": y}, lambda b: (b["features"], b["load"])),
    "named tuple": (Row, lambda b: (b.x, b.y)),
    "nested": (
        lambda x, y: {"in": [x[:2], (x[2:],)], "out": y},
        lambda b: (torch.cat([b["in"][0], b["in"][1][0]], dim=-1), b["out"]),
    ),
    "one tensor": (lambda x, y: torch.cat([x, y]), lambda b: (b[..., :D], b[..., D:])),
}  # fmt: skip


class Tied(nn.Module):
    """One matrix used twice, an unused parameter, a frozen one."""

    def __init__(self):
        super().__init__()
        self.inner, self.unused = nn.Linear(D, D), nn.Parameter(torch.ones(2))
        self.out = nn.Linear(D, B)
        self.out.bias.requires_grad_(False)

    def forward(self, x):
        return self.out(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRU(2, 4, batch_first=True), nn.Linear(4, B)

    def forward(self, x):
        return self.out(self.cell(x.reshape(len(x), 3, 2))[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.out = nn.Linear(2, 8), nn.LayerNorm(8), nn.Linear(8, B)

    def forward(self, x):
        tokens = self.inner(x.reshape(len(x), 3, 2))
        weights = torch.softmax(tokens @ tokens.mT / 8**0.5, dim=-1)
        return self.out(self.norm(weights @ tokens).mean(dim=1))


class SharedParameter(nn.Module):
    """One matrix in two modules."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, B)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.out(torch.tanh(self.second(torch.tanh(self.first(x)))))


def module_in_two_places():
    layer = nn.Linear(D, D)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(D, B))


MODELS = {
    "shared parameter": SharedParameter,
    "module in two places": module_in_two_places,
    "MLP": lambda: nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, B)),
    "batch norm": lambda: nn.Sequential(nn.Linear(D, 5), nn.BatchNorm1d(5), nn.GELU(), nn.Linear(5, B)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, D)), nn.Conv1d(1, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(8, B)
    ),
    "tied and frozen": Tied,
    "recurrent": Recurrent,
    "attention": Attention,
}


def module_of(model="MLP", batch="tuple", kind=CGInfluenceModule, batch_size=4, **options):
    pack, unpack = BATCHES[batch]
    torch.manual_seed(0)
    loader = DataLoader(Rows(pack), batch_size)
    return kind(MODELS[model]().double(), Packed(unpack), loader, loader, "cpu", **{"damp": 1.0, **options})


def row_gradients(module):
    """Gradient of the regularised loss of every row, one backward pass each."""
    rows, found = module.train_loader.dataset, []
    parameters = [p for p in module.model.parameters() if p.requires_grad]
    for row in range(N):
        batch = module.train_loader.collate_fn([rows[row]])
        flat = torch.cat([p.reshape(-1) for p in parameters])
        loss = module.objective.train_loss(module.model, flat, batch)
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
        found.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    return torch.stack(found)


def check_everything(module):
    expected = row_gradients(module)
    rows = list(range(N))
    torch.testing.assert_close(module.train_loss_grads(rows), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(module.train_loss_grad(rows), expected.mean(dim=0), rtol=1e-9, atol=1e-12)
    stests = torch.randn(expected.shape[1], 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    scores = module.influences(rows[::-1], [0], stests)
    torch.testing.assert_close(scores, (expected @ stests / N).flip(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_models(model):
    module = module_of(model)
    check_everything(module)
    assert module.risk.vectorised
    assert all(isinstance(parameter, nn.Parameter) for parameter in module.model.parameters())
    assert list(module.model.state_dict()) == list(MODELS[model]().state_dict())


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("memory_mb", [256.0, 1e-2], ids=["together", "in chunks"])
def test_batches(batch, memory_mb):
    module = module_of(batch=batch, memory_mb=memory_mb)
    check_everything(module)
    assert (module.risk.chunk < N) == (memory_mb < 1)


@pytest.mark.parametrize("model", ["MLP", "convolution", "tied and frozen", "shared parameter", "attention"])
@pytest.mark.parametrize("gnh", [False, True], ids=["Hessian", "Gauss-Newton"])
def test_products_do_not_depend_on_chunks(model, gnh):
    """In one kept graph, in streamed chunks, and (Hessian) as second differences of the gradient."""
    whole, streamed = module_of(model), module_of(model, memory_mb=1e-2)
    size = whole.train_loss_grad([0]).numel()
    block = torch.randn(size, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    product = whole.operator(gnh, 0.3).matmat(block)
    torch.testing.assert_close(streamed.operator(gnh, 0.3).matmat(block), product, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(whole.operator(gnh, 0.3).matvec(block[:, 1]), product[:, 1], rtol=1e-9, atol=1e-12)
    if not gnh:
        theta, step = whole._flat.theta, 1e-5
        above, below = (whole.risk.gradient(theta + sign * step * block[:, 0]) for sign in (1, -1))
        expected = (above - below) / (2 * step) + 0.3 * block[:, 0]
        torch.testing.assert_close(product[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_gauss_newton_is_that_of_torch_func():
    """J'CJ with the Jacobian from torch.func, for a loss with a curvature of its own at every output."""
    module = module_of("MLP")
    theta, rows = module._flat.theta, module.risk.samples
    batch = rows.span(0, N)
    jacobian = torch.func.jacrev(lambda point: module.risk.outputs(point, batch))(theta).reshape(N * B, -1)
    outputs = module.risk.outputs(theta, batch)
    curvature = ((outputs - batch[1]).abs() <= 1).double().reshape(-1) / (N * B)
    expected = (jacobian * curvature[:, None]).T @ jacobian + 0.1 * torch.eye(len(theta), dtype=torch.float64)
    found = module.operator(gauss_newton=True).matmat(torch.eye(len(theta), dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


class Whole(Packed):
    """An objective with a training loss of its own."""

    def train_loss(self, model, params, batch):
        return super().train_loss(model, params, batch) + 0.1 * params[:3].pow(4).sum()


class Stubborn(Packed):
    """A loss that looks at its values, which vmap refuses."""

    def train_loss_on_outputs(self, outputs, batch):
        loss = super().train_loss_on_outputs(outputs, batch)
        return loss if loss.item() >= 0 else -loss


@pytest.mark.parametrize(("objective", "vectorised"), [(Whole, True), (Stubborn, False)])
def test_objectives_that_need_another_way(objective, vectorised):
    pack, unpack = BATCHES["tuple"]
    loader = DataLoader(Rows(pack), 4)
    torch.manual_seed(0)
    module = CGInfluenceModule(MODELS["MLP"]().double(), objective(unpack), loader, loader, "cpu", damp=1.0)
    check_everything(module)
    assert module.risk.vectorised == vectorised


def test_batches_that_cannot_be_stacked_are_scored_too():
    """Rows of different lengths, padded by the collate function."""

    class Lengths(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            return Rows(lambda x, y: x)[row][: 1 + row % D], Rows(lambda x, y: y)[row]

    def pad(items):
        X = nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True)
        return X, torch.stack([y for _, y in items])

    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(1, B)

        def forward(self, x):
            return self.out(x.sum(dim=1, keepdim=True))

    torch.manual_seed(0)
    loader = DataLoader(Lengths(), 4, collate_fn=pad)
    module = CGInfluenceModule(Sums().double(), Packed(lambda b: b), loader, loader, "cpu", damp=1.0)
    assert module.risk.samples.columns is None
    check_everything(module)
    assert module.influences([3, 1], [0, 5]).shape == (2,)


def test_workers_give_the_same():
    pack, unpack = BATCHES["dict"]
    torch.manual_seed(0)
    model = MODELS["MLP"]().double()
    found = []
    for workers in (0, 1):
        loader = DataLoader(Rows(pack), 4, num_workers=workers)
        found.append(CGInfluenceModule(model, Packed(unpack), loader, loader, "cpu", damp=1.0).train_loss_grad([3, 2]))
    assert torch.equal(*found)


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.booleans(),
    st.lists(st.integers(0, 11), min_size=1, unique=True),
)  # fmt: skip
def test_scores_do_not_depend_on_how_rows_are_grouped(n, columns, batch_size, gnh, wanted):
    """Any batch size, memory and order of rows give the scores of one dense computation."""
    random = torch.Generator().manual_seed(n)
    X = torch.randn(n, 3, generator=random, dtype=torch.float64)
    data = TensorDataset(X, torch.randn(n, columns, generator=random, dtype=torch.float64))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, columns)).double()
    rows = [row for row in wanted if row < n] or [0]
    results = []
    for kind, size, memory in ((AutogradInfluenceModule, n, 256.0), (CGInfluenceModule, batch_size, 1e-3)):
        loader = DataLoader(data, size)
        module = kind(model, Ridge(0.5), loader, loader, "cpu", damp=20.0, gnh=gnh, memory_mb=memory)
        results.append(module.influences(rows, [0]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-9)


class Halved(BaseInfluenceModule):
    """A subclass of one's own, with the helpers that torch-influence gives subclasses."""

    def inverse_hvp(self, vec):
        return 0.5 * vec


def test_subclasses_of_ones_own():
    module = module_of(kind=lambda *args, damp: Halved(*args))
    expected = row_gradients(module)
    gradient = module.test_loss_grad([0, 1])
    torch.testing.assert_close(module.influences([4, 2], [0, 1]), 0.5 * expected[[4, 2]] @ gradient / N)
    torch.testing.assert_close(module.stests([1])[:, 0], 0.5 * module.test_loss_grad([1]))
    slopes = [slope for slope, _ in module._loss_grad_loader_wrapper(train=True, batch_size=1, subset=[4, 2])]
    torch.testing.assert_close(torch.stack(slopes), expected[[4, 2]])


@pytest.mark.parametrize("gnh", [False, True])
def test_products_while_the_parameters_are_taken_out(gnh):
    module = module_of("tied and frozen")
    batch, size = next(module._loader_wrapper(train=True))
    assert size == 4
    vector = torch.linspace(-1, 1, module._flat.size, dtype=torch.float64)
    expected = module.operator(gnh, rows=range(4)).matvec(vector)
    torch.testing.assert_close(module._hvp_at_batch(batch, module._flat.theta, vector, gnh), expected)
    before = module._flat.theta
    flat = module._flatten_params_like(module._model_make_functional())
    assert module.is_model_functional
    assert not list(module.model.inner.parameters())
    torch.testing.assert_close(module._hvp_at_batch(batch, flat, vector, gnh), expected)
    module._model_reinsert_params(module._reshape_like_params(flat.detach()), register=True)
    assert torch.equal(module._flat.theta, before)
    assert module.params_names[0] == "unused"
    assert module.params_shape[0] == (2,)
    assert [name for name, _ in module._model_params()] == list(module.params_names)
    assert torch.equal(module._transfer_to_device(batch)[0], batch[0])
