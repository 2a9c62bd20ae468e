"""How a deletion is audited, and what is refused before anything is fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.attacks.base import MIN_SHADOWS, require_enough_records
from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative
from unlearn.criteria import CRITERIA
from unlearn.errors import InputError
from unlearn.studies._shared.options import L1_BUDGETS


@dataclass(frozen=True)
class AuditOptions:
    """Settings of an audit.

    Attributes:
        pairs: of shadow models, whose training sets the removed rows are in and out of.
        pair_share: share of the remaining rows that each pair is trained on.
        shadows: shadow models of each kind that the released models and single rows are judged by.
        attacked_rows: removed rows, drawn at random, whose residuals the likelihood ratio sees.
        targets: forecasters, each trained on a random half of the rows, whose training rows are attacked.
        l1_budgets: values of λ₁ of the re-weighted models; 0 is complete unlearning.
        criteria: what is re-weighted for.
        fprs: false positive rates of attacks on models, whose number of others is `pairs`.
        row_fprs: false positive rates of attacks on the forecaster's rows.
    """

    pairs: int = 200
    pair_share: float = 0.5
    shadows: int = 256
    attacked_rows: int = 64
    targets: int = 4
    l1_budgets: Sequence[float] = L1_BUDGETS
    criteria: Sequence[str] = CRITERIA.names()
    fprs: Sequence[float] = (0.05, 0.01)
    row_fprs: Sequence[float] = (0.01, 0.001)

    def __post_init__(self) -> None:
        for name in ("pairs", "shadows", "attacked_rows", "targets"):
            require_count(f"audit: {name}", getattr(self, name))
        require_fraction("audit: pair_share", self.pair_share)
        for name in ("pairs", "shadows"):
            # Distributions are fitted on half of them, and measured on the other half.
            if getattr(self, name) < 2 * MIN_SHADOWS:
                raise InputError(
                    f"audit: {name}: expected at least {2 * MIN_SHADOWS}, half of them to fit the attack on, got "
                    f"{getattr(self, name)}."
                )
        if not self.l1_budgets:
            raise InputError("audit: l1_budgets: expected at least one value, such as 0, got none.")
        for budget in self.l1_budgets:
            require_not_negative("audit: l1_budgets", budget)
        for criterion in self.criteria:
            require_choice("audit: criteria", criterion, CRITERIA)
        require_enough_records(self.pairs, self.fprs)

    def require_rows(self, n_unlearn: int, n_remain: int, n_columns: int, linf_budget: float, l2: float = 0.0) -> None:
        """Refuse a problem with too few rows for shadow models or for the rates of attacks on rows.

        Args:
            n_unlearn: rows to remove.
            n_remain: rows that remain.
            n_columns: D, columns of the head's design.
            linf_budget: largest change of one weight.
            l2: regulariser of the head; above 0, any number of rows determines it.

        Raises:
            InputError: says which setting to change.
        """
        drawn = round(self.pair_share * n_remain)
        # A weight falls to 0 only if it may change by 1.
        emptied = math.ceil(max(self.l1_budgets) * drawn) if linf_budget == 1 else 0
        if drawn - emptied < n_columns and not l2:
            raise InputError(
                f"audit: expected shadow models of at least {n_columns} rows, as many as the head has columns, "
                f"got {drawn} ({self.pair_share:g} of {n_remain} that remain), of which re-weighting may empty "
                f"{emptied}: the Hessian would be singular. Remove fewer rows, raise pair_share, lower l1_budgets, or "
                "fit with l2 > 0."
            )
        require_enough_records(self.targets * ((n_unlearn + n_remain) // 2), self.row_fprs)
