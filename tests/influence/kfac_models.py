"""Small models and rows for the tests of K-FAC."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unlearn.influence import BaseObjective, KFACInfluenceModule

N, D, B = 60, 4, 3


class Plain(BaseObjective):
    """A loss function of torch.nn and `l2 ‖θ‖²`."""

    def __init__(self, loss=None, l2=0.0):
        self.loss, self.l2 = loss or nn.MSELoss(), l2

    def train_outputs(self, model, batch):
        return model(batch[0])

    def train_loss_on_outputs(self, outputs, batch):
        return self.loss(outputs, batch[1])

    def train_regularization(self, params):
        return self.l2 * params.square().sum()

    def test_loss(self, model, params, batch):
        return self.loss(model(batch[0]), batch[1])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def seeded(make, dtype=torch.float64):
    torch.manual_seed(0)
    return make().to(dtype)


def loader(*columns, batch_size=16):
    return DataLoader(TensorDataset(*columns), batch_size=batch_size)


def kfac(model, inputs, targets, damp=0.1, loss=None, l2=0.0, batch_size=16, **options):
    loss = loss or nn.MSELoss()
    rows = loader(inputs, targets, batch_size=batch_size)
    return KFACInfluenceModule(model, Plain(loss, l2), rows, rows, "cpu", damp, loss_function=loss, **options)


def perceptron(width=5, outputs=B):
    return nn.Sequential(nn.Linear(D, width), nn.Tanh(), nn.Linear(width, outputs))
