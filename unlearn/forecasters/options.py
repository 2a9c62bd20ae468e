"""Options of forecasters, without what it takes to import the forecasters."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_count, require_fraction, require_not_negative, require_positive
from unlearn.dp.options import require_sampling_rate
from unlearn.errors import InputError


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the published training (appendix D5).

    Attributes:
        epochs: passes over the training rows at most.
        batch_size: rows per step.
        learning_rate: Adam's, annealed to 0 along a cosine over all epochs.
        patience: epochs without a better validation loss after which training stops.
        validation_share: last share of the rows given, kept for early stopping.
    """

    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1e-4
    patience: int = 20
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            require_positive(f"training.{name}", getattr(self, name))
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) != int(getattr(self, name)):
                raise InputError(f"training.{name}: expected a whole number, got {getattr(self, name)}.")
        require_fraction("training.validation_share", self.validation_share)


@dataclass(frozen=True)
class PrivateForecastOptions:
    """Settings of private forecasters; none of them looks at the data.

    Attributes:
        row_clip: norm that a row [φ, y] of the linear head is clipped to, with energies in units of 0.5 kWh.
        ridge: of the linear head, see `ClippedSums.release`.
        clip: norm that a household's gradient is clipped to.
        sampling_rate: chance of a household to take part in a step.
        steps: of DP-SGD.
        days: of a household in a step, drawn at random from its own.
        learning_rate: Adam's, which goes down to 0 along a cosine.
    """

    row_clip: float = 2.0
    ridge: float = 20.0
    clip: float = 0.5
    sampling_rate: float = 0.3
    steps: int = 100
    days: int = 16
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("row_clip", "clip", "sampling_rate", "learning_rate"):
            require_positive(f"forecast.{name}", getattr(self, name))
        require_not_negative("forecast.ridge", self.ridge)
        for name in ("steps", "days"):
            require_count(f"forecast.{name}", getattr(self, name))
        require_sampling_rate(self.sampling_rate)
