"""Small problems with known answers, as users of the influence modules write them down."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from unlearn.influence import BaseObjective

N_TRAIN, N_TEST, D = 100, 10, 11


class Ridge(BaseObjective):
    def __init__(self, l2):
        self.l2 = l2

    def train_outputs(self, model, batch):
        return model(batch[0])

    def train_loss_on_outputs(self, outputs, batch):
        return F.mse_loss(outputs, batch[1])

    def train_regularization(self, params):
        return 0.5 * self.l2 * params.square().sum()

    def test_loss(self, model, params, batch):
        return F.mse_loss(model(batch[0]), batch[1])


class Logistic(Ridge):
    """Probabilities as outputs, as in the library's documentation."""

    def train_outputs(self, model, batch):
        return torch.sigmoid(model(batch[0]))

    def train_loss_on_outputs(self, outputs, batch):
        return F.binary_cross_entropy(outputs, batch[1])

    def test_loss(self, model, params, batch):
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])


def loaders(train, test, batch_size):
    return DataLoader(TensorDataset(*train), batch_size), DataLoader(TensorDataset(*test), batch_size)


@dataclass
class RidgeProblem:
    """`(1/n)‖Xw − y‖² + (l2/2)‖w‖²`, intercept last, with its closed forms in float64."""

    X: Tensor
    Y: Tensor
    X_test: Tensor
    Y_test: Tensor
    l2: float
    dtype: torch.dtype

    @classmethod
    def make(cls, dtype=torch.float64, l2=1e-2):
        random = torch.Generator().manual_seed(0)
        X = torch.randn(N_TRAIN + N_TEST, D, generator=random, dtype=torch.float64)
        X[:, -1] = 1.0
        Y = X @ torch.randn(D, 1, generator=random, dtype=torch.float64) * 10
        Y = Y + torch.randn(Y.shape, generator=random, dtype=torch.float64)
        # Both dtypes see the same numbers.
        X, Y = X.to(dtype), Y.to(dtype)
        return cls(X[:N_TRAIN], Y[:N_TRAIN], X[N_TRAIN:], Y[N_TRAIN:], l2, dtype)

    def solution(self, keep=slice(None)):
        X, Y = self.X[keep].double(), self.Y[keep].double()
        return torch.linalg.solve(X.T @ X + 0.5 * len(X) * self.l2 * torch.eye(D), X.T @ Y)[:, 0]

    def hessian(self, damp):
        X = self.X.double()
        return 2 / len(X) * X.T @ X + (damp + self.l2) * torch.eye(D, dtype=torch.float64)

    def gradient(self, weights, rows, train):
        X, Y = (self.X, self.Y) if train else (self.X_test, self.Y_test)
        X, Y = X[rows].double(), Y[rows].double()
        slope = 2 / len(X) * X.T @ (X @ weights - Y[:, 0])
        return slope + (self.l2 * weights if train else 0.0)

    def test_loss(self, weights, rows):
        return (self.X_test[rows].double() @ weights - self.Y_test[rows, 0].double()).square().mean()

    def model(self, weights=None):
        weights = self.solution() if weights is None else weights
        model = nn.Linear(D - 1, 1).to(self.dtype)
        with torch.no_grad():
            model.weight.copy_(weights[None, :-1])
            model.bias.copy_(weights[-1:])
        return model

    def module(self, kind, batch_size=7, **options):
        train, test = loaders((self.X[:, :-1], self.Y), (self.X_test[:, :-1], self.Y_test), batch_size)
        return kind(
            model=self.model(), objective=Ridge(self.l2), train_loader=train, test_loader=test, device="cpu", **options
        )
