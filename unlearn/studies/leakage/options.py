"""Options of the study of leakage."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_count, require_fraction
from unlearn.studies._shared.options import LeakageOptions


@dataclass(frozen=True)
class LeakageStudyOptions(LeakageOptions):
    """How releases are attacked, see `LeakageOptions`, and

    Attributes:
        third: share of the holdout households whose days are released as a negative control: a release that knows
            nobody.
        households: outliers are put among so few training households,
        days: with so many days each.
    """

    third: float = 0.3
    households: int = 30
    days: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("leakage.third", self.third)
        for name in ("households", "days"):
            require_count(f"leakage.{name}", getattr(self, name))
