"""What influence modules refuse, with cause and remedy, before any work."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler, TensorDataset

from tests.influence.problems import Ridge, RidgeProblem
from unlearn.errors import ConvergenceError, InputError, SingularHessianError
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule, LiSSAInfluenceModule

N, D = 20, 4


def data(seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=random), torch.randn(N, 1, generator=random)


def build(model=None, objective=None, train=None, test=None, kind=CGInfluenceModule, **options):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*data()), 5)
    return kind(
        model or nn.Linear(D, 1), objective or Ridge(0.1), loader if train is None else train,
        loader if test is None else test, "cpu", **{"damp": 0.0, **options},
    )  # fmt: skip


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(*data(), strict=True)


class Augmented(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, row):
        X, Y = data()
        return X[row] + torch.randn(D), Y[row]


def of(dataset=None, **options):
    return DataLoader(TensorDataset(*data()) if dataset is None else dataset, **{"batch_size": 6, **options})


@pytest.mark.parametrize("place", ["train", "test"])
@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (lambda: of(drop_last=True), r"drop_last=True leaves out the last 2 of 20 rows"),
        (lambda: of(sampler=SubsetRandomSampler(range(7))), "gives 7 of the data set's 20 rows in 7 draws"),
        (lambda: of(sampler=[1, 2, 3]), "gives 3 of the data set's 20 rows .*each counted once"),
        (lambda: of(sampler=RandomSampler(range(N), replacement=True, num_samples=80)), "rows in 80 draws"),
        (lambda: DataLoader(Stream(), 6), "expected a data set with a length and indices, got an iterable one"),
        (lambda: of(batch_size=None), "expected a batch size"),
        (lambda: of(TensorDataset(*(part[:0] for part in data()))), "expected samples, got an empty data set"),
        (lambda: [data()], r"expected a torch\.utils\.data\.DataLoader, got list"),
        (lambda: of(Augmented()), "two passes"),
        (lambda: of(collate_fn=lambda items: "a text"), "expected tensors in tuples, lists or dicts, got str"),
    ],
    ids=[
        "drops", "samples", "picks", "repeats", "streams", "no batch", "empty", "none", "random", "text",
    ],
)  # fmt: skip
def test_loaders(place, loader, message):
    with pytest.raises(InputError, match=message):
        build(**{place: loader()})


@pytest.mark.parametrize("options", [{"shuffle": True}, {"shuffle": True, "drop_last": True}])
def test_rows_of_a_loader_that_shuffles_are_those_of_its_data_set(options):
    plain, shuffled = (build(train=loader, test=loader) for loader in (of(), of(**options)))
    rows = range(N)
    torch.testing.assert_close(shuffled.influences(rows, rows), plain.influences(rows, rows))


def test_checking_a_loader_leaves_random_generators_alone():
    generator = torch.Generator().manual_seed(5)
    sampler, model = RandomSampler(range(N), generator=generator), nn.Linear(D, 1)
    torch.manual_seed(1)
    expected = torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(1)
    CGInfluenceModule(model, Ridge(0.1), of(sampler=sampler), of(), "cpu", damp=0.0)
    assert torch.equal(torch.rand(1), expected[0])
    assert torch.equal(torch.rand(1, generator=generator), expected[1])


class Cropped(Augmented):
    """One column and two in turn."""

    calls = 0

    def __getitem__(self, row):
        X, Y = data()
        self.calls += 1
        return X[row][: 1 + self.calls % 2], Y[row]


def test_a_data_set_that_changes_its_shapes_is_random_too():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.scale * x.mean(dim=1, keepdim=True)

    with pytest.raises(InputError, match="training data: two passes over the same rows differ"):
        build(Mean(), train=DataLoader(Cropped(), 1))


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(D, 1)

    def forward(self, x):
        return F.dropout(self.inner(x), 0.5, training=True)


class Mixing(nn.Module):
    """Batch norm by the statistics of the batch, also in evaluation mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.BatchNorm1d(D, track_running_stats=False), nn.Linear(D, 1))

    def forward(self, x):
        return self.inner(x) if len(x) > 1 else self.inner(torch.cat([x, -x]))[:1]


class Summed(Ridge):
    def train_loss_on_outputs(self, outputs, batch):
        return F.mse_loss(outputs, batch[1], reduction="sum")


