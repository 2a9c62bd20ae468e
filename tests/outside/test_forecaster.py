"""A forecaster of one's own, passed as an object: fitted, saved, loaded, unlearnt."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import unlearn
from unlearn.errors import InputError
from unlearn.forecasters.extractors import N_FEATURES
from unlearn.forecasters.specs import Network, TrainingOptions


class Flat(nn.Module):
    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, N_FEATURES)

    def forward(self, scaled: Tensor) -> Tensor:
        return torch.tanh(self.linear(scaled.flatten(1)))


@dataclass(frozen=True)
class Perceptron(Network):
    """One layer over all features."""

    name: ClassVar[str] = "perceptron"
    label: ClassVar[str] = "Perceptron"

    @staticmethod
    def extractor(n_loads: int, n_features: int) -> nn.Module:
        return Flat(n_loads * n_features)


def test_it_is_fitted_saved_loaded_and_unlearnt(dataset, tmp_path) -> None:
    spec = Perceptron(l2=1e-6, training=TrainingOptions(epochs=2))
    model = spec.fit(dataset, seed=1)
    assert model.card.kind == "perceptron"
    unlearn.save_forecaster(model, tmp_path)
    with pytest.raises(InputError, match="expected one of linear, cnn, mixer; got 'perceptron'"):
        unlearn.load_forecaster(tmp_path)
    loaded = unlearn.load_forecaster(tmp_path, spec)
    assert torch.equal(loaded.theta, model.theta)
    result = unlearn.forget(loaded, dataset, dataset.split.sensitive[:50], compare_retrained=True)
    assert result.complete
    assert result.distance_to_retrained <= 1e-8
