"""Settings of attacks, and what is refused of them before anything is attacked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.errors import InputError

#: Shadow models with and without a record that its distributions are fitted on, at least.
MIN_SHADOWS = 8

#: Distributions of patterns.
PATTERNS = ("pulses", "waves")


@dataclass(frozen=True)
class OutlierOptions:
    """Outlier households.

    Attributes:
        households: outlier households of each set.
        days: days of each of them, at most as many as the training days.
        norm_kwh: Euclidean norm of a household's pattern over the day; real days have about 2.5.
        noise: standard deviation of the logarithm of each step's noise from day to day.
        share_on: share of the day's steps in which a household of pulses uses energy.
        seen: distribution of the patterns that are trained on; the unseen ones of the other kind have the other.
    """

    households: int = 20
    days: int = 10
    norm_kwh: float = 10.0
    noise: float = 0.05
    share_on: float = 0.2
    seen: str = "pulses"

    def __post_init__(self) -> None:
        for name in ("households", "days"):
            require_count(f"outliers.{name}", getattr(self, name))
        require_positive("outliers.norm_kwh", self.norm_kwh)
        require_not_negative("outliers.noise", self.noise)
        if not 0 < self.share_on <= 0.5:
            raise InputError(f"outliers.share_on: expected a share above 0 and at most 0.5, got {self.share_on!r}.")
        require_choice("outliers.seen", self.seen, PATTERNS)


def require_enough_records(n_others: int, fprs: Sequence[float]) -> None:
    """Refuse false positive rates that so few records cannot show.

    Raises:
        InputError: a rate outside of (0, 1), or fewer than 1/rate records.
    """
    for fpr in fprs:
        require_fraction("fpr", fpr)
        if n_others < math.ceil(1 / fpr - 1e-9):
            raise InputError(
                f"attack: expected at least {math.ceil(1 / fpr - 1e-9)} records that are no members for a false "
                f"positive rate of {fpr:g}, got {n_others}. Hold out more, or ask for a higher rate."
            )
