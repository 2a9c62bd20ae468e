"""`OperatingCost`: what a forecast costs once the true load is known (paper eqs. 17-20, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from unlearn.checks import require_choice, require_positive
from unlearn.errors import InputError, counted_from
from unlearn.grid.batched import BatchedPricer
from unlearn.grid.book import BookStatistics
from unlearn.grid.case import GridCase, load_case
from unlearn.grid.layers import ConvexLayer
from unlearn.grid.moreau_layer import MoreauLayer
from unlearn.grid.network_qp import dispatch_qp, redispatch_qp
from unlearn.grid.pricing import LayerPricer
from unlearn.grid.programs import dispatch_program, redispatch_program

#: What solves and differentiates the programs.
BACKENDS = ("batched", "moreau", "cvxpylayers")


@dataclass(frozen=True, eq=False)
class CostBreakdown:
    """Cost of each of n hours and its parts; `total = generation + shedding + storage`.

    Attributes:
        total: operating cost, shape (n,).
        generation: quadratic cost of the dispatched generation, shape (n,).
        shedding: cost of load shed in redispatch, shape (n,).
        storage: cost of surplus stored in redispatch, shape (n,).
        over_generated: the forecast total exceeds the true total, shape (n,), bool.
        clipped: forecasts below zero that were set to zero (and have no gradient), shape (n,).
        shed_above_load: some bus sheds more than its load (`bounds="published"`), shape (n,), bool.
        degenerate: the hour lies on the edge of a critical region, where a constraint is weakly active and the
            derivative is one-sided: that of the region which serves the hour; shape (n,), bool. Known to the
            batched backend alone; the others leave it False.
    """

    total: Tensor
    generation: Tensor
    shedding: Tensor
    storage: Tensor
    over_generated: Tensor
    clipped: Tensor
    shed_above_load: Tensor
    degenerate: Tensor

    @staticmethod
    def concatenate(parts: list[CostBreakdown]) -> CostBreakdown:
        """Join the hours of several breakdowns."""
        names = [field.name for field in fields(CostBreakdown)]
        return CostBreakdown(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class OperatingCost:
    """Dispatch on the forecast, redispatch on the truth, per-hour cost; differentiable.

    Three backends price the same hours. "batched" is exact and fast: it looks an hour's critical region up and
    evaluates the region's affine maps (`batched.py`); it learns regions as it goes. "cvxpylayers" is the
    published way and the reference; "moreau" is the fastest batched solver otherwise. Whichever finds a
    solution, its KKT conditions are checked here.
    """

    def __init__(
        self,
        case: GridCase | str,
        backend: str = "batched",
        derivative: str = "dense",
        form: str = "ptdf",
        bounds: str = "published",
    ) -> None:
        """Prepare the programs of a grid.

        Args:
            case: a grid case, or the name or path that `load_case` takes.
            backend: one of `BACKENDS`.
            derivative: of cvxpylayers: "dense", or its default "lsqr", which is wrong on these programs.
            form: form of the programs that cvxpylayers solves: "ptdf" or "angle".
            bounds: "published", or "shed_at_most_load".

        Raises:
            InputError: an unknown choice, or for "batched" a generator without a quadratic cost.
        """
        self.case = load_case(case) if not isinstance(case, GridCase) else case
        self.backend, self.bounds = require_choice("backend", backend, BACKENDS), bounds
        self._pricer: BatchedPricer | LayerPricer
        if backend == "batched":
            self._pricer = BatchedPricer(self.case, bounds)
        elif backend == "moreau":
            layers = MoreauLayer(dispatch_qp(self.case, bounds)), MoreauLayer(redispatch_qp(self.case, bounds))
            self._pricer = LayerPricer(self.case, *layers)
        else:
            programs = dispatch_program(self.case, form, bounds), redispatch_program(self.case, form, bounds)
            self._pricer = LayerPricer(self.case, *(ConvexLayer(program, derivative) for program in programs))

    @property
    def statistics(self) -> dict[str, BookStatistics]:
        """Regions, hit rate and worst KKT residual of dispatch and redispatch so far; empty but for "batched"."""
        return self._pricer.statistics if isinstance(self._pricer, BatchedPricer) else {}

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> CostBreakdown:
        """Price n hours.

        Args:
            forecast_pu: forecast load in per unit, shape (n, B); any float type, on any device.
            load_pu: true load in per unit, shape (n, B).

        Raises:
            InputError: no hours, shapes that do not fit the grid, NaN, or a negative true load.
            SolverError: an hour without an acceptable solution; names it.
        """
        self.require_hours(forecast_pu, load_pu)
        load = load_pu.detach().double()
        parts = self._pricer(forecast_pu.double(), load)
        forecast = forecast_pu.detach()
        clipped = torch.zeros(len(load), dtype=torch.int64, device=load.device)
        if forecast.amin() < 0:
            clipped = (forecast < 0).sum(dim=1)
        return CostBreakdown(
            total=parts.generation + parts.shedding + parts.storage,
            generation=parts.generation,
            shedding=parts.shedding,
            storage=parts.storage,
            over_generated=forecast.sum(dim=1) > load.sum(dim=1),
            clipped=clipped,
            shed_above_load=parts.shed_above_load,
            degenerate=parts.degenerate,
        )

    def require_hours(self, forecast_pu: Tensor, load_pu: Tensor) -> None:
        """Refuse hours that cannot be priced; see `__call__`."""
        wanted = f"(n, {self.case.n_loads}) for grid {self.case.name}"
        for name, tensor in (("forecast_pu", forecast_pu), ("load_pu", load_pu)):
            if tensor.ndim != 2 or tensor.shape[1] != self.case.n_loads:
                raise InputError(f"{name}: expected shape {wanted}, got {tuple(tensor.shape)}.")
            # One sum is NaN or infinite if an entry is; only then look for it.
            if not torch.isfinite(tensor.detach().sum()) and not (finite := torch.isfinite(tensor)).all():
                hour = int((~finite).any(dim=1).nonzero()[0])
                raise InputError(f"{name}: expected finite loads, got NaN or infinity in hour {hour}.")
        if not len(forecast_pu):
            raise InputError("forecast_pu: expected at least one hour, got none.")
        if len(forecast_pu) != len(load_pu):
            raise InputError(f"expected as many forecasts as loads, got {len(forecast_pu)} and {len(load_pu)} hours.")
        if load_pu.detach().amin() < 0:
            hour = int((load_pu < 0).any(dim=1).nonzero()[0])
            raise InputError(f"load_pu: expected loads of at least 0, got {float(load_pu[hour].min())} in hour {hour}.")


def price_hours(cost: OperatingCost, forecast_pu: Tensor, load_pu: Tensor, chunk: int = 4096) -> CostBreakdown:
    """Price many hours without a gradient, a chunk at a time so that memory stays bounded."""
    require_positive("chunk", chunk)
    cost.require_hours(forecast_pu, load_pu)
    with torch.no_grad():
        priced = []
        for start in range(0, len(forecast_pu), chunk):
            rows = slice(start, start + chunk)
            with counted_from(start):
                priced.append(cost(forecast_pu[rows], load_pu[rows]))
        return CostBreakdown.concatenate(priced)
