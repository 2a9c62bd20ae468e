"""Forecasters with a frozen extractor, CNN or MLP-Mixer, under an analytic head."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.errors import InputError
from unlearn.forecasters.base import Forecaster, ModelCard, make_card
from unlearn.forecasters.options import TrainingOptions
from unlearn.forecasters.specs import Network, network_named
from unlearn.forecasters.training import train_network

N_FEATURES = 64


class CnnExtractor(nn.Module):
    """Convolutions over the (B, F) matrix of features: 8@3x3, 8@4x4 with stride 2, Linear 1."""

    def __init__(self, n_loads: int, n_features: int) -> None:
        super().__init__()
        if min(n_loads, n_features) < 2:
            raise InputError(f"cnn: expected at least 2 loads and 2 features, got {n_loads} and {n_features}.")
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        # A 4x4 kernel with stride 2 and padding 1 halves each side, rounding down.
        self.linear = nn.Linear(8 * (n_loads // 2) * (n_features // 2), N_FEATURES)

    def forward(self, scaled: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.convolutions(scaled[:, None])))


class MixerBlock(nn.Module):
    """Mix over patches, then over channels, each with layer norm and a skip connection."""

    def __init__(self, n_patches: int, hidden: int) -> None:
        super().__init__()
        self.norm_patches = nn.LayerNorm(hidden)
        self.mix_patches = nn.Sequential(nn.Linear(n_patches, hidden), nn.GELU(), nn.Linear(hidden, n_patches))
        self.norm_channels = nn.LayerNorm(hidden)
        self.mix_channels = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, patches: Tensor) -> Tensor:
        patches = patches + self.mix_patches(self.norm_patches(patches).transpose(1, 2)).transpose(1, 2)
        return patches + self.mix_channels(self.norm_channels(patches))


class MixerExtractor(nn.Module):
    """MLP-Mixer over 2x2 patches of the (B, F) matrix; an odd side is padded with zeros."""

    def __init__(self, n_loads: int, n_features: int, patch: int = 2, hidden: int = 64, n_blocks: int = 2) -> None:
        super().__init__()
        self.patch = patch
        self.padding = (0, -n_features % patch, 0, -n_loads % patch)
        n_patches = -(-n_loads // patch) * -(-n_features // patch)
        self.embed = nn.Linear(patch * patch, hidden)
        self.blocks = nn.Sequential(*(MixerBlock(n_patches, hidden) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(hidden)
        self.linear = nn.Linear(n_patches * hidden, N_FEATURES)

    def forward(self, scaled: Tensor) -> Tensor:
        padded = nn.functional.pad(scaled, self.padding)
        patches = padded.unfold(1, self.patch, self.patch).unfold(2, self.patch, self.patch)
        patches = patches.reshape(len(scaled), -1, self.patch * self.patch)
        mixed = self.norm(self.blocks(self.embed(patches)))
        return torch.tanh(self.linear(mixed.flatten(start_dim=1)))


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
    return network_named(architecture)(l2, training or TrainingOptions()).fit(dataset, seed)


def fit_extractor_and_head(spec: Network, dataset: LoadDataset, seed: int) -> Forecaster:
    """Train the extractor of a spec, freeze it, fit the head; see `fit_network`."""
    core = dataset.split.core
    scaler = StandardScaler.fit(dataset.features[core], skip=len(CALENDAR_NAMES))
    target_scaler = StandardScaler.fit(dataset.load_pu[core])
    inputs = scaler(torch.from_numpy(dataset.features[core])).float()
    targets = target_scaler(torch.from_numpy(dataset.load_pu[core])).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = spec.extractor(dataset.n_loads, len(dataset.feature_names))
        network = nn.Sequential(extractor, nn.Linear(N_FEATURES, dataset.n_loads))
    history = train_network(network, inputs, targets, spec.training, seed)
    card = make_card(
        spec.name,
        dataset,
        head_rows="sensitive",
        scaler_rows="core",
        seed=seed,
        l2=spec.l2,
        settings={"training": asdict(spec.training)},
        history=history,
    )
    model = NetworkForecaster(card, extractor, scaler)
    return model.fitted_to(dataset)
