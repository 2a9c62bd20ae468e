"""What of the paper is run: protocols, shares to forget, and how far weights may move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from unlearn.checks import require_choice
from unlearn.studies._shared.options import L1_BUDGETS, L1_BUDGETS_NETWORK, PROTOCOLS


@dataclass(frozen=True)
class PaperOptions:
    """Settings of a run; several seeds or years make it a spread, whose figures have bands.

    Attributes:
        protocols: "published", "fair" or both.
        shares: of the head's training rows that are unlearnt completely.
        share: that is unlearnt for the trade-off and for the influence of what remains.
        l1_budgets: values of λ₁ of forecasters that are solved exactly; 0 is complete unlearning.
        l1_budgets_network: of networks.
        derivative_protocols: those under which TAMU is also run with the published code's cost gradient.
        draw: samples that are drawn for the sensitivity figure.
        seeds: of core, training and drawing; None leaves them as they are.
        years: of data that has years; None leaves it as it is.
        jobs: processes.
        folder: of records, figures and page.
    """

    protocols: Sequence[str] = ("published", "fair")
    shares: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    share: float = 0.25
    l1_budgets: Sequence[float] = L1_BUDGETS
    l1_budgets_network: Sequence[float] = L1_BUDGETS_NETWORK
    derivative_protocols: Sequence[str] = ("published",)
    draw: int = 1000
    seeds: Sequence[int] | None = None
    years: Sequence[int] | None = None
    jobs: int = field(default=2, compare=False)
    folder: str = field(default="results/paper", compare=False)

    def __post_init__(self) -> None:
        for protocol in (*self.protocols, *self.derivative_protocols):
            require_choice("paper.protocols", protocol, PROTOCOLS)

    def budgets(self, exact: bool) -> Sequence[float]:
        """Values of λ₁ of a forecaster that is solved exactly, or of a network."""
        return self.l1_budgets if exact else self.l1_budgets_network
