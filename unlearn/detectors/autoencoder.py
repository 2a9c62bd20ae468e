"""The LSTM autoencoder: network, training, and the error of each hour's reconstruction as its score.

After Malhotra et al. 2016 (EncDec-AD): one LSTM reads the window, its last state is the code, another LSTM writes the
window from the code. It differs from theirs in three ways: the decoder sees the code at every hour instead of its own
last value, and writes the window forwards; training minimises absolute instead of squared errors; and an hour's score
is its absolute error, not the Mahalanobis distance of the errors from those of other normal windows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.checks import require_finite, require_shape, short_repr
from unlearn.detectors.base import FittedDetector, State, WindowScores
from unlearn.detectors.options import Autoencoder
from unlearn.detectors.storage import load_network
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError, InputError
from unlearn.records import provenance
from unlearn.registry import settings_of

_CHUNK = 1024


class AutoencoderNetwork(nn.Module):
    """Scaled readings (n, W) to their reconstruction (n, W) through a code of `hidden` numbers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(1, hidden, batch_first=True)
        self.decoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, (code, _) = self.encoder(x[..., None])
        states, _ = self.decoder(code[0][:, None].expand(-1, x.shape[1], -1))
        return self.output(states).squeeze(-1)


@short_repr
@dataclass(frozen=True, eq=False)
class FittedAutoencoder(FittedDetector):
    """Scores hours by |x − x̂|, windows by the sum.

    Attributes:
        network: the autoencoder, frozen.
        card: options, seed, history and what it was trained on; JSON.
    """

    network: AutoencoderNetwork
    card: dict[str, Any]
    name: str = "autoencoder"

    @torch.no_grad()
    def score(self, windows: Windows) -> WindowScores:
        """Score windows of any building.

        Raises:
            InputError: windows of another length than those trained on, or readings missing.
        """
        require_shape("windows", windows.values, (None, self.card["length"]))
        require_finite("windows", windows.values)
        values = torch.from_numpy(np.array(windows.values, dtype=np.float32))
        # At least one chunk, so that no windows give no scores.
        error = torch.cat([(self.network(x) - x).abs() if len(x) else x for x in values.split(_CHUNK)])
        hour = error.double().numpy()
        return WindowScores(hour.sum(axis=1), hour)

    def state(self) -> State:
        return self.card, {"autoencoder": self.network.state_dict()}


def load_autoencoder(folder: Path, card: Mapping[str, Any]) -> FittedAutoencoder:
    """Read what `save_detector` wrote."""
    network = load_network(folder, card, "autoencoder", lambda own: AutoencoderNetwork(int(own["training"]["hidden"])))
    return FittedAutoencoder(network, dict(card))


def train_autoencoder(windows: Windows, options: Autoencoder, seed: int = 0) -> FittedAutoencoder:
    """Train by mean absolute error on normal windows; the state with the best error on other buildings counts.

    Args:
        windows: of training buildings, at least two of them, none with an anomalous hour.
        options: settings.
        seed: of initial weights and batch order.

    Raises:
        InputError: labelled windows among them, readings missing, or one building only.
        ConvergenceError: the error became NaN or infinite.
    """
    values = torch.from_numpy(windows.normal_values())
    watched = torch.from_numpy(_watched(windows, options.validation_share))
    train, validation = values[~watched], values[watched]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoencoderNetwork(options.hidden)
    optimiser = torch.optim.Adam(network.parameters(), options.learning_rate)
    random = torch.Generator().manual_seed(seed)
    errors: dict[str, list[float]] = {"train": [], "validation": []}
    best, best_epoch, best_state = math.inf, -1, network.state_dict()
    bar = tqdm(range(options.epochs), desc="autoencoder", unit="epoch", leave=False)
    for epoch in bar:
        errors["train"].append(_one_epoch(network, optimiser, train, options.batch_size, random))
        with torch.no_grad():
            total = sum(float((network(x) - x).abs().sum()) for x in validation.split(_CHUNK))
        current = total / validation.numel()
        errors["validation"].append(current)
        if not math.isfinite(current) or not math.isfinite(errors["train"][-1]):
            raise ConvergenceError(
                f"autoencoder: the error became {current} in epoch {epoch}. Lower autoencoder.learning_rate "
                f"({options.learning_rate:g})."
            )
        if current < best:
            best, best_epoch, best_state = current, epoch, copy.deepcopy(network.state_dict())
        bar.set_postfix(validation=f"{current:.4f}", best=f"{best:.4f}", refresh=False)
        if epoch - best_epoch >= options.patience:
            break
    network.load_state_dict(best_state)
    network.eval().requires_grad_(False)
    card = {
        "kind": "autoencoder",
        "training": settings_of(options),
        "seed": seed,
        "data": windows.series.series.name,
        "n_windows": len(values),
        "length": values.shape[1],
        "history": errors,
        "best_epoch": best_epoch,
        **provenance(),
    }
    return FittedAutoencoder(network, card)


def _watched(windows: Windows, share: float) -> np.ndarray:
    buildings = np.unique(windows.building)
    if len(buildings) < 2:
        raise InputError(
            f"autoencoder: expected windows of at least 2 buildings, to train on and to watch, got {len(buildings)}."
        )
    return np.asarray(windows.building >= buildings[-max(1, int(share * len(buildings)))])


def _one_epoch(
    network: AutoencoderNetwork, optimiser: torch.optim.Adam, values: Tensor, batch_size: int, random: torch.Generator
) -> float:
    total = 0.0
    for rows in torch.randperm(len(values), generator=random).split(batch_size):
        x = values[rows]
        loss = (network(x) - x).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += float(loss.detach()) * len(rows)
    return total / len(values)
