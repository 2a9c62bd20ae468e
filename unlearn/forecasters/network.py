"""Neural forecasters: an extractor trained on the core and frozen, an analytic last layer."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from unlearn.checks import require_choice
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.forecasters.base import Forecaster, ModelCard
from unlearn.forecasters.cards import make_card
from unlearn.forecasters.extractors import EXTRACTORS, N_FEATURES
from unlearn.forecasters.training import TrainingOptions, train_network


class NetworkForecaster(Forecaster):
    """`ŷ = W [φ(x), 1]` with a frozen extractor φ; only W has seen the sensitive rows (section IV-B)."""

    # Float64 products of an extractor differ in their last bits between batches (measured: 8e-16).
    design_noise = 1e-15

    def __init__(self, card: ModelCard, extractor: nn.Module, scaler: StandardScaler) -> None:
        super().__init__(card, N_FEATURES + 1)
        self.extractor = extractor.double().requires_grad_(False)
        self.scaler = scaler

    def design(self, features: Tensor) -> Tensor:
        extracted = self.extractor(self.scaler(features))
        return torch.cat([extracted, torch.ones_like(extracted[:, :1])], dim=1)

    def column_names(self) -> list[str]:
        return [*(f"extracted {i}" for i in range(N_FEATURES)), "intercept"]


def fit_network(
    dataset: LoadDataset,
    architecture: str = "cnn",
    training: TrainingOptions | None = None,
    seed: int = 0,
    l2: float = 0.0,
) -> Forecaster:
    """Train an extractor on the core rows, freeze it, fit the last layer on the sensitive rows.

    Inputs and, while the extractor trains, targets are standardised with core rows only, so that nothing but the head
    has seen the sensitive rows. The core is hours of the same customers: what the extractor learnt there stays.

    Args:
        dataset: loads and features; its split says which training rows are core.
        architecture: "cnn" or "mixer".
        training: settings of the extractor's training; the published ones by default.
        seed: seed of initial weights and batch order.
        l2: regulariser of the head's summed loss, >= 0.

    Raises:
        SingularHessianError: extracted features are linearly dependent.
    """
    require_choice("architecture", architecture, EXTRACTORS)
    training = training or TrainingOptions()
    core = dataset.split.core
    scaler = StandardScaler.fit(dataset.features[core], skip=len(CALENDAR_NAMES))
    target_scaler = StandardScaler.fit(dataset.load_pu[core])
    inputs = scaler(torch.from_numpy(dataset.features[core])).float()
    targets = target_scaler(torch.from_numpy(dataset.load_pu[core])).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = EXTRACTORS[architecture](dataset.n_loads, len(dataset.feature_names))
        network = nn.Sequential(extractor, nn.Linear(N_FEATURES, dataset.n_loads))
    history = train_network(network, inputs, targets, training, seed)
    card = make_card(
        architecture,
        dataset,
        head_rows="sensitive",
        scaler_rows="core",
        seed=seed,
        l2=l2,
        settings={"training": asdict(training)},
        history=history,
    )
    model = NetworkForecaster(card, extractor, scaler)
    return model.fitted_to(dataset)
