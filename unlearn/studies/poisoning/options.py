"""How poison is looked for and removed, and what is refused before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearn.checks import (
    require_choice,
    require_count,
    require_each_once,
    require_fraction,
    require_not_negative,
    require_positive,
)
from unlearn.criteria import CRITERIA
from unlearn.errors import InputError
from unlearn.registry import Registry

#: Detectors that need nothing but the forecaster. "truth" knows the mask, "none" flags nothing.
DETECTORS: Registry[Any] = Registry(
    "poisoning: detectors",
    {
        "residual": "unlearn.studies.poisoning.detection:of_residual",
        "influence_mse": "unlearn.studies.poisoning.detection:of_influence_mse",
        "influence_cost": "unlearn.studies.poisoning.detection:of_influence_cost",
        "truth": "unlearn.studies.poisoning.detection:of_truth",
        "none": "unlearn.studies.poisoning.detection:of_nothing",
    },
)


@dataclass(frozen=True)
class Poison:
    """An attack; see `unlearn.data.poison`."""

    kind: str
    strength: float


@dataclass(frozen=True)
class PoisonGan:
    """How the LSTM-GAN is trained and inverted on loads; see `unlearn.detectors.gan`. The rest is its default.

    Attributes:
        shares: poisoned shares at which it is asked; it takes minutes for each training set.
        epochs: of training.
        batch_size: of training.
        max_iter: of the latent inversion.
        learning_rate: of the latent inversion.
    """

    shares: Sequence[float] = (0.1,)
    epochs: int = 10
    batch_size: int = 32
    max_iter: int = 30
    learning_rate: float = 0.05


@dataclass(frozen=True)
class PoisoningOptions:
    """Settings of a sweep over attacks, and of detection and mitigations, the same for every detector.

    Attributes:
        attacks: in this order; the last one shows what lifting loads does to the cost.
        shares: of the head's training hours that are poisoned.
        seeds: of intervals and noise, and of core, initial weights and detectors.
        interval_hours: hours that are attacked in a row.
        loads: names of the attacked ones; None: all.
        detectors: of `DETECTORS`.
        anomalies: detectors of anomalies on windows of loads, fitted on poisoned and clean hours.
        gan: settings of the detector "gan".
        false_alarms: share of the validation hours, which are clean, that a threshold flags.
        rounds: how often the forecast residual is asked, each time of the model without what was flagged before.
        tails: candidates for k, median absolute deviations from which on an influence counts as harmful.
        criteria: what is re-weighted for, beside complete unlearning.
        l1_budgets: values of λ₁ > 0.
        window_hours: length of the windows that detectors of anomalies see.
        stride_hours: hours between the starts of windows.
    """

    attacks: Sequence[Poison] = (
        Poison("scaling", -0.5),
        Poison("ramp", -0.5),
        Poison("noise", 0.5),
        Poison("scaling", 0.5),
    )
    shares: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.3)
    seeds: Sequence[int] = (0, 1, 2)
    interval_hours: int = 24
    loads: Sequence[str] | None = None
    detectors: Sequence[str] = DETECTORS.names()
    anomalies: Sequence[str] = ("median", "gan")
    gan: PoisonGan = field(default_factory=PoisonGan)
    false_alarms: float = 0.01
    rounds: int = 3
    tails: Sequence[float] = (2.0, 3.0, 5.0, 8.0)
    criteria: Sequence[str] = ("mse", "cost")
    l1_budgets: Sequence[float] = (0.1,)
    window_hours: int = 60
    stride_hours: int = 48

    def __post_init__(self) -> None:
        for name in ("attacks", "shares", "seeds"):
            require_each_once(f"poisoning.{name}", getattr(self, name))
        for name in ("detectors", "anomalies", "criteria", "l1_budgets"):
            require_each_once(f"poisoning.{name}", getattr(self, name), some=False)
        for detector in self.detectors:
            require_choice("poisoning.detectors", detector, DETECTORS)
        require_fraction("poisoning: false_alarms", self.false_alarms)
        require_count("poisoning: rounds", self.rounds)
        if not self.tails:
            raise InputError("poisoning: tails: expected at least one number of deviations, such as 3, got none.")
        for tail in self.tails:
            require_positive("poisoning: tails", tail)
        for criterion in self.criteria:
            require_choice("poisoning: criteria", criterion, CRITERIA)
        for budget in self.l1_budgets:
            if not require_not_negative("poisoning: l1_budgets", budget):
                raise InputError("poisoning: l1_budgets: 0 is complete unlearning, which is always measured; drop it.")
        require_count("poisoning: window_hours", self.window_hours)
        require_count("poisoning: stride_hours", self.stride_hours)
        if self.stride_hours > self.window_hours:
            raise InputError(
                f"poisoning: stride_hours: expected at most the {self.window_hours} hours of a window, so that every "
                f"hour lies in one, got {self.stride_hours}."
            )
