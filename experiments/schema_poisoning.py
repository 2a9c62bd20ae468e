"""Typed schema of poisoned training data and its unlearning."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class PoisonConfig:
    """An attack; see `unlearn.data.poison`."""

    kind: str = MISSING
    strength: float = MISSING


@dataclass
class PoisonGanConfig:
    """How the LSTM-GAN is trained and inverted on loads; see `unlearn.detectors.gan`. The rest is its default."""

    shares: list[float] = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    max_iter: int = MISSING
    learning_rate: float = MISSING


@dataclass
class PoisoningConfig:
    """What `poisoning` measures; see `unlearn.data.poison` and `unlearn.studies.poisoning.PoisoningOptions`.

    `detectors` need the forecaster alone; `anomalies` are detectors of anomalies on windows of loads.
    """

    attacks: list[PoisonConfig] = field(default_factory=list)
    shares: list[float] = MISSING
    seeds: list[int] = MISSING
    interval_hours: int = MISSING
    loads: list[str] | None = None
    detectors: list[str] = MISSING
    anomalies: list[str] = MISSING
    gan: PoisonGanConfig = field(default_factory=PoisonGanConfig)
    false_alarms: float = MISSING
    rounds: int = MISSING
    tails: list[float] = MISSING
    criteria: list[str] = MISSING
    l1_budgets: list[float] = MISSING
    window_hours: int = MISSING
    stride_hours: int = MISSING
    folder: str = MISSING
