"""What is forgotten, tuned and compared, over which data, and what is refused before anything is fitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from unlearn.checks import (
    require_choice,
    require_count,
    require_each_once,
    require_fraction,
    require_not_negative,
    require_positive,
)
from unlearn.errors import InputError
from unlearn.studies._shared.options import L1_BUDGETS, L1_BUDGETS_NETWORK, SHARES
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.unlearning.tuning.methods import TUNINGS

#: Parts of the study: the comparison; networks trained anew in it; other deletions; other prices; between cost and MSE;
#: how far re-weighting goes on what remains; what an attacker tells.
PARTS = ("main", "whole_network", "other", "prices", "front", "steps", "audit")


@dataclass(frozen=True)
class SourceYears:
    """Years of a source of data, and the grid that has as many loads.

    Attributes:
        data: name of the source.
        grid: name of the grid, or the path of a file.
        years: that are run.
    """

    data: str
    grid: str
    years: Sequence[int]

    def __post_init__(self) -> None:
        require_each_once(f"tuning.sources: years of {self.data}", self.years)


@dataclass(frozen=True)
class TuningOptions:
    """Settings of the study.

    The defaults take some two hours of one core, hence one of two: minutes of a core for the comparison of linear
    forecasters 10 and of networks 40; networks trained anew 20 (an MLP-Mixer 4 each); other deletions 10; prices 6;
    the front 7; steps 10; audits 30. A cell of GEFCom2012 takes half a minute, of BigDEAL a quarter.

    Attributes:
        sources: data that is run where none is configured; `data=NAME` runs that alone, on the configured grid.
        years: that are run: of these sources those that they have, of configured data all; None takes what the sources
            say, and the configured year.
        parts: of `PARTS`.
        share: of the head's training rows that is forgotten, but for what `other` says.
        selections: "helpful", "harmful" or "random" rows, in the comparison.
        seeds: of random rows of forecasters that are solved exactly; helpful rows are measured for the first alone.
        network_seeds: of networks, cores and random rows among them.
        methods: tunings, by name.
        whole_network_years: years of the first source for which networks are also trained anew on the operating cost of
            what remains, all of each, for the first seed: minutes each.
        l1_budgets: λ₁ in the part "steps" of forecasters that are solved exactly; the published programs have the
            largest.
        l1_budgets_network: the same of networks.
        other_share: smaller share of helpful rows in the part "other".
        month: whose rows are forgotten in the part "other", 1 to 12.
        price_ratios: price of shedding over that of storing in the part "prices"; shedding's stays.
        mse_weights: of MSE beside the cost in the part "front", in units of cost over MSE of the completely unlearnt
            model on the rows that remain; 0 is the cost alone.
        sweep_years: years of the first source over which "prices" and "front" are swept; if none of them is run, the
            last one is.
        audit_years: the same of the part "audit".
        audit: settings of that part.
        folds: see `unlearn.Tuning`.
        jobs: processes.
    """

    sources: Sequence[SourceYears] = (
        SourceYears("gefcom2012", "ieee14", (2004, 2005, 2006, 2007)),
        SourceYears("bigdeal2022", "ieee9", (2015, 2016, 2017)),
    )
    years: Sequence[int] | None = None
    parts: Sequence[str] = PARTS
    share: float = 0.25
    selections: Sequence[str] = ("helpful", "random")
    seeds: Sequence[int] = (0, 1, 2)
    network_seeds: Sequence[int] = (0, 1)
    methods: Sequence[str] = TUNINGS.names()
    whole_network_years: Sequence[int] = (2005, 2007)
    l1_budgets: Sequence[float] = L1_BUDGETS
    l1_budgets_network: Sequence[float] = L1_BUDGETS_NETWORK
    other_share: float = 0.05
    month: int = 3
    price_ratios: Sequence[float] = (1, 2, 3, 5, 7, 10)
    mse_weights: Sequence[float] = (0, 0.1, 0.3, 1, 3, 10)
    sweep_years: Sequence[int] = (2005, 2007)
    audit_years: Sequence[int] = (2007,)
    audit: TuningAuditOptions = field(default_factory=TuningAuditOptions)
    folds: int = 5
    jobs: int = field(default=2, compare=False)

    def __post_init__(self) -> None:
        choices: dict[str, Iterable[str]] = {"parts": PARTS, "selections": SHARES, "methods": TUNINGS}
        for name, known in choices.items():
            for own in getattr(self, name):
                require_choice(f"tuning.{name}", own, known)
        some = (
            "parts",
            "selections",
            "seeds",
            "network_seeds",
            "methods",
            "l1_budgets",
            "l1_budgets_network",
            "price_ratios",
        )
        for name in (*some, "mse_weights", "sweep_years", "audit_years", "whole_network_years", "years"):
            require_each_once(f"tuning.{name}", getattr(self, name) or (), some=name in some)
        for name in ("share", "other_share"):
            require_fraction(f"tuning.{name}", getattr(self, name))
        for name in ("l1_budgets", "l1_budgets_network", "mse_weights"):
            for value in getattr(self, name):
                require_not_negative(f"tuning.{name}", value)
        for ratio in self.price_ratios:
            require_positive("tuning.price_ratios", ratio)
        for name in ("folds", "jobs"):
            require_count(f"tuning.{name}", getattr(self, name))
        if self.month not in range(1, 13):
            raise InputError(f"tuning.month: expected 1 to 12, got {self.month}.")
        if self.folds < 2:
            raise InputError(
                f"tuning.folds: expected at least 2, by which hyper-parameters are chosen, got {self.folds}."
            )

    def budgets(self, exact: bool) -> Sequence[float]:
        """Values of λ₁ of a forecaster that is solved exactly, or of a network."""
        return self.l1_budgets if exact else self.l1_budgets_network
