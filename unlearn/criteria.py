"""Criteria: what a forecast is judged by. One protocol, `criterion(forecast, load) -> (n,)`, one registry of names.

A criterion of one's own is a class like those below, passed as an object to whatever takes a name; it needs no entry in
`CRITERIA`. This module is light: torch and the grid are imported when a criterion is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from unlearn.checks import IntArray, as_floats, require_finite, require_rows
from unlearn.errors import InputError, MismatchError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from unlearn.data import LoadDataset
    from unlearn.grid import GridCase, OperatingCost


@runtime_checkable
class Criterion(Protocol):
    """Something a forecast is judged by; lower is better.

    Called with forecast and true load in p.u., each (n, B); returns one value per hour, (n,),
    differentiable with respect to the forecast. `name` and `unit` stand in records.

    A class may say more of itself: `label` for legends, `axis` for axes, whether it `needs_grid` (is made with one),
    and the `program` that re-weights for it, "PAMU" unless said otherwise. One that is a function of the error has a
    method `curvature` with its second derivative in the error of each load, (n, B), by which influences of customers
    are exact rather than to first order.
    """

    name: str
    unit: str

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor: ...


def _paired(name: str, forecast: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse what would be broadcast, or is no tensor."""
    from torch import Tensor  # a second to import, and who asks for a name needs none

    for which, tensor in (("forecast", forecast), ("load", load)):
        if not isinstance(tensor, Tensor):
            raise InputError(
                f"{name}: expected tensors, got {type(tensor).__name__} for {which}; use torch.as_tensor({which})."
            )
    if forecast.shape != load.shape or forecast.ndim != 2:
        raise InputError(
            f"{name}: expected forecast and load of one shape (n, B), got {tuple(forecast.shape)} and "
            f"{tuple(load.shape)}."
        )
    return forecast, load


