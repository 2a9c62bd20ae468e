"""How poison is looked for and removed, and what is refused before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.criteria import CRITERIA
from unlearn.errors import InputError


@dataclass(frozen=True)
class PoisoningOptions:
    """Settings of detection and remedies, the same for every detector.

    Attributes:
        false_alarms: share of the validation hours, which are clean, that a threshold flags.
        rounds: how often the forecast residual is asked, each time of the model without what was flagged before.
        tails: candidates for k, median absolute deviations from which on an influence counts as harmful.
        criteria: what is re-weighted for, beside complete unlearning.
        l1_budgets: values of λ₁ > 0.
        window_hours: length of the windows that detectors of anomalies see.
        stride_hours: hours between the starts of windows.
    """

    false_alarms: float = 0.01
    rounds: int = 3
    tails: Sequence[float] = (2.0, 3.0, 5.0, 8.0)
    criteria: Sequence[str] = ("mse", "cost")
    l1_budgets: Sequence[float] = (0.1,)
    window_hours: int = 60
    stride_hours: int = 48

    def __post_init__(self) -> None:
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
        for name in ("criteria", "l1_budgets"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"poisoning: {name}: expected each once, got {list(values)}.")
        require_count("poisoning: window_hours", self.window_hours)
        require_count("poisoning: stride_hours", self.stride_hours)
        if self.stride_hours > self.window_hours:
            raise InputError(
                f"poisoning: stride_hours: expected at most the {self.window_hours} hours of a window, so that every "
                f"hour lies in one, got {self.stride_hours}."
            )