class Unreduced(Ridge):
    def train_loss_on_outputs(self, outputs, batch):
        return F.mse_loss(outputs, batch[1], reduction="none")


class NoisyTest(Ridge):
    def test_loss(self, model, params, batch):
        return super().test_loss(model, params, batch) + torch.rand(())


def frozen():
    return nn.Linear(D, 1).requires_grad_(False)


def poisoned():
    model = nn.Linear(D, 1)
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Noisy()}, r"two passes over the same batch give .* and .*; expected a deterministic model"),
        ({"model": Mixing()}, r"expected a mean over independent rows.*batch norm without running statistics"),
        ({"objective": Summed(0.1)}, r"expected a mean over independent rows\. Use reduction='mean'"),
        ({"objective": Unreduced(0.1)}, r"expected a scalar, the mean over the batch, got shape \(5, 1\)"),
        ({"objective": NoisyTest(0.1)}, "test loss: two passes over the same batch give"),
        ({"model": frozen()}, "expected trainable parameters, got none"),
        ({"model": poisoned()}, r"parameters: expected finite values, got NaN or infinity; was the model trained\?"),
        ({"model": nn.Sequential(nn.Linear(D, 2), nn.Linear(2, 1).double())}, "parameters of one floating dtype"),
        ({"damp": -1.0}, "damp: expected a number of at least 0"),
        ({"damp": "much"}, 'expected a number of at least 0 or "auto"'),
        ({"memory_mb": 0}, "memory_mb: expected a number above 0"),
        ({"tolerance": 1e-3}, "expected some of M, atol, callback, maxiter, rtol, tol, x0; got tolerance"),
        ({"tol": 1e-3, "rtol": 1e-3}, "expected rtol or tol, its old name, got both"),
        ({"preconditioner": "magic"}, "preconditioner: expected one of auto, block, none, nystrom"),
        ({"kind": LiSSAInfluenceModule, "repeat": 0, "depth": 1, "scale": 1.0}, "repeat: expected a number above 0"),
        ({"kind": LiSSAInfluenceModule, "repeat": 1, "depth": 1.5, "scale": 1.0}, "depth: expected a whole number"),
        ({"kind": LiSSAInfluenceModule, "repeat": 1, "depth": 1, "scale": 0}, "scale: expected a number above 0"),
    ],
)  # fmt: skip
def test_models_and_settings(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_rows():
    module = build()
    for rows in ([-1], [N], [0, 99]):
        with pytest.raises(IndexError, match="expected rows from 0 to 19"):
            module.train_loss_grad(rows)
        with pytest.raises(IndexError):
            module.influences([0], rows)
        with pytest.raises(IndexError):
            module.influences(rows, [0])
    for call in (module.train_loss_grad, module.test_loss_grad, module.stest):
        with pytest.raises(ValueError, match="expected each row once"):
            call([2, 2, 3])
        with pytest.raises(ValueError, match="expected at least one row, got none"):
            call([])
    assert module.influences([], [0]).shape == (0,)


def test_vectors():
    module = build()
    with pytest.raises(InputError, match=r"vec: expected shape \(5,\)"):
        module.inverse_hvp(torch.zeros(4))
    with pytest.raises(InputError, match=r"stest: expected shape \(5,\) or \(5, k\), got \(4,\)"):
        module.influences([0], [0], stest=torch.zeros(4))
    for call in (module.inverse_hvp, lambda vec: module.influences([0], [0], stest=vec)):
        with pytest.raises(InputError, match="expected finite values"):
            call(torch.full((5,), float("nan")))


def bad_row(value, row=13):
    X, Y = data()
    X[row] = value
    return of(TensorDataset(X, Y))


def test_a_row_without_a_finite_loss_is_named():
    module = build(train=bad_row(float("inf")))
    with pytest.raises(InputError, match=r"training loss: expected a finite value, got nan|got inf"):
        module.inverse_hvp(torch.ones(5))
    with pytest.raises(InputError, match="in row 13"):
        module.influences(range(N), [0], stest=torch.ones(5))
    with pytest.raises(InputError, match="among 3 rows from 12 to 14"):
        module.train_loss_grad([12, 13, 14])
    with pytest.raises(InputError, match=r"test loss: expected a finite value.*in row 13"):
        build(test=bad_row(float("inf"))).test_loss_grad([13])


class Root(Ridge):
    """A loss whose slope is infinite where the residual is 0."""

    def train_loss_on_outputs(self, outputs, batch):
        return (outputs - batch[1]).abs().sqrt().mean()


def test_a_gradient_that_is_not_finite_is_refused():
    X, Y = data()
    model = nn.Linear(D, 1)
    with torch.no_grad():
        Y[9] = model(X[9:10])[0]
    module = build(model, Root(0.1), train=of(TensorDataset(X, Y)))
    with pytest.raises(InputError, match=r"training gradient: expected finite values.*in row 9.*roots"):
        module.train_loss_grad([9])


class Saddle(Ridge):
    """Curved downwards along every weight."""

    def train_regularization(self, params):
        return -20.0 * params.square().sum()


@pytest.mark.parametrize("damp", [0.0, 1.0])
def test_an_indefinite_hessian_is_no_minimum(damp):
    module = build(objective=Saddle(0.0), damp=damp)
    with pytest.raises(ConvergenceError, match=r'not positive definite.*Pass gnh=True.*damp="auto"'):
        module.inverse_hvp(torch.ones(5))
    with pytest.raises(ValueError, match=r"is not positive definite: its eigenvalues run from -"):
        build(objective=Saddle(0.0), kind=AutogradInfluenceModule, damp=damp, check_eigvals=True)


def test_the_dense_inverse_of_a_saddle_is_refused_only_undamped():
    with pytest.raises(InputError, match="not positive definite"):
        build(objective=Saddle(0.0), kind=AutogradInfluenceModule)
    with pytest.warns(UserWarning, match="Scores at a saddle point mean little"):
        module = build(objective=Saddle(0.0), kind=AutogradInfluenceModule, damp=1.0)
    vector = torch.ones(5)
    torch.testing.assert_close(module.operator(damping=1.0).matvec(module.inverse_hvp(vector)), vector)
    chosen = build(objective=Saddle(0.0), kind=AutogradInfluenceModule, damp="auto", check_eigvals=True)
    assert chosen.positive_definite
    assert chosen.damp > 35


def test_a_singular_hessian_is_refused():
    X, Y = data()
    X[:, 1] = X[:, 0]
    with pytest.raises(SingularHessianError, match="singular to rounding"):
        build(objective=Ridge(0.0), train=of(TensorDataset(X, Y)), kind=AutogradInfluenceModule)


def test_a_lissa_that_diverges_says_which_scale_it_needs():
    module = build(kind=LiSSAInfluenceModule, repeat=1, depth=400, scale=0.1)
    with pytest.raises(ConvergenceError, match=r"largest eigenvalue is .* scale is 0\.1\. Raise scale"):
        module.inverse_hvp(torch.ones(5))


def test_a_solve_cut_short_warns_and_an_unmet_tolerance_raises():
    problem = RidgeProblem.make()
    vector = torch.ones(11, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"CG: tolerance 1e-10 not met after 2 steps.*cut short by maxiter=2"):
        problem.module(CGInfluenceModule, damp=0.0, maxiter=2, preconditioner="none").inverse_hvp(vector)
    module = problem.module(CGInfluenceModule, damp=0.0, preconditioner="none")
    module._options = replace(module._options, max_iter=3)
    with pytest.raises(ConvergenceError, match=r"CG: tolerance 1e-10 not met after 3 steps.*Raise damp"):
        module.inverse_hvp(vector)
    assert not module.solution.converged


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return slope * (1 - ctx.saved_tensors[0].tanh().square())


class OnceLayer(nn.Module):
    def forward(self, x):
        return Once.apply(x)


def test_a_layer_without_second_derivative_is_named_before_solving():
    module = build(nn.Sequential(nn.Linear(D, 3), OnceLayer(), nn.Linear(3, 1)), damp=10.0)
    assert not module.risk.vectorised
    with pytest.raises(InputError, match=r"cannot be differentiated twice.*freeze that layer"):
        module.inverse_hvp(torch.ones(19))
    # First derivatives are there, so scores are too.
    assert module.influences([1, 2], [0], stest=torch.ones(19)).isfinite().all()


def test_a_model_too_large_for_a_dense_hessian_is_sent_to_cg():
    with pytest.raises(InputError, match=r"the dense Hessian of 4000001 parameters takes .* use CGInfluenceModule"):
        build(nn.Sequential(nn.Linear(D, 10**6, bias=False), Mean()), kind=AutogradInfluenceModule)


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.mean(dim=1, keepdim=True) + self.shift