class MSE:
    """Squared error in p.u.², averaged over loads: the mean over hours is the MSE of all entries."""

    name, unit = "mse", "pu2"
    label, axis = "MSE", "MSE [p.u.²]"

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        forecast_pu, load_pu = _paired("MSE", forecast_pu, load_pu)
        return (forecast_pu - load_pu).square().mean(dim=1)

    def curvature(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        """Second derivative of each hour's value in the error of each load, shape (n, B)."""
        import torch

        return torch.full_like(forecast_pu, 2.0 / forecast_pu.shape[1])


class MAPE:
    """Absolute error in percent of the true load, averaged over loads.

    Each load counts the same, large or small; it is not the error of the total load, nor weighted by energy (WAPE). A
    load of 0 has no such error: it is refused, or left out, so that an hour is averaged over its other loads.
    """

    name, unit = "mape", "percent"
    label, axis = "MAPE", "MAPE [%]"

    def __init__(self, leave_out_zeros: bool = False) -> None:
        self.leave_out_zeros = leave_out_zeros

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        forecast_pu, load_pu = _paired("MAPE", forecast_pu, load_pu)
        known = load_pu != 0
        refused = ~known.any(dim=1) if self.leave_out_zeros else ~known.all(dim=1)
        if refused.any():
            hour = int(refused.nonzero()[0])
            got = f"only 0 in hour {hour}" if self.leave_out_zeros else f"a 0 in hour {hour}"
            other = "" if self.leave_out_zeros else "use MSE, MAPE(leave_out_zeros=True), or "
            raise InputError(f"MAPE: expected loads other than 0, got {got}; {other}drop such hours.")
        share = (forecast_pu - load_pu).abs() / load_pu.abs().where(known, float("inf"))
        return 100 * share.sum(dim=1) / known.sum(dim=1)


class Weighted:
    """A weighted sum of criteria (paper section III: criteria may be integrated)."""

    unit = "mixed"

    def __init__(self, parts: Mapping[Criterion, float]) -> None:
        if not isinstance(parts, Mapping) or not parts:
            raise InputError("Weighted: expected a mapping of at least one criterion to its weight.")
        for part, weight in parts.items():
            name = f"Weighted: weight of {getattr(part, 'name', part)}"
            require_finite(name, as_floats(name, weight, 0))
            if isinstance(part, type) or not isinstance(part, Criterion):
                raise InputError(f"Weighted: expected criteria such as unlearn.MSE(), got {part!r}.")
        self.parts = dict(parts)
        self.name = "+".join(f"{weight:g}*{part.name}" for part, weight in self.parts.items())

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        import torch

        terms = [weight * part(forecast_pu, load_pu) for part, weight in self.parts.items()]
        return torch.stack(terms).sum(dim=0)

    def curvature(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        """That of the parts that have one; see `Criterion`."""
        import torch

        bent = [(part.curvature, weight) for part, weight in self.parts.items() if hasattr(part, "curvature")]
        total = torch.zeros_like(forecast_pu)
        for curvature, weight in bent:
            total = total + weight * curvature(forecast_pu, load_pu)
        return total

    def fresh(self) -> Weighted:
        """The same sum of parts that have priced nothing yet."""
        return Weighted({fresh(part): weight for part, weight in self.parts.items()})


class OperatingCostCriterion:
    """Cost of dispatch and redispatch in each hour; the criterion of TAMU."""

    name, unit = "cost", "money/h"
    label, axis = "Cost", "Operating cost [money/h]"
    needs_grid, program = True, "TAMU"

    def __init__(self, grid: OperatingCost | GridCase | str) -> None:
        """Price on `grid`: a priced grid, a case, or a case's name or path."""
        from unlearn.grid import OperatingCost

        self.grid = grid if isinstance(grid, OperatingCost) else OperatingCost(grid)

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        return self.grid(forecast_pu, load_pu).total

    def fresh(self) -> OperatingCostCriterion:
        """The same on a grid that has priced nothing yet: prices depend, to the last bit, on what it prices alone."""
        return OperatingCostCriterion(self.grid.fresh())


def fresh(criterion: Criterion) -> Criterion:
    """A criterion that remembers nothing of what it was called with; one that cannot is returned as it is."""
    own = getattr(criterion, "fresh", None)
    return criterion if own is None else own()


#: Criteria by name.
CRITERIA: Registry[Any] = Registry("criterion", {"mse": MSE, "mape": MAPE, "cost": OperatingCostCriterion})


def program(criterion: str) -> str:
    """The program that re-weights for a criterion, as pages call it."""
    made = CRITERIA[criterion]
    return getattr(made, "program", f"PAMU {made.label}")


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
    made = CRITERIA[criterion]
    if not getattr(made, "needs_grid", False):
        return made()
    if grid is None:
        raise InputError(f'criterion "{criterion}" needs a grid: pass grid="ieee14", a GridCase or an OperatingCost.')
    return made(grid)


def grids_of(criterion: Criterion) -> Iterator[OperatingCost]:
    """The grids that a criterion prices on: its own, and those of the criteria that it weighs up."""
    grid = getattr(criterion, "grid", None)
    if grid is not None:
        yield grid
    for part in getattr(criterion, "parts", ()):
        yield from grids_of(part)


def evaluation_rows(dataset: LoadDataset, evaluate_on: str | ArrayLike) -> IntArray:
    """Rows of a data set that a criterion is evaluated on: a named slice, or row numbers."""
    if isinstance(evaluate_on, str):
        if evaluate_on not in ("validation", "test"):
            raise InputError(f'evaluate_on: expected "validation", "test" or row numbers, got {evaluate_on!r}.')
        rows = dataset.split.validation if evaluate_on == "validation" else dataset.split.test
        if not len(rows):
            raise InputError(
                'evaluate_on: this split has no validation rows; use a split with some, or pass evaluate_on="test" '
                "to take the gradient on the test rows as the published code does."
            )
        return rows
    return require_rows("evaluate_on", evaluate_on, len(dataset.timestamps))


def require_base(criterion: Criterion, dataset: LoadDataset) -> None:
    """Refuse to price loads in per unit of another power base than the grid's."""
    for grid in grids_of(criterion):
        if grid.case.base_mva != dataset.base_mva:
            raise MismatchError(
                f"data set and grid do not match: loads are per unit on {dataset.base_mva:g} MVA, grid "
                f"{grid.case.name!r} on {grid.case.base_mva:g}. Load the data with base_mva={grid.case.base_mva:g}."
            )


def require_per_sample(criterion: Criterion, value: object, n: int) -> None:
    """Refuse a criterion that does not keep the protocol, whose gradient would be silently wrong."""
    from torch import Tensor

    if not isinstance(value, Tensor) or value.shape != (n,) or not value.requires_grad:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        detached = " without a gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
        raise InputError(
            f"criterion {criterion.name}: expected a differentiable tensor with one value per hour, shape ({n},), "
            f"got {got}{detached}."
        )
