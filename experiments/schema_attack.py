"""Typed schema of attacks on releases."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class OutlierConfig:
    """Outlier households; see `unlearn.attacks.OutlierOptions`."""

    households: int = MISSING
    days: int = MISSING
    norm_kwh: float = MISSING
    noise: float = MISSING
    share_on: float = MISSING
    seen: str = MISSING


@dataclass
class AttackConfig:
    """How releases are attacked; see `unlearn.studies.leakage.LeakageOptions`.

    `third`: share of the holdout households whose days are released as if they were synthetic, for calibration.
    `households` and `days` of each are the few training data that outliers are put among.
    """

    third: float = MISSING
    households: int = MISSING
    days: int = MISSING
    attacks: list[str] = MISSING
    max_profiles: int = MISSING
    max_released: int = MISSING
    top: float = MISSING
    fprs: list[float] = MISSING
    draws: int = MISSING
    permutations: int = MISSING
    near: float = MISSING
    shifts: int = MISSING
    max_copies: float = MISSING
    attributes: list[str] = MISSING
    classifiers: list[str] = MISSING
    min_households: int = MISSING
    redraws: int = MISSING
    ratios: list[float] = MISSING
    fits: int = MISSING
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
