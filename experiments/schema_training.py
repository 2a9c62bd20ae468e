"""Typed schema of training, which several sections share."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class TrainingConfig:
    """Training of an extractor or a network; see `unlearn.TrainingOptions`."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    patience: int = MISSING
    validation_share: float = MISSING
