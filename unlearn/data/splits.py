"""Chronological splits, the core / sensitive split of the training rows, and remain / unlearn rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unlearn.checks import IntArray, require_choice, require_fraction, require_not_negative, require_rows, short_repr
from unlearn.errors import InputError


@short_repr
@dataclass(frozen=True)
class Split:
    """Row indices of each part of a data set; all sorted, `core` and `sensitive` divide `train`.

    Attributes:
        train: rows that models are fitted on, T.
        validation: rows that criteria gradients and selections use in the fair protocol.
        test: rows that are only reported on.
        core: training rows that extractors are trained on; what they learnt there is never unlearnt.
        sensitive: the other training rows; analytic heads are fitted on them and unlearnt.
        spec: how the rows were divided, if by a `SplitSpec`.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    core: IntArray
    sensitive: IntArray
    spec: SplitSpec | None = None

    def describe(self) -> dict[str, Any]:
        """Counts of rows per part, and the shares and seed that gave them; plain values."""
        parts = {name: len(getattr(self, name)) for name in ("train", "validation", "test", "core", "sensitive")}
        return {"rows": parts, "shares": asdict(self.spec) if self.spec else None}


@dataclass(frozen=True)
class SplitSpec:
    """Shares of a chronological split, and how the core is drawn from the training rows.

    The published protocol is 80 / 0 / 20, the fair one 70 / 10 / 20. `core_choice` is "first" in
    the paper's text and "random" in the code that gave its numbers.
    """

    train: float = 0.7
    validation: float = 0.1
    core: float = 0.3
    core_choice: str = "random"
    random_state: int = 0

    def __post_init__(self) -> None:
        require_fraction("split.train", self.train)
        require_not_negative("split.validation", self.validation)
        require_fraction("split.core", self.core)
        require_choice("split.core_choice", self.core_choice, ("first", "random"))
        if self.train + self.validation >= 1:
            raise InputError(
                f"split: train {self.train} + validation {self.validation} leaves no test rows; expected a sum below 1."
            )

    def rows(self, n_hours: int) -> Split:
        """Divide `n_hours` consecutive hours.

        Raises:
            InputError: so few hours that a part that should hold rows would be empty.
        """
        n_train = int(self.train * n_hours + 1e-9)
        n_validation = int(self.validation * n_hours + 1e-9)
        n_core = int(self.core * n_train + 1e-9)
        n_test = n_hours - n_train - n_validation
        if min(n_core, n_train - n_core, n_test) < 1 or (self.validation and not n_validation):
            raise InputError(f"split: {n_hours} hours are too few for the shares {self}.")
        hours = np.arange(n_hours)
        train = hours[:n_train]
        core = train[:n_core]
        if self.core_choice == "random":
            core = np.sort(np.random.default_rng(self.random_state).permutation(n_train)[:n_core])
        return Split(
            train=train,
            validation=hours[n_train : n_train + n_validation],
            test=hours[n_train + n_validation :],
            core=core,
            sensitive=np.setdiff1d(train, core),
            spec=self,
        )


PUBLISHED = SplitSpec(train=0.8, validation=0.0)
FAIR = SplitSpec()


def remain_rows(unlearn_rows: IntArray, n_train: int) -> IntArray:
    """Return the positions in the training set that are not in `unlearn_rows` (R = T minus U)."""
    keep = np.ones(n_train, dtype=bool)
    keep[require_rows("unlearn_rows", unlearn_rows, n_train)] = False
    return np.flatnonzero(keep)
