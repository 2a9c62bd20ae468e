"""Settings of the LSTM autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from unlearn.checks import require_count, require_fraction, require_positive
from unlearn.detectors.base import Detector, FittedDetector

if TYPE_CHECKING:
    from unlearn.detectors.windows import Windows


@dataclass(frozen=True)
class Autoencoder(Detector):
    """An LSTM autoencoder: the error of each hour's reconstruction is its score; see `network`.

    Attributes:
        hidden: units of encoder and decoder, the length of the code.
        epochs: passes over the windows at most.
        batch_size: windows per step.
        learning_rate: Adam's.
        patience: epochs without a better validation error after which training stops.
        validation_share: last share of the training buildings, kept for early stopping; one at least.
        name: for records.
    """

    hidden: int = 32
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    patience: int = 4
    validation_share: float = 0.1
    name: str = "autoencoder"
    label: ClassVar[str] = "LSTM autoencoder"

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs", "batch_size", "patience"):
            require_count(f"autoencoder.{name}", getattr(self, name))
        require_positive("autoencoder.learning_rate", self.learning_rate)
        require_fraction("autoencoder.validation_share", self.validation_share)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        from unlearn.detectors.autoencoder.network import train_autoencoder

        return [train_autoencoder(windows, self, seed)]

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> FittedDetector:
        from unlearn.detectors.autoencoder.network import load_autoencoder

        return load_autoencoder(folder, card)
