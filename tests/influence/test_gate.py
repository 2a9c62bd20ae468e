"""What influence modules take as torch-influence does, and what they refuse instead of failing somewhere inside."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import unlearn
from tests.influence.problems import Ridge, RidgeProblem
from unlearn.errors import InputError, UnlearnError
from unlearn.influence import (
    AutogradInfluenceModule,
    BaseInfluenceModule,
    BaseObjective,
    CGInfluenceModule,
    LiSSAInfluenceModule,
    ModuleObjective,
    PairObjective,
)

N, D = 20, 4
KINDS = {
    "direct": (AutogradInfluenceModule, {}),
    "CG": (CGInfluenceModule, {}),
    "LiSSA": (LiSSAInfluenceModule, {"repeat": 1, "depth": 5, "scale": 20.0}),
}


def tensors():
    random = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=random).double(), torch.randn(N, 1, generator=random).double()


def good():
    return DataLoader(TensorDataset(*tensors()), 5)


def model():
    torch.manual_seed(0)
    return nn.Linear(D, 1).double()


def build(network=None, objective=None, train=None, test=None, device="cpu", **options):
    return CGInfluenceModule(
        model() if network is None else network, objective or Ridge(0.1), good() if train is None else train,
        good() if test is None else test, device, **{"damp": 0.1, **options},
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_without_test_rows_all_else_works(kind):
    made, options = KINDS[kind]
    problem = RidgeProblem.make()
    train = DataLoader(TensorDataset(problem.X[:, :-1], problem.Y), 7)
    module = made(problem.model(), Ridge(problem.l2), train, None, "cpu", damp=0.0, **options)
    vector = torch.arange(11, dtype=torch.float64)
    solved = module.inverse_hvp(vector)
    if kind != "LiSSA":
        torch.testing.assert_close(solved, torch.linalg.solve(problem.hessian(0.0), vector))
    assert module.train_loss_grad([1, 2]).shape == (11,)
    assert module.train_loss_grads([1, 2]).shape == (2, 11)
    assert module.inverse_hvps(torch.eye(11, 2).double()).shape == (11, 2)
    # Test rows are not looked at where a stest is given.
    assert module.influences([0, 1], [], stest=solved).shape == (2,)
    assert module.influences([0, 1], [0], solved).shape == (2,)
    assert module.influence_matrix([0, 1], [0], stests=solved[:, None]).shape == (2, 1)
    for call in (
        lambda: module.test_loss_grad([0]), lambda: module.stest([0]), lambda: module.stests([0]),
        lambda: module.influences([0], [0]), lambda: module.influence_matrix([0], [0]), module.mean_test_loss,
        lambda: next(module._loader_wrapper(train=False)),
    ):  # fmt: skip
        with pytest.raises(InputError, match="test_loader: expected a loader, got None"):
            call()


def test_a_trained_module_without_test_rows_forgets():
    trained = unlearn.TrainedModule(model(), F.mse_loss, good(), None, l2=0.1)
    assert "test_loss_after" not in trained.forget([1, 2]).statistics
    with pytest.raises(InputError, match="test_loader: expected a loader, got None"):
        trained.influences()


def test_scores_of_a_given_stest_resume_without_test_rows(tmp_path):
    module = CGInfluenceModule(model(), Ridge(0.1), good(), None, "cpu", damp=0.1)
    stest = module.inverse_hvp(torch.ones(5))
    kept = module.influences(range(N), [], stest, checkpoint=tmp_path)
    assert torch.equal(module.influences(range(N), [], stest, checkpoint=tmp_path), kept)


#: Names and positions as in torch-influence.
POSITIONS = {
    BaseInfluenceModule: ["model", "objective", "train_loader", "test_loader", "device"],
    AutogradInfluenceModule: ["model", "objective", "train_loader", "test_loader", "device", "damp", "check_eigvals"],
    CGInfluenceModule: ["model", "objective", "train_loader", "test_loader", "device", "damp", "gnh"],
    LiSSAInfluenceModule: [
        "model", "objective", "train_loader", "test_loader", "device", "damp", "repeat", "depth", "scale", "gnh",
        "debug_callback",
    ],
    BaseInfluenceModule.train_loss_grad: ["train_idxs"],
    BaseInfluenceModule.test_loss_grad: ["test_idxs"],
    BaseInfluenceModule.inverse_hvp: ["vec"],
    BaseInfluenceModule.stest: ["test_idxs"],
    BaseInfluenceModule.influences: ["train_idxs", "test_idxs", "stest"],
    BaseInfluenceModule._loader_wrapper: ["train", "batch_size", "subset", "sample_n_batches"],
    BaseInfluenceModule._hvp_at_batch: ["batch", "flat_params", "vec", "gnh"],
    BaseObjective.train_outputs: ["model", "batch"],
    BaseObjective.train_loss_on_outputs: ["outputs", "batch"],
    BaseObjective.train_regularization: ["params"],
    BaseObjective.train_loss: ["model", "params", "batch"],
    BaseObjective.test_loss: ["model", "params", "batch"],
}  # fmt: skip


@pytest.mark.parametrize("place", POSITIONS, ids=lambda place: place.__qualname__)
def test_arguments_have_the_names_and_the_order_of_torch_influence(place):
    parameters = inspect.signature(place).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    assert names == POSITIONS[place]


ROWS = {
    "list": [3, 1], "tuple": (3, 1), "range": range(3, 0, -2), "array": np.array([3, 1]),
    "small": np.array([3, 1], dtype=np.uint8), "numpy numbers": [np.int64(3), np.int32(1)],
    "tensor": torch.tensor([3, 1]), "tensors": [torch.tensor(3), torch.tensor(1)], "index": pd.Index([3, 1]),
}  # fmt: skip


@pytest.mark.parametrize("rows", ROWS)
def test_rows_may_be_given_in_any_of_the_usual_ways(rows):
    module = build()
    expected = module.influences([3, 1], [3, 1])
    torch.testing.assert_close(module.influences(ROWS[rows], ROWS[rows]), expected)
    torch.testing.assert_close(module.train_loss_grad(ROWS[rows]), module.train_loss_grad([3, 1]))
    mask = torch.zeros(N, dtype=torch.bool)
    mask[[1, 3]] = True
    torch.testing.assert_close(module.train_loss_grad(mask), module.train_loss_grad([3, 1]))


@pytest.mark.parametrize("vector", [np.arange(5), np.arange(5.0), torch.arange(5), [0, 1, 2, 3, 4]], ids=type)
def test_vectors_may_hold_whole_numbers(vector):
    module = build()
    expected = module.inverse_hvp(torch.arange(5.0).double())
    torch.testing.assert_close(module.inverse_hvp(vector), expected)
    torch.testing.assert_close(
        module.influences([0], [0], vector), module.influences([0], [0], torch.arange(5.0).double())
    )


def test_regularisation_may_be_a_plain_number():
    class Plain(Ridge):
        def train_regularization(self, params):
            return 0.0

    assert build(objective=Plain(0.0)).influences([0], [0]).shape == (1,)


class Rows(Dataset):
    def __init__(self, row):
        self.row = row

    def __len__(self):
        return N

    def __getitem__(self, i):
        return self.row(i)


class Unmeasured(Rows):
    def __len__(self):
        raise RuntimeError("no length")


class Outputs(nn.Module):
    def __init__(self, pack):
        super().__init__()
        self.inner, self.pack = model(), pack

    def forward(self, x):
        return self.pack(self.inner(x))


class Estimator:
    def predict(self, x):
        return x


def pair(i):
    return tensors()[0][i], tensors()[1][i]


def of(row, **options):
    return DataLoader(Rows(row), 5, **options)


def as_numpy(items):
    return tuple(np.stack([item[k].numpy() for item in items]) for k in (0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": Estimator()}, r"model: expected a trained torch\.nn\.Module, got Estimator.*nn\.Linear with its"),
        ({"network": nn.Linear}, r"model: expected .*, got the class Linear"),
        ({"network": nn.LazyLinear(1)}, "model: expected parameters with values, got weight without a shape"),
        ({"network": Outputs(lambda y: (y, y))}, "training loss: the model or the loss failed .*tuple"),
        ({"network": Outputs(lambda y: {"y": y})}, "training loss: the model or the loss failed .*dict"),
        ({"objective": Ridge}, r"objective: expected an object of a subclass .*, got the class Ridge"),
        ({"objective": F.mse_loss}, r"got function without train_outputs.*PairObjective\(loss\) is one"),
        ({"train": tensors()}, "train_loader: expected a torch.utils.data.DataLoader, got tuple"),
        ({"test": [tensors()]}, "test_loader: expected a torch.utils.data.DataLoader, got list"),
        ({"train": DataLoader([], 5)}, "train_loader: expected samples, got an empty data set"),
        ({"test": DataLoader(TensorDataset(*tensors()), batch_sampler=[[0], [1]])}, "expected a batch size"),
        ({"train": DataLoader(Unmeasured(pair), 5)}, "expected a data set with a length, got RuntimeError: no length"),
        ({"test": of(lambda i: {}["k"])}, r"test_loader: expected .* rows 0 to 4 by their index, got KeyError"),
        ({"train": of(lambda i: pair(i) if i < 13 else 1 / 0)}, r"rows 10 to 14 .*got ZeroDivisionError: division"),
        ({"train": of(lambda i: None)}, "expected a collate_fn that makes a batch of 5 rows, got TypeError"),
        ({"train": of(lambda i: (pair(i)[0][: 1 + i % 2], pair(i)[1]))}, "expected a collate_fn .*got RuntimeError"),
        ({"train": of(lambda i: ("name", pair(i)[1]))}, "expected tensors in tuples, lists or dicts, got str"),
        ({"train": of(pair, collate_fn=as_numpy)}, r"got ndarray; give the loader a collate_fn that makes tensors"),
        ({"train": of(lambda i: pair(i)[0])}, "training loss: the model or the loss failed"),
        ({"test": of(lambda i: (pair(i)[0][:3], pair(i)[1]))}, r"test loss: .*failed .*float64 \(5, 3\)"),
        ({"test": of(lambda i: (pair(i)[0].float(), pair(i)[1]))}, r"model and data: expected dtypes that go together"),
        ({"device": "gpu"}, "device: expected one that this machine has, such as 'cpu' or 'cuda', got 'gpu'"),
        ({"device": "cuda:99"}, "device: expected one that this machine has"),
        ({"device": "meta"}, "device: expected one that this machine has"),
        ({"device": 1.5}, "device: expected one that this machine has"),
        ({"damp": None}, "damp: expected a number of at least 0, got None"),
        ({"memory_mb": "all"}, "memory_mb: expected a number above 0"),
        ({"M": 3}, "M: expected what SciPy's cg takes, got int"),
        ({"callback": 3}, "callback: expected what SciPy's cg takes, got int"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_our_own_words(options, message):
    with pytest.raises(InputError, match=message) as caught:
        build(**options)
    assert len(str(caught.value).splitlines()) == 1
    assert ".." not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Outputs(lambda y: (y, y))}, "model: expected a tensor of outputs, got tuple; wrap it in a module"),
        ({"model": Outputs(lambda y: {"y": y})}, "model: expected a tensor of outputs, got dict"),
        ({"model": Estimator()}, "model: expected a trained torch.nn.Module, got Estimator"),
        ({"loss": nn.MSELoss}, "loss: expected a function of outputs and targets, got the class MSELoss; make one"),
        ({"loss": lambda outputs: outputs.mean()}, "training loss: the model or the loss failed .*2 were given"),
        ({"eval_loss": "mse"}, "eval_loss: expected a function of outputs and targets, got str"),
        ({"train_loader": DataLoader(tensors()[0], 5)}, "expected .inputs, targets., got a Tensor"),
        ({"train_loader": None}, "train_loader: expected a torch.utils.data.DataLoader, got NoneType"),
        ({"l2": "much"}, "l2: expected a number of at least 0"),
    ],
)  # fmt: skip
def test_trained_modules_refuse_likewise(options, message):
    given = {"model": model(), "loss": F.mse_loss, "train_loader": good(), "test_loader": good(), **options}
    with pytest.raises(InputError, match=message):
        unlearn.TrainedModule(**given)


STRANGE = {
    "nothing": None, "one number": 3, "fractions": [1.0], "texts": ["a"], "text": "0", "negative": [-1],
    "a set": {1, 2}, "a generator": (i for i in [1]), "ragged": [[1], [2, 3]], "huge": [2**70],
    "unsigned": np.array([2**63], np.uint64),
    "two axes": [[1, 2]], "NaN": [float("nan")], "short mask": [True], "objects": [object()], "twice": [1, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_rows_and_vectors_of_other_kinds(name):
    value, module = STRANGE[name], build()
    trained = unlearn.TrainedModule(model(), F.mse_loss, good(), good(), damp=0.1)
    calls = [
        module.train_loss_grad, module.test_loss_grad, module.stest, module.stests, trained.forget, module.inverse_hvp,
        lambda rows: module.influences(rows, [0]), lambda rows: module.influences([0], rows),
        lambda vector: module.influences([0], [0], vector) if vector is not None else module.stest(None),
        lambda vector: module.mean_test_loss(vector) if vector is not None else module.stest(None),
        lambda rows: module.operator(rows=rows) if rows is not None else module.stest(None),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(UnlearnError):
            call(value)
    if name != "one number":
        with pytest.raises(UnlearnError):
            trained.most_harmful(value)
    if not isinstance(value, str | None):
        with pytest.raises(UnlearnError, match="checkpoint: expected a folder"):
            module.influences([0], [0], checkpoint=value)


def test_matrices_for_cg_have_to_fit():
    module = build(M=np.eye(3))
    with pytest.raises(InputError, match=r"M: expected shape \(5, 5\), got \(3, 3\)"):
        module.inverse_hvp(torch.ones(5))
    with pytest.raises(UnlearnError, match=r"expected shape \(5,\)"):
        build(x0=np.ones(3)).inverse_hvp(torch.ones(5))


def test_tuples_are_fine_for_objectives_that_expect_them():
    class First(Ridge):
        def train_outputs(self, model, batch):
            return model(batch[0])

        def train_loss_on_outputs(self, outputs, batch):
            return F.mse_loss(outputs[0], batch[1])

        def test_loss(self, model, params, batch):
            return F.mse_loss(model(batch[0])[0], batch[1])

    module = build(network=Outputs(lambda y: (y, 2 * y)), objective=First(0.1), preconditioner="none")
    torch.testing.assert_close(module.influences(range(N), range(N)), build().influences(range(N), range(N)))
    with pytest.raises(InputError, match=r"expected a tensor of outputs, got tuple; .*use the Hessian"):
        build(network=Outputs(lambda y: (y, y)), objective=First(0.1), gnh=True).inverse_hvp(torch.ones(5))


def test_a_model_that_loses_the_axis_of_one_row_is_told():
    x, y = tensors()
    loader = DataLoader(TensorDataset(x, y[:, 0]), 5)
    with pytest.raises(InputError, match=r"got \(1,\).*outputs\.squeeze\(-1\)"):
        unlearn.TrainedModule(Outputs(torch.squeeze), F.mse_loss, loader, loader, damp=0.1)
    last = Outputs(lambda outputs: outputs.squeeze(-1))
    assert unlearn.TrainedModule(last, F.mse_loss, loader, loader, damp=0.1).influences().shape == (N,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": Estimator()}, "model: expected a trained torch.nn.Module"),
        ({"module": Outputs(lambda y: (y,))}, r"module: expected a tensor of outputs \(n, B\), got tuple"),
        ({"inputs": tensors()[0][:, :3]}, r"module: expected .* inputs of shape \(20, 3\), got RuntimeError"),
        ({"inputs": "text"}, "inputs: expected a tensor of numbers, got str"),
        ({"targets": None}, "targets: expected a tensor of numbers, got NoneType"),
        ({"loss": lambda o, t: 0.0}, r"loss: expected one value per sample, shape \(20,\), got float"),
    ],
)  # fmt: skip
def test_objectives_of_modules_refuse_likewise(change, message):
    given = {"module": model(), "inputs": tensors()[0], "targets": tensors()[1], **change}
    with pytest.raises(InputError, match=message):
        ModuleObjective(**given)


def test_objectives_of_modules_take_arrays():
    x, y = tensors()
    found = ModuleObjective(model(), x.numpy(), y.numpy())
    expected = ModuleObjective(model(), x, y)
    torch.testing.assert_close(found.losses(found.theta), expected.losses(expected.theta))


def test_what_is_printed_is_short():
    trained = unlearn.TrainedModule(model(), F.mse_loss, good(), good(), damp=0.5)
    assert repr(trained) == (
        "TrainedModule(Linear of 5 trained parameters, mse_loss, 20 training and 20 test rows, damping 0.5)"
    )
    assert repr(trained.forget([1, 2])) == "ForgottenModule(Linear, rows removed: 2, not complete)"
    assert "CGInfluenceModule(Linear of 5 trained parameters" in repr(build())
    assert repr(PairObjective(F.mse_loss, 0.1)) == "PairObjective(mse_loss, l2=0.1, eval_loss=mse_loss)"
