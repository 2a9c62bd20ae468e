"""Rows that a criterion is evaluated on, and whether loads and grid fit together."""

from __future__ import annotations

from numpy.typing import ArrayLike

from unlearn.checks import IntArray, require_rows
from unlearn.criteria import Criterion, OperatingCostCriterion
from unlearn.data import LoadDataset
from unlearn.errors import InputError, MismatchError


def evaluation_rows(dataset: LoadDataset, evaluate_on: str | ArrayLike | None) -> IntArray:
    """Rows of a data set that a criterion is evaluated on: a named slice, or row numbers."""
    if evaluate_on is None or isinstance(evaluate_on, str):
        name = evaluate_on or "validation"
        if name not in ("validation", "test"):
            raise InputError(f'evaluate_on: expected "validation", "test" or row numbers, got {name!r}.')
        rows = dataset.split.validation if name == "validation" else dataset.split.test
        if not len(rows):
            raise InputError(
                'evaluate_on: this split has no validation rows; use a split with some, or pass evaluate_on="test" '
                "to take the gradient on the test rows as the published code does."
            )
        return rows
    return require_rows("evaluate_on", evaluate_on, len(dataset.timestamps))


def require_base(criterion: Criterion, dataset: LoadDataset) -> None:
    """Refuse to price loads in per unit of another power base than the grid's."""
    if isinstance(criterion, OperatingCostCriterion) and criterion.grid.case.base_mva != dataset.base_mva:
        raise MismatchError(
            f"data set and grid do not match: loads are per unit on {dataset.base_mva:g} MVA, grid "
            f"{criterion.grid.case.name!r} on {criterion.grid.case.base_mva:g}. Load the data with base_mva="
            f"{criterion.grid.case.base_mva:g}."
        )
