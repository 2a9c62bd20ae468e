"""Criteria by name, as configurations and `forget` take them."""

from __future__ import annotations

from unlearn.checks import require_choice
from unlearn.criteria.base import Criterion
from unlearn.criteria.operating import OperatingCostCriterion
from unlearn.criteria.statistical import MAPE, MSE
from unlearn.errors import InputError
from unlearn.grid import GridCase, OperatingCost

CRITERIA = ("mse", "mape", "cost")


def make_criterion(criterion: str | Criterion, grid: OperatingCost | GridCase | str | None = None) -> Criterion:
    """Return a criterion by name ("mse", "mape", "cost"); pass any other criterion through.

    Raises:
        InputError: an unknown name, or "cost" without a grid.
    """
    if isinstance(criterion, type) or not isinstance(criterion, str | Criterion):
        raise InputError(
            f"criterion: expected a name ({', '.join(CRITERIA)}) or an object with name, unit and a call of forecast "
            f"and load, got {criterion!r}; write unlearn.MSE() rather than unlearn.MSE."
        )
    if not isinstance(criterion, str):
        return criterion
    require_choice("criterion", criterion, CRITERIA)
    if criterion == "cost":
        if grid is None:
            raise InputError('criterion "cost" needs a grid: pass grid="ieee14", a GridCase or an OperatingCost.')
        return OperatingCostCriterion(grid)
    return MSE() if criterion == "mse" else MAPE()
