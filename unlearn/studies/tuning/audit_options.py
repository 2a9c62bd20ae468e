"""How tunings are audited, and what is refused before anything is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unlearn.attacks.base import MIN_SHADOWS
from unlearn.checks import require_count, require_fraction, require_not_negative, require_positive
from unlearn.errors import InputError
from unlearn.unlearning.tuning.methods import Affine, Head, Quantile, Scale, TuningMethod, Weights

#: Bits of a float64's mantissa.
MANTISSA = 52


@dataclass(frozen=True)
class TuningAuditOptions:
    """Settings of an audit of tunings.

    Attributes:
        pairs: training sets; each is fitted with the removed rows, which are then forgotten, and without.
        pair_share: share of the remaining rows in each training set.
        duplicates: share of the removed rows that are exact copies of remaining ones, features and loads.
        attacked_rows: removed rows, drawn at random, whose residuals the likelihood ratio sees.
        low_bits: lowest bits of each parameter's mantissa that an attacker learns from.
        level: chance that all intervals of all cells together hold the truth.
        cells: audited cells, over which the intervals are simultaneous.
        l1_budget: λ₁ of TAMU for a forecaster that is solved exactly.
        l1_budget_network: λ₁ of TAMU for a network.
        tau: of quantile heads.
        trust: μ of affine and head, in units of the criterion per p.u.².
        weights_budget: λ₁ of re-weighting that sees the remaining rows alone.
        weights_steps: its Frank-Wolfe steps at most.
        steps: of L-BFGS at most.
        folds: parts of the weeks by which the last recipe, a scale, is judged; see `unlearn.Tuning`.
    """

    pairs: int = 18
    pair_share: float = 0.2
    duplicates: float = 0.2
    attacked_rows: int = 64
    low_bits: int = 8
    level: float = 0.99
    cells: int = 6
    l1_budget: float = 0.25
    l1_budget_network: float = 0.15
    tau: float = 0.8
    trust: float = 1000.0
    weights_budget: float = 0.1
    weights_steps: int = 10
    steps: int = 20
    folds: int = 2

    def __post_init__(self) -> None:
        for name in ("pairs", "attacked_rows", "low_bits", "cells", "folds"):
            require_count(f"audit: {name}", getattr(self, name))
        for name in ("pair_share", "level"):
            require_fraction(f"audit: {name}", getattr(self, name))
        require_not_negative("audit: duplicates", self.duplicates)
        for name in ("l1_budget", "l1_budget_network"):
            require_positive(f"audit: {name}", getattr(self, name))
        if self.duplicates > 1:
            raise InputError(f"audit: duplicates: expected a share of at most 1, got {self.duplicates}.")
        if self.folds < 2:
            raise InputError(f"audit: folds: expected at least 2, got {self.folds}.")
        if self.low_bits > MANTISSA:
            raise InputError(f"audit: low_bits: expected at most {MANTISSA}, got {self.low_bits}.")
        if self.pairs < 2 * MIN_SHADOWS:
            raise InputError(
                f"audit: pairs: expected at least {2 * MIN_SHADOWS}, half of them to fit attacks on, got {self.pairs}."
            )
        self.tunings()  # refuses their options

    def tunings(self) -> dict[tuple[str, str | None], tuple[TuningMethod, int]]:
        """What is audited: by name of the method and variant, the method with all hyper-parameters, and folds."""
        return {
            ("scale", None): (Scale(), 0),
            ("affine", None): (Affine(trust=self.trust, steps=self.steps), 0),
            ("quantile", "loads"): (Quantile(tau=self.tau, variant="loads"), 0),
            ("quantile", "total"): (Quantile(tau=self.tau, variant="total"), 0),
            ("weights", None): (Weights(l1_budget=self.weights_budget, steps=self.weights_steps), 0),
            ("head", None): (Head(trust=self.trust, steps=self.steps), 0),
            ("scale", "folds"): (Scale(), self.folds),
        }

    def budget(self, exact: bool) -> float:
        """λ₁ of TAMU for a forecaster that is solved exactly, or for a network."""
        return self.l1_budget if exact else self.l1_budget_network

    def interval_level(self, n_intervals: int) -> float:
        """Level of each of so many intervals in a cell, by which all of all cells hold together (Bonferroni).

        Raises:
            InputError: so few pairs that no interval could leave 0.5 out, whatever an attack finds.
        """
        allowed = (1 - self.level) / (n_intervals * self.cells)
        # All pairs won: the interval starts at (allowed / 4)^(1 / pairs).
        least = math.floor(math.log(allowed / 4) / math.log(0.5)) + 1
        if self.pairs < least:
            raise InputError(
                f"audit: pairs: expected at least {least}, got {self.pairs}: {n_intervals * self.cells} intervals that "
                f"hold together at {100 * self.level:g} % would contain 0.5 even if an attack were always right. Take "
                "more pairs."
            )
        return 1 - allowed

    def require_rows(self, n_remain: int, n_columns: int, exact: bool, l2: float = 0.0) -> None:
        """Refuse training sets that do not determine a head.

        Args:
            n_remain: rows that remain, of which training sets are drawn.
            n_columns: D, columns of the head's design.
            exact: whether the forecaster is solved exactly.
            l2: regulariser of the head; above 0, any number of rows determines it.

        Raises:
            InputError: says which setting to change.
        """
        drawn = round(self.pair_share * n_remain)
        emptied = math.ceil(max(self.budget(exact), self.weights_budget, 1 / self.folds) * drawn)
        if drawn - emptied < n_columns and not l2:
            raise InputError(
                f"audit: expected training sets of at least {n_columns} rows, as many as the head has columns, got "
                f"{drawn} ({self.pair_share:g} of {n_remain} that remain), of which re-weighting or a fold may take "
                f"{emptied}. Remove fewer rows, raise pair_share, or fit with l2 > 0."
            )
