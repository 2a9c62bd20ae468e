"""A loss is a mean over rows, on every batch of both loaders and on any rows together, or it is refused."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import unlearn
from unlearn.errors import InputError
from unlearn.influence import CGInfluenceModule, ModuleObjective, PairObjective, mean_squared_error

N, D, C = 60, 4, 3


def draw(seed=0, n=N, columns=C, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, D, generator=random, dtype=torch.float64)
    y = 3 + torch.randn(n, columns, generator=random, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def linear(columns=C, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Linear(D, columns).to(dtype)


def of(x, y, size=7):
    return DataLoader(TensorDataset(x, y), size)


def build(loss, train, test=None, eval_loss=None, model=None, **options):
    columns = C if train.dataset[0][1].ndim == 0 else len(train.dataset[0][1])
    model = model or linear(columns, train.dataset[0][0].dtype)
    return unlearn.TrainedModule(model, loss, train, test or train, eval_loss=eval_loss, damp=0.1, **options)


def by_batch_mean(o, t):
    """Absolute error as a share of the batch's sum: no mean of the rows' own shares."""
    return (o - t).abs().sum() / t.abs().sum()


NOT_MEANS = {
    "sum": (lambda o, t: F.mse_loss(o, t, reduction="sum"), "Use reduction='mean': this is their sum"),
    "root": (lambda o, t: F.mse_loss(o, t).sqrt(), r"root of a mean\. Use the mean squared error; by the chain rule"),
    "median": (lambda o, t: (o - t).abs().mean(dim=1).median(), "without a root, median"),
    "largest": (lambda o, t: (o - t).abs().max(), "expected a mean over independent rows"),
    "shares of the sum": (by_batch_mean, "sum over the batch that it is divided by"),
    "spread": (lambda o, t: (o - t).square().mean() + 0.1 * o.var(dim=0, correction=0).mean(), "mixes the rows"),
    "product": (lambda o, t: (1 + (o - t).square().mean()).log(), "expected a mean over independent rows"),
}


@pytest.mark.parametrize("size", [1, 7, N])
@pytest.mark.parametrize("name", NOT_MEANS)
def test_what_is_no_mean_over_rows_is_refused_as_loss_and_as_eval_loss(name, size):
    loss, message = NOT_MEANS[name]
    loader = of(*draw(), size=size)
    with pytest.raises(InputError, match=f"training loss: .*{message}"):
        build(loss, loader)
    with pytest.raises(InputError, match=f"test loss: .*{message}"):
        build(F.mse_loss, of(*draw()), loader, eval_loss=loss)


@pytest.mark.parametrize("order", ["sorted", "mixed", "one late"])
@pytest.mark.parametrize("size", [1, 5, 20, N])
def test_class_weights_are_refused_in_any_order(order, size):
    classes = torch.arange(N) // 20 if order == "sorted" else torch.arange(N) % C
    if order == "one late":
        classes = torch.zeros(N, dtype=torch.int64)
        classes[-3] = 2
    weighted = lambda o, t: F.cross_entropy(o, t, weight=torch.tensor([1.0, 3.0, 9.0]).double())  # noqa: E731
    loader = of(draw()[0], classes, size)
    with pytest.raises(InputError, match=r"training loss: .*without class weights \(write"):
        build(weighted, loader)
    with pytest.raises(InputError, match=r"test loss: .*without class weights"):
        build(F.cross_entropy, loader, eval_loss=weighted)
    # Weights that make a mean over rows are right.
    rows = lambda o, t: (torch.tensor([1.0, 3.0, 9.0]).double()[t] * F.cross_entropy(o, t, reduction="none")).mean()  # noqa: E731
    assert build(rows, loader).influences().shape == (N,)


def test_class_weights_are_refused_where_all_losses_are_equal():
    """A model of zeros gives log 3 to every row, and so does any weighted mean."""
    model = linear()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    weighted = lambda o, t: F.cross_entropy(o, t, weight=torch.tensor([1.0, 3.0, 9.0]).double())  # noqa: E731
    with pytest.raises(InputError, match="without class weights"):
        build(weighted, of(draw()[0], torch.arange(N) % C), model=model)


@pytest.mark.parametrize("size", [1, 7, N])
def test_ignored_rows_are_refused_wherever_they_stand(size):
    classes = torch.arange(N) % C
    classes[N - 2] = -100
    loader = of(draw()[0], classes, size)
    with pytest.raises(InputError, match=rf"training loss: .*Row {N - 2} has no loss of its own \(nan\).*ignore_index"):
        build(F.cross_entropy, loader)
    with pytest.raises(InputError, match=rf"test loss: .*Row {N - 2} has no loss of its own"):
        build(F.cross_entropy, of(draw()[0], torch.arange(N) % C), loader)


@pytest.mark.parametrize("row", [0, 31, N - 1])
def test_one_extreme_row_is_enough(row):
    """A loss that divides by the largest target once that is above 100."""
    x, y = draw()
    scaled = lambda o, t: F.mse_loss(o, t) / t.abs().max().clamp(min=100.0)  # noqa: E731
    assert build(scaled, of(x, y)).influences().shape == (N,)
    y[row] *= 1000
    for size in (1, 7, 59):
        with pytest.raises(InputError, match="expected a mean over independent rows"):
            build(scaled, of(x, y, size))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("which", ["training", "test"])
def test_targets_are_not_broadcast_whatever_their_dtype(dtype, which):
    x, y = draw(columns=1)
    good, flat = of(x, (y > 3).double()), of(x, (y[:, 0] > 3).to(dtype))
    loss = lambda o, t: (o - t.double()).square().mean()  # noqa: E731
    train, test = (flat, good) if which == "training" else (good, flat)
    with pytest.raises(
        InputError, match=r"targets: expected the shape of the outputs, \(\d, 1\), got \(\d,\).*squeeze"
    ):
        build(loss, train, test, model=linear(1))
    squeezed = nn.Sequential(linear(1), nn.Flatten(0))
    column = of(x, (y > 3).to(dtype))
    with pytest.raises(InputError, match=r"targets: expected the shape of the outputs, \(\d,\), got \(\d, 1\)"):
        build(loss, column, column, model=squeezed)
    # Of the right shape, any dtype is right.
    assert build(loss, flat, flat, model=squeezed).influences().shape == (N,)
    assert build(loss, column, column, model=linear(1)).influences().shape == (N,)


def test_an_objective_of_ones_own_that_broadcasts_is_refused():
    class Careless(PairObjective):
        def train_loss_on_outputs(self, outputs, batch):
            return (outputs - batch[1]).square().mean()

    x, y = draw(columns=1)
    with pytest.raises(InputError, match="give targets the shape of the outputs"):
        CGInfluenceModule(linear(1), Careless(F.mse_loss), of(x, y[:, 0]), None, "cpu", damp=0.1)


class Centred(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(x - x.mean(dim=0))


def test_models_that_mix_rows_are_refused():
    loader = of(*draw())
    with pytest.raises(InputError, match=r"training loss: .*no layer that mixes the rows of a batch"):
        build(F.mse_loss, loader, model=Centred())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: F.mse_loss(o, t, reduction="none"), r"got shape \(7, 3\); use reduction='mean'"),
        (lambda o, t: (F.mse_loss(o, t), o), "expected a scalar tensor, the mean over the batch, got tuple"),
        (lambda o, t: F.mse_loss(o, t).item(), "expected a scalar tensor, the mean over the batch, got float"),
        (lambda o, t: F.mse_loss(o, t).detach(), r"got one without a gradient.*without \.item\(\), \.detach\(\)"),
        (lambda o, t: (o.argmax(dim=1) == 0).double().mean(), "got one without a gradient"),
        (lambda o, t: F.mse_loss(o, t[:, :2].clone()), r"model or the loss failed .*RuntimeError.*float64 \(7, 4\)"),
        (lambda o, t: o.numbers, "failed .*AttributeError"),
        (lambda o, t: o["logits"].mean(), "failed .*IndexError|failed .*TypeError"),
    ],
    ids=["none", "tuple", "float", "detached", "argmax", "shapes", "attribute", "key"],
)  # fmt: skip
def test_losses_of_another_kind(loss, message):
    loader = of(*draw())
    with pytest.raises(InputError, match=f"training loss: .*{message}"):
        build(loss, loader)
    with pytest.raises(InputError, match=f"test loss: .*{message}"):
        build(F.mse_loss, loader, eval_loss=loss)


class Ragged(Dataset):
    """Rows of different lengths; the loader pads them."""

    def __init__(self, n=20):
        self.x = [torch.randn(2 + i % 5, D, generator=torch.Generator().manual_seed(i)).double() for i in range(n)]
        self.y = draw(n=n)[1]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], self.y[row]


def padded(items):
    return nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True), torch.stack([y for _, y in items])


class Pooled(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.inner, self.pool = linear(), pool

    def forward(self, x):
        return self.inner(self.pool(x))


def test_padding_may_not_change_a_row():
    loader = DataLoader(Ragged(), 4, collate_fn=padded)
    sums, means = Pooled(lambda x: x.sum(dim=1)), Pooled(lambda x: x.mean(dim=1))
    assert unlearn.TrainedModule(sums, F.mse_loss, loader, loader, damp=0.1).influences().shape == (20,)
    with pytest.raises(InputError, match="expected a mean over independent rows"):
        unlearn.TrainedModule(means, F.mse_loss, loader, loader, damp=0.1)
    with pytest.raises(InputError, match="root of a mean"):
        unlearn.TrainedModule(sums, lambda o, t: F.mse_loss(o, t).sqrt(), loader, loader, damp=0.1)


def test_a_collate_function_that_looks_at_its_batch_is_refused():
    def centred(items):
        x, y = (torch.stack(part) for part in zip(*items, strict=True))
        return x - x.mean(dim=0), y

    loader = DataLoader(TensorDataset(*draw()), 7, collate_fn=centred)
    with pytest.raises(InputError, match="expected a mean over independent rows"):
        build(F.mse_loss, loader)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_fits_to_rounding_is_no_offender(dtype):
    """Losses that consist of rounding errors differ between one pass and another."""
    x, _ = draw(dtype=dtype)
    model = linear(dtype=dtype)
    with torch.no_grad():
        y = model(x) + 0.0
    assert build(F.mse_loss, of(1000 * x, 1000 * y + 0.0), model=copy.deepcopy(model)).damping > 0
    for parameter in model.parameters():
        with torch.no_grad():
            parameter += 0.0
    assert build(F.mse_loss, of(x, y), model=model).damping > 0


def test_every_batch_is_looked_at_once_and_side_by_side(monkeypatch):
    """The rows by themselves, their batches and batches of rows far apart take few calls of the model."""
    calls = []

    class Counted(nn.Linear):
        def forward(self, x):
            calls.append(None)
            return super().forward(x)

    n = 2000
    x, y = draw(n=n)
    model = Counted(D, C).double()
    flat = PairObjective(F.mse_loss)
    module = CGInfluenceModule(model, flat, of(x, y, 4), None, "cpu", damp=0.1, preconditioner="none")
    assert module.risk.vectorised
    assert len(calls) < 50


def test_rows_that_vmap_refuses_are_checked_one_by_one():
    def stubborn(o, t):
        value = F.mse_loss(o, t)
        return value if value.item() >= 0 else -value

    assert build(stubborn, of(*draw())).influences().shape == (N,)
    with pytest.raises(InputError, match="root of a mean"):
        build(lambda o, t: stubborn(o, t).sqrt(), of(*draw()))


@given(
    st.integers(2, 40), st.integers(1, 12), st.sampled_from(sorted(NOT_MEANS)), st.booleans(), st.integers(0, 5)
)  # fmt: skip
def test_no_scores_of_a_loss_that_is_no_mean(n, size, name, judged, seed):
    """Whatever the number of rows and their batches."""
    x, y = draw(seed, n)
    loss = NOT_MEANS[name][0]
    with pytest.raises(InputError, match="expected a mean over independent rows"):
        build(F.mse_loss if judged else loss, of(x, y, size), eval_loss=loss)


MEANS = [
    F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss,
    lambda o, t: ((o - t).abs() / t.abs()).mean(),
    lambda o, t: torch.maximum(0.9 * (t - o), 0.1 * (o - t)).mean(),
    lambda o, t: (o - t).square().mean(dim=1).sqrt().mean(),
    lambda o, t: -F.log_softmax(o, dim=1)[:, 0].mean(),
]  # fmt: skip


@given(
    st.integers(1, 40), st.integers(1, 12), st.integers(0, len(MEANS) - 1), st.integers(0, 5),
    st.sampled_from([torch.float32, torch.float64]), st.sampled_from([1e-6, 1.0, 1e6]),
)  # fmt: skip
def test_means_over_rows_are_let_through(n, size, which, seed, dtype, scale):
    x, y = draw(seed, n, dtype=dtype)
    loader = of(x, scale * y, size)
    module = CGInfluenceModule(linear(dtype=dtype), PairObjective(MEANS[which]), loader, loader, "cpu", damp=0.1)
    assert module.risk.samples.size == n


@given(st.integers(3, 50), st.integers(1, 12), st.integers(0, 1000))
def test_one_weighted_row_is_found(n, size, seed):
    """A loss that counts rows of one kind twice and divides by the sum of the weights; one row is of that kind."""
    x, y = draw(seed, n)
    row = seed % n
    y[row, 0] = 50.0

    def loss(o, t):
        weights = 1.0 + (t[:, 0] == 50.0)
        return (weights * (o - t).square().mean(dim=1)).sum() / weights.sum()

    with pytest.raises(InputError, match="expected a mean over independent rows"):
        build(loss, of(x, y, size))


def test_per_sample_losses_of_modules_are_those_of_single_rows():
    x, y = draw()
    assert ModuleObjective(linear(), x, y).n_samples == N
    by_mean = lambda o, t: mean_squared_error(o, t) / t.mean()  # noqa: E731
    with pytest.raises(InputError, match="loss: expected the value of each sample to be its own"):
        ModuleObjective(linear(), x, y, loss=by_mean, chunk=7)
    with pytest.raises(InputError, match="loss: expected the value of each sample to be its own"):
        ModuleObjective(Centred(), x, y)
