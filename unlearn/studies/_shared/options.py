"""Options that several studies share: how hours are divided, what is priced, and which rows are forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unlearn.checks import require_choice
from unlearn.errors import InputError

if TYPE_CHECKING:
    from unlearn.data.splits import SplitSpec

#: "published" differentiates and selects on the test rows that it reports; "fair" on validation rows.
PROTOCOLS = {"published": "test", "fair": "validation"}

#: How rows are picked: a share of them, or those that are named.
SHARES, NAMED = ("helpful", "harmful", "random"), ("time_range", "mask")

#: λ₁ of re-weighting, and the values that curves are drawn over.
DEFAULT_L1 = 0.1
L1_BUDGETS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25)


@dataclass(frozen=True)
class SplitOptions:
    """Shares of a chronological split and the core.

    Attributes:
        train: share of the hours; None is the protocol's: 0.8 published, 0.7 fair.
        validation: None is the protocol's: 0 published, 0.1 fair.
        core: share of the training rows that extractors are trained on.
        core_choice: random as in the published code, first as in the paper's text.
        seed: of the core.
    """

    train: float | None = None
    validation: float | None = None
    core: float = 0.3
    core_choice: str = "random"
    seed: int = 0

    def spec(self, protocol: str) -> SplitSpec:
        """The split of a protocol with what is changed in it."""
        from unlearn.data.splits import FAIR, PUBLISHED

        base = PUBLISHED if protocol == "published" else FAIR
        return replace(
            base,
            train=base.train if self.train is None else self.train,
            validation=base.validation if self.validation is None else self.validation,
            core=self.core,
            core_choice=self.core_choice,
            seed=self.seed,
        )


@dataclass(frozen=True)
class EvaluationOptions:
    """What a forecast is measured on.

    Attributes:
        hours: priced per split, evenly spaced; None prices all.
        leave_out_zero_loads: an hour's MAPE is over its loads that are not 0; records count what is left out.
    """

    hours: int | None = None
    leave_out_zero_loads: bool = False


@dataclass(frozen=True)
class SelectionOptions:
    """Which rows are forgotten.

    Attributes:
        selection: "helpful" or "harmful" (whose removal makes a criterion worst or best), "random"; or "time_range",
            "mask".
        select_by: criterion whose influence picks rows; None is the forecaster's own, as in the paper.
        share: of the training rows that is picked.
        start: of a time range, such as 2007-03-01.
        end: of a time range, excluded.
        mask: a parquet file with one boolean column.
        linf_budget: λ_∞ of re-weighting, in [0, 1].
    """

    selection: str = "helpful"
    select_by: str | None = None
    share: float = 0.25
    start: str | None = None
    end: str | None = None
    mask: str | None = None
    linf_budget: float = 1.0

    def __post_init__(self) -> None:
        require_choice("unlearning.selection", self.selection, (*SHARES, *NAMED))
        if self.selection == "time_range" and not (self.start and self.end):
            raise InputError(
                "unlearning.selection=time_range: expected unlearning.start and unlearning.end, such as 2007-03-01."
            )
        if self.selection == "mask" and not self.mask:
            raise InputError(
                "unlearning.selection=mask: expected unlearning.mask, a parquet file with one boolean column."
            )


@dataclass(frozen=True)
class ForgettingOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and how

    Attributes:
        l1_budget: λ₁ of re-weighting; None is `DEFAULT_L1` with a criterion.
        loads: names of the loads to forget; None forgets whole rows.
        form: how complete unlearning is computed; see `forget`.
        destroy_old: delete the model before, once the new one is written.
    """

    l1_budget: float | None = None
    loads: tuple[str, ...] | None = None
    form: str = "unlearn_gradient"
    destroy_old: bool = field(default=False, compare=False)

    def budget(self, criterion: str | None) -> float:
        """λ₁ with a criterion, and without one.

        Raises:
            InputError: options of complete unlearning beside a criterion, or the other way round.
        """
        if criterion is None:
            if self.l1_budget:
                raise InputError(
                    f"unlearning.l1_budget={self.l1_budget:g}: criterion=none forgets completely; leave it out, or "
                    "choose a criterion."
                )
            return 0.0
        if self.loads is not None or self.form != "unlearn_gradient":
            raise InputError(
                "re-weighting forgets whole rows in every form; unlearning.loads and .form are for criterion=none."
            )
        return DEFAULT_L1 if self.l1_budget is None else self.l1_budget


@dataclass(frozen=True)
class TradeoffOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and

    Attributes:
        l1_budgets: values of λ₁; 0 is complete unlearning.
    """

    l1_budgets: tuple[float, ...] = L1_BUDGETS


@dataclass(frozen=True)
class DrawOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and

    Attributes:
        draw: remaining samples that are shown (Fig 5).
    """

    draw: int = 1000
