"""Scores that go on where they were interrupted."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.influence.problems import N_TRAIN, RidgeProblem
from unlearn.errors import InputError, MismatchError
from unlearn.influence import BaseObjective, CGInfluenceModule, PairObjective
from unlearn.influence.samples import Samples, described, leaves, map_tensors


@pytest.fixture
def module(monkeypatch):
    monkeypatch.setattr("unlearn.influence.scores.ROWS_A_FILE", 30)
    return RidgeProblem.make().module(CGInfluenceModule, damp=0.0)


@pytest.mark.parametrize("stests", [False, True], ids=["one stest", "several"])
def test_an_interrupted_computation_goes_on(module, tmp_path, monkeypatch, stests):
    rows, tests = list(range(N_TRAIN))[::-1], [0, 3]
    given = module.stests(tests) if stests else None
    expected = module.influences(rows, tests, given)
    solves, scored = [], []
    stest_of, scores_of = module.stest, module._scores

    def stest(chosen):
        solves.append(chosen)
        return stest_of(chosen)

    def scores(theta, part, solved):
        if len(scored) == 2:
            scored.append(None)
            raise KeyboardInterrupt
        scored.append(len(part))
        return scores_of(theta, part, solved)

    monkeypatch.setattr(module, "stest", stest)
    monkeypatch.setattr(module, "_scores", scores)
    with pytest.raises(KeyboardInterrupt):
        module.influences(rows, tests, given, checkpoint=tmp_path / "scores")
    found = module.influences(rows, tests, given, checkpoint=tmp_path / "scores")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert scored == [30, 30, None, 30, 10]
    assert len(solves) == (0 if stests else 1)
    assert {path.suffix for path in (tmp_path / "scores").iterdir()} == {".json", ".safetensors"}
    assert not list(tmp_path.rglob(".*"))
    # Finished: nothing is computed again.
    assert torch.equal(module.influences(rows, tests, given, checkpoint=str(tmp_path / "scores")), found)
    assert len(scored) == 5


def test_what_was_kept_belongs_to_one_computation(module, tmp_path):
    module.influences([0, 1], [0], checkpoint=tmp_path)
    assert json.loads((tmp_path / "identity.json").read_text())["rows"] == 2
    for rows, tests, stest in (([1, 0], [0], None), ([0, 1], [1], None), ([0, 1], [0], torch.ones(11))):
        with pytest.raises(MismatchError, match="holds scores of another model, other rows or other settings"):
            module.influences(rows, tests, stest, checkpoint=tmp_path)
    with torch.no_grad():
        module.model.bias += 1
    with pytest.raises(MismatchError):
        module.influences([0, 1], [0], checkpoint=tmp_path)
    with pytest.raises(MismatchError):
        RidgeProblem.make().module(CGInfluenceModule, damp=1.0).influences([0, 1], [0], checkpoint=tmp_path)


def test_scores_of_other_settings_data_or_losses_are_not_reused(tmp_path):
    def module(rtol=1e-10, row=0.0, test_row=0.0, l2=1e-2):
        problem = RidgeProblem.make(l2=l2)
        model = problem.model()
        problem.X[50, 0] += row
        problem.X_test[9, 0] += test_row
        problem.model = lambda: model
        return problem.module(CGInfluenceModule, damp=0.0, rtol=rtol)

    kept = module().influences([0, 1], [0], checkpoint=tmp_path)
    assert torch.equal(module().influences([0, 1], [0], checkpoint=tmp_path), kept)
    for changed in ({"rtol": 1e-2}, {"row": 1.0}, {"test_row": 1.0}):
        with pytest.raises(MismatchError):
            module(**changed).influences([0, 1], [0], checkpoint=tmp_path)
    same_parameters = module()
    same_parameters.objective.l2 = 0.5
    with pytest.raises(MismatchError):
        same_parameters.influences([0, 1], [0], checkpoint=tmp_path)


def test_a_file_is_no_folder(module, tmp_path):
    (tmp_path / "scores").write_text("")
    with pytest.raises(InputError, match="checkpoint: expected a folder, got the file"):
        module.influences([0], [0], checkpoint=tmp_path / "scores")


def test_no_rows_give_no_scores(module, tmp_path):
    assert module.influences(np.array([]), [0], checkpoint=tmp_path).shape == (0,)


class Ragged(Dataset):
    """Rows of different lengths in a nested structure: too odd to be kept in memory as columns."""

    def __init__(self, seed=0, n=14):
        random = torch.Generator().manual_seed(seed)
        self.x = [torch.randn(2 + i % 4, 2, generator=random).double() for i in range(n)]
        self.y = [torch.randn(1, generator=random).double() for _ in range(n)]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], self.y[row]


def padded(items):
    x = nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True)
    return {"in": [x], "out": (torch.stack([y for _, y in items]),)}


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(2, 1)
        self.register_buffer("shift", torch.zeros(1))

    def forward(self, x):
        return self.out(x.sum(dim=1)) + self.shift


class Nested(BaseObjective):
    def __init__(self, l2=0.1, delta=1.0, eval_loss=F.mse_loss):
        self.l2, self.delta, self.eval_loss = l2, delta, eval_loss

    def train_outputs(self, model, batch):
        return model(batch["in"][0])

    def train_loss_on_outputs(self, outputs, batch):
        return F.huber_loss(outputs, batch["out"][0], delta=self.delta)

    def train_regularization(self, params):
        return 0.5 * self.l2 * params.square().sum()

    def test_loss(self, model, params, batch):
        return self.eval_loss(model(batch["in"][0]), batch["out"][0])


def ragged_scores(folder, change=lambda parts: None, size=4, **options):
    torch.manual_seed(0)
    parts = {"train": Ragged(0), "test": Ragged(1), "model": Sums().double(), "objective": Nested()}
    change(parts)
    loaders = [DataLoader(parts[name], size, collate_fn=padded) for name in ("train", "test")]
    options = {"damp": 0.5, "preconditioner": "none", **options}
    module = CGInfluenceModule(parts["model"], parts["objective"], *loaders, "cpu", **options)
    return module.influences(range(14), range(14), checkpoint=folder)


def other_target(which, row):
    def change(parts):
        parts[which].y[row] = parts[which].y[row] + 3.0

    return change


def other_entry(which, row):
    def change(parts):
        parts[which].x[row][-1, -1] += 1e-9

    return change


def set_to(name, value):
    def change(parts):
        with torch.no_grad():
            dict(parts["model"].state_dict())[name].fill_(value)

    return change


CHANGES = {
    **{f"target {row} of {which}": other_target(which, row) for which in ("train", "test") for row in (0, 10, 13)},
    **{f"entry of {row} of {which}": other_entry(which, row) for which in ("train", "test") for row in (3, 13)},
    "a buffer": set_to("shift", 1.0),
    "a parameter": set_to("out.bias", 1.0),
    "l2": lambda parts: parts.update(objective=Nested(l2=0.2)),
    "the loss": lambda parts: parts.update(objective=Nested(delta=0.5)),
    "the eval_loss": lambda parts: parts.update(objective=Nested(eval_loss=F.l1_loss)),
    "a frozen parameter": lambda parts: parts["model"].out.bias.requires_grad_(False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_scores_follow_from_is_noticed(name, tmp_path):
    kept = ragged_scores(tmp_path)
    with pytest.raises(MismatchError, match="holds scores of another model, other rows or other settings"):
        ragged_scores(tmp_path, CHANGES[name])
    assert torch.equal(ragged_scores(tmp_path), kept)


@pytest.mark.parametrize("options", [{"damp": 0.6}, {"gnh": True}, {"rtol": 1e-3}, {"size": 5}])
def test_settings_are_noticed_for_rows_that_are_not_in_memory(options, tmp_path):
    ragged_scores(tmp_path)
    with pytest.raises(MismatchError):
        ragged_scores(tmp_path, **options)


def test_a_loss_that_differs_in_one_late_row_is_noticed(tmp_path):
    """Losses are functions, which have no values to hash: those of all rows are compared."""

    class Capped(PairObjective):
        def __init__(self, cap):
            super().__init__(lambda o, t: (o - t).square().mean(dim=1).clamp(max=cap).mean())

    x = torch.arange(300.0).double()[:, None] / 300
    y = torch.zeros(300, 1).double()
    y[277] = 100.0
    torch.manual_seed(0)
    model = nn.Linear(1, 1).double()
    loader = DataLoader(TensorDataset(x, y), 16)

    def scores(cap):
        module = CGInfluenceModule(model, Capped(cap), loader, None, "cpu", damp=0.5, preconditioner="none")
        return module.influences([0, 1], [], torch.ones(2), checkpoint=tmp_path)

    assert torch.equal(scores(50.0), scores(50.0))
    with pytest.raises(MismatchError):
        scores(60.0)


def test_broken_files_are_named(module, tmp_path):
    module.influences([0, 1], [0], checkpoint=tmp_path)
    (tmp_path / "scores_000000000.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"scores_000000000\.safetensors is broken"):
        module.influences([0, 1], [0], checkpoint=tmp_path)
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(InputError, match=r"identity\.json is broken; remove the folder"):
        module.influences([0, 1], [0], checkpoint=tmp_path)


STRUCTURES = st.recursive(
    st.tuples(
        st.sampled_from([torch.float64, torch.float32, torch.int64, torch.bool, torch.bfloat16]),
        st.lists(st.integers(1, 3), max_size=2),
        st.integers(0, 3),
    ),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text("ab|", max_size=2), inner, min_size=1)
    ),
    max_leaves=5,
)


def made(structure, n):
    if isinstance(structure, tuple):
        dtype, shape, seed = structure
        return torch.randint(0, 2, (n, *shape), generator=torch.Generator().manual_seed(seed)).to(dtype)
    if isinstance(structure, dict):
        return {key: made(value, n) for key, value in structure.items()}
    return [made(value, n) for value in structure]


def fingerprint(batch, n, size=4, kept=True):
    """Of rows that are slices of one batch, in memory or read batch by batch."""
    loader = DataLoader(range(n), size, collate_fn=lambda rows: map_tensors(lambda column: column[rows], batch))
    samples = Samples("rows", loader, "cpu")
    if not kept:
        samples.columns = None
    return samples.fingerprint()


@given(STRUCTURES, st.integers(1, 9), st.booleans(), st.data())
def test_fingerprints_tell_any_change_of_any_row(structure, n, kept, data):
    batch = made(structure, n)
    before = fingerprint(batch, n, kept=kept)
    assert fingerprint(batch, n, kept=kept) == before
    tensors = leaves(batch)
    chosen = tensors[data.draw(st.integers(0, len(tensors) - 1))]
    position = data.draw(st.integers(0, chosen.numel() - 1))
    flat = chosen.view(-1)
    flat[position] = not flat[position] if chosen.dtype == torch.bool else flat[position] + 1
    assert fingerprint(batch, n, kept=kept) != before


@given(STRUCTURES, STRUCTURES)
def test_fingerprints_tell_structures_apart(a, b):
    """Shapes, dtypes and names count, also where the values' bytes are the same."""
    zeros = [map_tensors(torch.zeros_like, made(structure, 3)) for structure in (a, b)]
    same = described(zeros[0]) == described(zeros[1]) and _names(zeros[0]) == _names(zeros[1])
    assert (fingerprint(zeros[0], 3) == fingerprint(zeros[1], 3)) == same


def _names(batch):
    if isinstance(batch, torch.Tensor):
        return None
    pairs = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return [(key, _names(value)) for key, value in pairs]
