"""What K-FAC refuses, and that it does so without the package it needs."""

import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.influence.kfac_models import B, D, N, Plain, kfac, loader, normal, perceptron, seeded
from unlearn.errors import InputError
from unlearn.influence import KFACInfluenceModule


@pytest.fixture
def without_package(monkeypatch):
    """Whatever is refused, is refused before curvlinops is asked for anything."""
    monkeypatch.setattr("unlearn.influence.kronecker.require_curvlinops", lambda: None)
    monkeypatch.setitem(sys.modules, "curvlinops", None)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(InputError, match=r"expected the package curvlinops, .* pip install --no-deps curvlinops"):
        kfac(seeded(perceptron), normal(N, D), normal(N, B))


class Twice(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.first, self.second = nn.Linear(D, D), nn.Linear(D, D)
        self.second.weight = self.first.weight if tied else self.second.weight
        self.last, self.tied = nn.Linear(D, B), tied

    def forward(self, inputs):
        return self.last((self.second if self.tied else self.first)(self.first(inputs).tanh()))


class Attention(nn.Module):
    """Its output projection is used, but never called."""

    def __init__(self):
        super().__init__()
        self.mixed, self.last = nn.MultiheadAttention(D, 1, batch_first=True), nn.Linear(D, B)
        self.mixed.in_proj_weight.requires_grad_(False)
        self.mixed.in_proj_bias.requires_grad_(False)

    def forward(self, inputs):
        return self.last(self.mixed(inputs[:, None], inputs[:, None], inputs[:, None])[0][:, 0])


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.LayerNorm(D), nn.Linear(D, B)), r"not the parameter 0\.weight of LayerNorm; freeze"),
        (
            lambda: nn.Sequential(nn.Unflatten(1, (D, 1)), nn.Conv1d(D, B, 1), nn.Flatten()),
            r"not the parameter 1\.weight of Conv1d",
        ),
        (
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, B, 3, padding=1, padding_mode="circular"), nn.Flatten(),
                nn.Linear(4 * B, B),
            ),
            "padding_mode='zeros', not 'circular' of the layer 1",
        ),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(D, B)), r"not the parameter parametrizations\.weight"),
        (lambda: Twice(tied=True), r"first\.weight is shared"),
        (lambda: Twice(tied=False), r"second\.weight is unused; freeze it"),
        (lambda: nn.Sequential(layer := nn.Linear(D, D), nn.Tanh(), layer, nn.Linear(D, B)), "is shared"),
        (Attention, r"mixed\.out_proj is called 0 times"),
    ],
    ids=["layer norm", "conv1d", "padding", "weight norm", "tied", "unused", "same layer", "attention"],
)  # fmt: skip
def test_layers_without_factors_are_refused(make, message):
    with pytest.raises(InputError, match=message) as caught:
        kfac(seeded(make), normal(N, D), normal(N, B))
    assert "CGInfluenceModule" in str(caught.value)


@pytest.mark.usefixtures("without_package")
def test_a_layer_that_is_called_twice_is_refused():
    model = seeded(lambda: Twice(tied=False))
    model.second.requires_grad_(False)
    with pytest.raises(InputError, match="first is called 2 times"):
        kfac(model, normal(N, D), normal(N, B))


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.L1Loss(), "expected nn.MSELoss, nn.CrossEntropyLoss or nn.BCEWithLogitsLoss, got L1Loss"),
        (nn.MSELoss(reduction="sum"), "expected reduction='mean' and no weights, got reduction='sum'"),
        (nn.CrossEntropyLoss(weight=torch.ones(B)), "got reduction='mean' and weight"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(B)), "and pos_weight"),
        (nn.BCEWithLogitsLoss(), r"on the first 4 rows BCEWithLogitsLoss gives [-\d.]+, the objective's train_loss_on"),
    ],
)
def test_losses_whose_curvature_is_another_are_refused(given, message):
    rows = loader(normal(N, D), normal(N, B, seed=1))
    with pytest.raises(InputError, match=message):
        KFACInfluenceModule(seeded(perceptron), Plain(), rows, rows, "cpu", 0.1, loss_function=given)


class SquaredUpToOne(nn.HuberLoss):
    """The squared error of errors below 1, as those of the first rows are."""

    def forward(self, outputs, targets):
        return 2 * super().forward(outputs, targets)


class HalfOfSquares(Plain):
    def train_loss_on_outputs(self, outputs, batch):
        return 0.5 * self.loss(outputs, batch[1])


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize("objective", [HalfOfSquares(), Plain(SquaredUpToOne())], ids=["scale", "elsewhere"])
def test_an_objective_with_another_loss_is_refused(objective):
    rows = loader(0.1 * normal(N, D), 0.1 * normal(N, B, seed=1))
    with pytest.raises(InputError, match="expected the same values"):
        KFACInfluenceModule(seeded(perceptron), objective, rows, rows, "cpu", 0.1, loss_function=nn.MSELoss())


class Named(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, row):
        return {0: normal(D, seed=row), 1: normal(B, seed=row)}


@pytest.mark.usefixtures("without_package")
def test_batches_and_shapes_that_curvlinops_cannot_read_are_refused():
    rows = DataLoader(Named(), batch_size=8)
    with pytest.raises(InputError, match=r"batch: K-FAC expects \(inputs, targets\), got dict of 2"):
        KFACInfluenceModule(seeded(perceptron), Plain(), rows, rows, "cpu", 0.1, loss_function=nn.MSELoss())
    flat = seeded(lambda: nn.Sequential(nn.Linear(D, 1), nn.Flatten(0)))
    with pytest.raises(InputError, match=r"outputs: expected shape \(n, B\) or more axes, got \(4,\)"):
        kfac(flat, normal(N, D), normal(N))
    with pytest.raises(InputError, match=r"outputs: expected shape \(n, B\), got \(4, 2, 3\)"):
        kfac(seeded(lambda: nn.Linear(D, B)), normal(N, 2, D), normal(N, 2, B), eigenvalue_correction=True)
    with pytest.raises(InputError, match="fisher_type: expected one of mc, type-2; got 'empirical'"):
        kfac(seeded(perceptron), normal(N, D), normal(N, B), fisher_type="empirical")
