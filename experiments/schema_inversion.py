"""Typed schema of the benchmark's part `anomaly`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class AnomalyBenchmarkConfig:
    """What the benchmark's part `anomaly` searches, and the GAN that it searches with.

    Attributes:
        model: folder of a detector that was saved; null trains one as `anomaly.gan` says, on windows of the households.
        windows: trained on at most.
        stride: hours between them.
        scored: windows searched at once, half of them with an injected anomaly where there are as many.
        singles: windows searched one at a time.
        patience: of the searches that stop early.
    """

    model: str | None = MISSING
    windows: int = MISSING
    stride: int = MISSING
    scored: int = MISSING
    singles: int = MISSING
    patience: int = MISSING
