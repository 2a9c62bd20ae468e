"""What of the paper is run: forecasters, protocols, shares to forget, and how far weights may move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unlearn.checks import require_choice


@dataclass(frozen=True)
class PaperOptions:
    """Settings of a run; several seeds or years make it a spread, whose figures have bands.

    Attributes:
        forecasters: by name.
        select_by: of each, the criterion whose influence picks the rows.
        protocols: "published", "fair" or both.
        shares: of the head's training rows that are unlearnt completely.
        share: that is unlearnt for the trade-off and for the influence of what remains.
        l1_budgets: values of λ₁ of the linear forecaster; 0 is complete unlearning.
        l1_budgets_network: of networks.
        derivative_protocols: those under which TAMU is also run with the published code's cost gradient.
        draw: samples that are drawn for the sensitivity figure.
        seeds: of core, training and drawing; None leaves them as they are.
        years: of data that has years; None leaves it as it is.
    """

    forecasters: Sequence[str] = ("linear", "cnn", "mixer")
    select_by: Mapping[str, str] = field(default_factory=lambda: {"linear": "mse", "cnn": "cost", "mixer": "cost"})
    protocols: Sequence[str] = ("published", "fair")
    shares: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    share: float = 0.25
    l1_budgets: Sequence[float] = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25)
    l1_budgets_network: Sequence[float] = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15)
    derivative_protocols: Sequence[str] = ("published",)
    draw: int = 1000
    seeds: Sequence[int] | None = None
    years: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for kind in self.forecasters:
            require_choice("paper.forecasters", kind, self.select_by)

    def budgets(self, forecaster: str) -> Sequence[float]:
        """Values of λ₁ of a forecaster."""
        return self.l1_budgets if forecaster == "linear" else self.l1_budgets_network
