"""`OperatingCost`: what a forecast costs once the true load is known (paper eqs. 17-20, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from unlearn.checks import require_choice, require_positive
from unlearn.errors import InputError, counted_from
from unlearn.grid.case import GridCase, load_case
from unlearn.grid.compiled import CompiledProgram
from unlearn.grid.exact import ExactLayer
from unlearn.grid.layers import LAYER_DERIVATIVES, ConvexLayer, needs_gradient
from unlearn.grid.programs import dispatch_program, redispatch_program

#: How the cost is differentiated.
DERIVATIVES = ("exact", *LAYER_DERIVATIVES)


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
        degenerate: the derivative is one-sided here, shape (n,), bool; not known to cvxpylayers'
            derivatives, whose hours are all False.
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

    Hours are solved directly: the dispatch in the angle form, whose sparse matrices factor three
    times faster, the redispatch in the PTDF form, because the angle form stalls above the KKT
    tolerance where forecasts are almost true. The gradient is exact, through the active set; hours
    that need one go through cvxpylayers instead if its derivative is asked for. All paths pass the
    same KKT check.
    """

    def __init__(
        self,
        case: GridCase | str,
        derivative: str = "exact",
        form: str = "ptdf",
        bounds: str = "published",
    ) -> None:
        """Compile the programs of a grid.

        Args:
            case: a grid case, or the name or path that `load_case` takes.
            derivative: "exact"; or cvxpylayers' "dense" or "lsqr" (wrong, for comparison).
            form: form of the programs that cvxpylayers differentiates, "ptdf" or "angle".
            bounds: "published", or "shed_at_most_load".
        """
        self.case = load_case(case) if not isinstance(case, GridCase) else case
        self.bounds = bounds
        require_choice("derivative", derivative, DERIVATIVES)
        self._dispatch = ExactLayer(CompiledProgram(dispatch_program(self.case, "angle", bounds)))
        self._redispatch = ExactLayer(CompiledProgram(redispatch_program(self.case, "ptdf", bounds)))
        self._layers: tuple[ConvexLayer, ConvexLayer] | None = None
        if derivative != "exact":
            programs = dispatch_program(self.case, form, bounds), redispatch_program(self.case, form, bounds)
            self._layers = ConvexLayer(programs[0], derivative), ConvexLayer(programs[1], derivative)

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> CostBreakdown:
        """Price n hours.

        Args:
            forecast_pu: forecast load in per unit, shape (n, B).
            load_pu: true load in per unit, shape (n, B).

        Raises:
            InputError: no hours, shapes that do not fit the grid, NaN, or a negative true load.
            SolverError: an hour without an acceptable solution; names it.
        """
        self.require_hours(forecast_pu, load_pu)
        load = load_pu.detach().double()
        forecast = forecast_pu.double().clamp(min=0)
        if self._layers is not None and needs_gradient(forecast_pu):
            dispatch, redispatch = self._layers
            p_gen, _ = dispatch(forecast)
            shed, storage = redispatch(p_gen, load)
            degenerate = torch.zeros(len(load), dtype=torch.bool)
        else:
            (p_gen, _), kinks = self._dispatch(forecast)
            (shed, storage), more_kinks = self._redispatch(p_gen, load)
            degenerate = kinks | more_kinks
        return self._breakdown(forecast_pu, load, p_gen, shed, storage, degenerate)

    def _breakdown(
        self,
        forecast_pu: Tensor,
        load: Tensor,
        p_gen: Tensor,
        shed: Tensor,
        storage: Tensor,
        degenerate: Tensor,
    ) -> CostBreakdown:
        quadratic, linear = torch.from_numpy(self.case.generation_cost)
        generation = p_gen.square() @ quadratic + p_gen @ linear
        shedding = _penalty(shed, self.case.shedding_cost)
        stored = _penalty(storage, self.case.storage_cost)
        return CostBreakdown(
            total=generation + shedding + stored,
            generation=generation,
            shedding=shedding,
            storage=stored,
            over_generated=forecast_pu.detach().sum(dim=1) > load.sum(dim=1),
            clipped=(forecast_pu.detach() < 0).sum(dim=1),
            # Above the solver's accuracy, so that zero load and zero shedding do not count.
            shed_above_load=(shed.detach() > load + 1e-6).any(dim=1),
            degenerate=degenerate,
        )

    def require_hours(self, forecast_pu: Tensor, load_pu: Tensor) -> None:
        """Refuse hours that cannot be priced; see `__call__`."""
        wanted = f"(n, {self.case.n_loads}) for grid {self.case.name}"
        for name, tensor in (("forecast_pu", forecast_pu), ("load_pu", load_pu)):
            if tensor.ndim != 2 or tensor.shape[1] != self.case.n_loads:
                raise InputError(f"{name}: expected shape {wanted}, got {tuple(tensor.shape)}.")
            if not torch.isfinite(tensor).all():
                hour = int((~torch.isfinite(tensor)).any(dim=1).nonzero()[0])
                raise InputError(f"{name}: expected finite loads, got NaN or infinity in hour {hour}.")
        if not len(forecast_pu):
            raise InputError("forecast_pu: expected at least one hour, got none.")
        if len(forecast_pu) != len(load_pu):
            raise InputError(f"expected as many forecasts as loads, got {len(forecast_pu)} and {len(load_pu)} hours.")
        if (load_pu < 0).any():
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


def _penalty(amount: Tensor, cost: tuple[float, float]) -> Tensor:
    quadratic, linear = cost
    return quadratic * amount.square().sum(dim=1) + linear * amount.sum(dim=1)
