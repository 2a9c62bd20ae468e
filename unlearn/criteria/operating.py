"""The task-aware criterion: operating cost on a grid (paper eq. 17)."""

from __future__ import annotations

from torch import Tensor

from unlearn.grid import GridCase, OperatingCost


class OperatingCostCriterion:
    """Cost of dispatch and redispatch in each hour; the criterion of TAMU."""

    name = "cost"
    unit = "money"

    def __init__(self, grid: OperatingCost | GridCase | str) -> None:
        """Price on `grid`: a priced grid, a case, or a case's name or path."""
        self.grid = grid if isinstance(grid, OperatingCost) else OperatingCost(grid)

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        return self.grid(forecast_pu, load_pu).total
