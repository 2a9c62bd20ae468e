"""`OperatingCost`: what a forecast costs once the true load is known (paper eqs. 17-20, appendix A)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import as_floats, require_choice, require_count
from unlearn.errors import InputError, counted_from
from unlearn.grid.batched import BatchedPricer
from unlearn.grid.case import GridCase, load_case
from unlearn.grid.layers import ConvexLayer, LayerPricer, MoreauLayer, dispatch_program, redispatch_program
from unlearn.grid.options import BACKENDS, BOUNDS, CostOptions
from unlearn.grid.programs import dispatch_qp, redispatch_qp
from unlearn.grid.region_cache import RegionStatistics

logger = logging.getLogger(__name__)

#: Loads above this many times the grid's nominal load are refused: no unit is so wrong that a price would mean a thing.
ABSURD = 1e6

#: Hours that need more than this many times the grid's capacity are warned about: rather a wrong unit than a load.
EXCESSIVE = 3


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

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {_mean(getattr(self, name))}" for name in ("generation", "shedding", "storage"))
        return f"CostBreakdown({len(self.total)} hours, mean {_mean(self.total)} money/h: {parts})"

    @staticmethod
    def concatenate(parts: list[CostBreakdown]) -> CostBreakdown:
        """Join the hours of several breakdowns."""
        names = [field.name for field in fields(CostBreakdown)]
        return CostBreakdown(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class OperatingCost:
    """Dispatch on the forecast, redispatch on the truth, per-hour cost; differentiable in both.

    Three backends price the same hours. "batched" is exact and fast: it looks an hour's critical region up and
    evaluates the region's affine maps (`batched.py`); it learns regions as it goes. "cvxpylayers" is the
    published way and the reference; "moreau" is the fastest batched solver otherwise. Whichever finds a
    solution, its KKT conditions are checked here.

    Threads may share an object, and its gradients: they take turns. A forked process goes on with a copy of the
    regions learnt so far; a pickled or copied object learns its own.
    """

    #: Whether hours that need far more than the capacity are told in the log: not where a search tries forecasts.
    warns_of_units = True

    def __init__(
        self,
        case: GridCase | str | Path,
        backend: str = CostOptions.backend,
        derivative: str = CostOptions.derivative,
        form: str = CostOptions.form,
        bounds: str = CostOptions.bounds,
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
        self.backend = require_choice("backend", backend, BACKENDS)
        self.bounds = require_choice("bounds", bounds, BOUNDS)
        self._settings = (backend, derivative, form, bounds)
        self._pricer: BatchedPricer | LayerPricer
        if backend == "batched":
            self._pricer = BatchedPricer(self.case, bounds)
        elif backend == "moreau":
            layers = MoreauLayer(dispatch_qp(self.case, bounds)), MoreauLayer(redispatch_qp(self.case, bounds))
            self._pricer = LayerPricer(self.case, *layers)
        else:
            programs = dispatch_program(self.case, form, bounds), redispatch_program(self.case, form, bounds)
            self._pricer = LayerPricer(self.case, *(ConvexLayer(program, derivative) for program in programs))

    def __repr__(self) -> str:
        return f"OperatingCost({self.case!r}, backend={self.backend!r}, bounds={self.bounds!r})"

    def fresh(self, case: GridCase | None = None) -> OperatingCost:
        """The same grid, or another one, and the same backend, with no critical region learnt yet."""
        return OperatingCost(self.case if case is None else case, *self._settings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the grid and what prices its hours."""
        return hashlib.sha256(repr((self.case.fingerprint, self._settings)).encode()).hexdigest()

    @property
    def statistics(self) -> dict[str, RegionStatistics]:
        """Regions, hit rate and worst KKT residual of dispatch and redispatch so far; empty but for "batched"."""
        return self._pricer.statistics if isinstance(self._pricer, BatchedPricer) else {}

    def __call__(self, forecast_pu: Tensor | ArrayLike, load_pu: Tensor | ArrayLike) -> CostBreakdown:
        """Price n hours; warns of hours that need more than three times the grid's capacity.

        Gradients flow to the forecast, to the load, or to both, as they require them. The forecast moves the dispatch,
        the true load what is then shed and stored. An hour that is `degenerate` has a one-sided derivative in either.

        Args:
            forecast_pu: forecast load in per unit, shape (n, B); a tensor of any real type on any device, or an array.
            load_pu: true load in per unit, shape (n, B), likewise.

        Raises:
            InputError: no hours, shapes that do not fit the grid, NaN, or a negative true load.
            SolverError: an hour without an acceptable solution; names it.
        """
        return self.price_checked(*self.require_hours(forecast_pu, load_pu))

    def price_checked(self, forecast: Tensor, load: Tensor) -> CostBreakdown:
        """Price hours as `require_hours` returns them."""
        parts = self._pricer(forecast, load)
        forecast, load = forecast.detach(), load.detach()
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

    def require_hours(self, forecast_pu: Tensor | ArrayLike, load_pu: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return hours in double precision; refuse those that cannot be priced and warn of wrong units."""
        forecast, load = self._hours("forecast_pu", forecast_pu), self._hours("load_pu", load_pu)
        if not len(forecast):
            raise InputError("forecast_pu: expected at least one hour, got none.")
        if len(forecast) != len(load):
            raise InputError(f"expected as many forecasts as loads, got {len(forecast)} and {len(load)} hours.")
        if forecast.device != load.device:
            raise InputError(
                f"expected forecasts and loads on one device, got {forecast.device} and {load.device}; move one."
            )
        if load.detach().amin() < 0:
            hour = int((load < 0).any(dim=1).nonzero()[0])
            raise InputError(f"load_pu: expected loads of at least 0, got {float(load[hour].min()):g} in hour {hour}.")
        self._refuse_absurd(forecast.detach(), load.detach())
        if self.warns_of_units:
            self._warn_of_units(forecast.detach(), load.detach())
        return forecast, load

    def _hours(self, name: str, value: Tensor | ArrayLike) -> Tensor:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(as_floats(name, value).copy())
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.dtype == torch.bool or tensor.is_meta:
            got = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise InputError(f"{name}: expected a dense tensor of real numbers, got {got}.")
        if tensor.ndim != 2 or tensor.shape[1] != self.case.n_loads:
            wanted = f"(n, {self.case.n_loads}) for grid {self.case.name}"
            raise InputError(f"{name}: expected shape {wanted}, got {tuple(tensor.shape)}.")
        tensor = tensor.double()
        # One sum is NaN or infinite if an entry is; only then look for it.
        if not torch.isfinite(tensor.detach().sum()) and not (finite := torch.isfinite(tensor)).all():
            hour = int((~finite).any(dim=1).nonzero()[0])
            raise InputError(f"{name}: expected finite loads, got NaN or infinity in hour {hour}.")
        return tensor

    def _refuse_absurd(self, forecast: Tensor, load: Tensor) -> None:
        most = ABSURD * float(self.case.nominal_load_mw.max()) / self.case.base_mva
        for name, hours in (("load_pu", load), ("forecast_pu", forecast)):
            if float(hours.amax()) > most or float(hours.amin()) < -most:
                hour, where = divmod(int(hours.abs().argmax()), hours.shape[1])
                raise InputError(
                    f"{name}: expected loads within {ABSURD:g} times the largest nominal load of grid "
                    f"{self.case.name}, {most:.4g} per unit, got {float(hours[hour, where]):.4g} in hour {hour}, load "
                    f"{where}; give loads in per unit of {self.case.base_mva:g} MVA."
                )

    def _warn_of_units(self, forecast: Tensor, load: Tensor) -> None:
        capacity = self.case.capacity_mw
        for name, hours in (("load_pu", load), ("forecast_pu", forecast)):
            sums = self.case.base_mva * hours.sum(dim=1)
            excessive = sums > EXCESSIVE * capacity
            if capacity and excessive.any():
                hour = int(sums.argmax())
                logger.warning(
                    "%s: %d of %d hours need more than %d times the %.4g MW that all generators of grid %s give; most "
                    "in hour %d with %.4g MW. Loads are in per unit of %g MVA: kW taken for MW, or MW for per unit?",
                    name, int(excessive.sum()), len(sums), EXCESSIVE, capacity, self.case.name,
                    hour, float(sums[hour]), self.case.base_mva,
                )  # fmt: skip


def price_hours(
    cost: OperatingCost, forecast_pu: Tensor | ArrayLike, load_pu: Tensor | ArrayLike, chunk: int = 4096
) -> CostBreakdown:
    """Price many hours without a gradient, a chunk at a time so that memory stays bounded.

    Raises:
        InputError: as `OperatingCost` raises, or `cost` is something else.
        SolverError: an hour without an acceptable solution; names it.
    """
    if not isinstance(cost, OperatingCost):
        raise InputError(f"cost: expected an OperatingCost, got {type(cost).__name__}; pass OperatingCost(grid).")
    require_count("chunk", chunk)
    forecast, load = cost.require_hours(forecast_pu, load_pu)
    with torch.no_grad():
        priced = []
        for start in range(0, len(forecast), chunk):
            rows = slice(start, start + chunk)
            with counted_from(start):
                priced.append(cost.price_checked(forecast[rows], load[rows]))
        return CostBreakdown.concatenate(priced)


def _mean(values: Tensor) -> str:
    return f"{float(values.detach().double().mean()):.4g}"
