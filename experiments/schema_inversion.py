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
        households: whose windows are scored: test, or validation to choose settings by.
        singles: windows searched one at a time.
        checked: windows searched again alone and in float64, untimed.
        batch_size: of the searches at once.
        starts: of the searches with fewer steps.
        steps: of searches that end early, all windows at once.
        patience: of searches in which each window stops by itself.
        draws: of the households, for the intervals of differences between AUCs.
    """

    model: str | None = MISSING
    windows: int = MISSING
    stride: int = MISSING
    scored: int = MISSING
    households: str = MISSING
    singles: int = MISSING
    checked: int = MISSING
    batch_size: int = MISSING
    starts: list[str] = MISSING
    steps: list[int] = MISSING
    patience: list[int] = MISSING
    draws: int = MISSING
