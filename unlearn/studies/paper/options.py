"""What of the paper is run."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice
from unlearn.studies._shared.options import L1_BUDGETS, PROTOCOLS


@dataclass(frozen=True)
class PaperOptions:
    """What of the paper is run.

    Attributes:
        protocols: each forecaster under each of them.
        shares: of the rows that are removed completely (Fig 4).
        l1_budgets: values of λ₁ of forecasters that are solved exactly.
        l1_budgets_network: of networks.
        seeds: several run everything for each, and draw the core anew: figures with bands. None is the job's own.
        years: the same, of data that has years.
        derivative_protocols: those under which TAMU is also run with the published code's cost gradient.
        jobs: processes.
        folder: of records, figures and page, and of the stages that are done.
    """

    protocols: tuple[str, ...] = ("published", "fair")
    shares: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    l1_budgets: tuple[float, ...] = L1_BUDGETS
    l1_budgets_network: tuple[float, ...] = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15)
    seeds: tuple[int, ...] | None = None
    years: tuple[int, ...] | None = None
    derivative_protocols: tuple[str, ...] = ("published",)
    jobs: int = field(default=2, compare=False)
    folder: str = field(default="results/paper", compare=False)

    def __post_init__(self) -> None:
        for protocol in (*self.protocols, *self.derivative_protocols):
            require_choice("paper.protocols", protocol, PROTOCOLS)
