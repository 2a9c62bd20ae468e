"""The batched engine: many hours priced at once through critical regions, with an exact gradient.

Dispatch and redispatch each have a cache of regions. Threads that share a pricer take turns, because a batch uses the
caches' memory and adds to them. Within a region everything is affine in the parameters, so an hour costs a few rows of
a matrix product, its checks included, and the gradient is the region's own map: with p = p_gen(forecast) and C(p) the
cost of redispatch, `dcost/dforecast = (dp/dforecast)' (c + 2 Q p + dC/dp)`. The true load enters redispatch alone: with
x = (shed, storage) of the region's map, `dcost/dload = (dx/dload)' (c + 2 Q x)`.

On a region's edge, where a constraint is weakly active, the cost has a kink. The derivative returned there is that
of the region which serves the hour: an element of the generalised (Bouligand) Jacobian, one-sided in general.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import UnlearnError, counted_from
from unlearn.grid.case import GridCase
from unlearn.grid.critical_regions import Region
from unlearn.grid.layers import DEGENERACY_TOLERANCE, Priced
from unlearn.grid.programs import dispatch_qp, redispatch_qp
from unlearn.grid.region_cache import CacheFullError, Placement, RegionCache, RegionStatistics, runs
from unlearn.temporary import Guard

#: Hours that are in memory at once, with all of their checks; fewer where they are in more regions than a cache holds.
CHUNK = 8192


class BatchedPricer:
    """Prices hours on one grid; learns its regions from the hours it sees."""

    def __init__(self, case: GridCase, bounds: str) -> None:
        """Start with empty caches.

        Raises:
            InputError: a generator without a quadratic cost.
        """
        self.case, self._bounds, self._guard = case, bounds, Guard()
        self._empty_caches()

    def _empty_caches(self) -> None:
        case = self.case
        #: Hours that are priced at once.
        self.chunk = CHUNK
        self.dispatch = RegionCache(dispatch_qp(case, self._bounds), partial(_dispatch_outputs, case))
        self.redispatch = RegionCache(
            redispatch_qp(case, self._bounds), partial(_redispatch_outputs, case), case.n_gens
        )

    def __getstate__(self) -> dict[str, Any]:
        with self._guard:  # a copy of caches that another thread is writing would be of none
            return copy.deepcopy(self.__dict__)

    @property
    def statistics(self) -> dict[str, RegionStatistics]:
        """What each cache did so far."""
        return {"dispatch": self.dispatch.statistics, "redispatch": self.redispatch.statistics}

    def __call__(self, forecast: Tensor, load: Tensor) -> Priced:
        """Price n hours.

        Gradients flow to whichever of the two requires one; what only the other needs is not computed.

        Args:
            forecast: float64, shape (n, B); below 0 it counts as 0 and has no gradient.
            load: float64, shape (n, B).

        Raises:
            SolverError: an hour that no region holds; names it.
        """
        if not torch.is_grad_enabled():  # autograd would ask for slopes all the same
            forecast, load = forecast.detach(), load.detach()
        return Priced(*_Price.apply(forecast, load, self))

    def price(self, forecast: FloatArray, load: FloatArray, needs: tuple[bool, bool]) -> PricedChunk | None:
        """Cost parts and flags of one chunk, and what its gradients in forecast and load need, where `needs` says so.

        None if the caches have no room for all the regions of so many hours. They have made some, and `chunk` is
        smaller; it grows again as hours lie in regions that are known.
        """
        with self._guard, one_blas_thread():
            caches = self.dispatch, self.redispatch
            before, known = [replace(cache.statistics) for cache in caches], [len(cache.regions) for cache in caches]
            try:
                found = self._price(forecast, load, *needs)
                if known == [len(cache.regions) for cache in caches]:
                    self.chunk = min(CHUNK, 2 * self.chunk)
                return found
            except CacheFullError:
                self.chunk = max(1, min(len(load) // 2, *(cache.capacity // 2 for cache in caches)))
                for cache, statistics in zip(caches, before, strict=True):
                    cache.make_room()
                    cache.statistics = statistics
                return None
            except UnlearnError:
                raise  # the caches are whole
            except BaseException:
                # Interrupted half-way.
                self._empty_caches()
                raise

    def _price(self, forecast: FloatArray, load: FloatArray, by_forecast: bool, by_load: bool) -> PricedChunk:
        n, n_gens, n_loads = len(load), self.case.n_gens, self.case.n_loads
        dispatched = self.dispatch.place(_with_ones(forecast))
        p_gen = dispatched.outputs
        load = load.take(dispatched.order, axis=0)
        n_outputs = n_loads + (3 if by_forecast else 1) * n_gens
        redispatched = self.redispatch.place(_with_ones(p_gen.T, load), dispatched.order, n_outputs)
        shed, storage = redispatched.outputs[:n_loads], redispatched.outputs[n_loads : n_loads + n_gens]
        quadratic, linear = self.case.generation_cost[:, :, None]
        parts = np.empty((5, n))
        first, second = dispatched.order, dispatched.order[redispatched.order]
        parts[0, first] = (p_gen * (quadratic * p_gen + linear)).sum(axis=0)
        parts[1, second] = _penalty(shed, self.case.shedding_cost)
        parts[2, second] = _penalty(storage, self.case.storage_cost)
        # Above the accuracy of the maps, so that zero load and zero shedding do not count.
        parts[3, second] = (shed > load.take(redispatched.order, axis=0).T + DEGENERACY_TOLERANCE).any(axis=0)
        parts[4, first] = dispatched.margin <= DEGENERACY_TOLERANCE
        parts[4, second] += redispatched.margin <= DEGENERACY_TOLERANCE
        in_load = self._load_slopes(redispatched, second) if by_load else None
        if not by_forecast:
            return PricedChunk(parts, None, in_load)
        by_p_gen = np.empty((2 * n_gens, n))
        by_p_gen[:, redispatched.order] = redispatched.outputs[n_loads + n_gens :]
        responses = [
            (start, stop, self.dispatch.regions[dispatched.region[start]].solution[:-1, :n_gens].T)
            for start, stop in runs(dispatched.region)
        ]
        of_generation = 2 * quadratic * p_gen + linear
        slopes = Slopes(first, responses, of_generation, by_p_gen[:n_gens], by_p_gen[n_gens:])
        return PricedChunk(parts, slopes, in_load)

    def _load_slopes(self, redispatched: Placement, hours: IntArray) -> FloatArray:
        """Slopes of shedding and storage cost in the load, shape (2, n, B); `hours` names the hour of each column."""
        n_gens, n_loads = self.case.n_gens, self.case.n_loads
        slopes = np.empty((2, len(hours), n_loads))
        shed, storage = slice(0, n_loads), slice(n_loads, n_loads + n_gens)
        priced = (shed, self.case.shedding_cost), (storage, self.case.storage_cost)
        for k, (amount, (quadratic, linear)) in enumerate(priced):
            price = 2 * quadratic * redispatched.outputs[amount] + linear
            for start, stop in runs(redispatched.region):
                response = self.redispatch.regions[redispatched.region[start]].solution[n_gens:-1, amount]
                slopes[k, hours[start:stop]] = (response @ price[:, start:stop]).T
        return slopes

    def gradient(self, slopes: Slopes, upstream: FloatArray) -> FloatArray:
        """Gradient in the forecast, (n, B), from those in generation, shedding and storage, (3, n)."""
        own = upstream[:, slopes.order]
        by_p_gen = (slopes.generation * own[0] + slopes.shedding * own[1] + slopes.storage * own[2]).T
        gradient = np.empty((len(slopes.order), self.case.n_loads))
        with self._guard, one_blas_thread():
            for start, stop, response in slopes.responses:
                gradient[slopes.order[start:stop]] = by_p_gen[start:stop] @ response
        return gradient


def _dispatch_outputs(case: GridCase, region: Region) -> FloatArray:
    return region.solution[:, : case.n_gens]


def _redispatch_outputs(case: GridCase, region: Region) -> FloatArray:
    """Shedding and storage, and the slopes of their costs in p_gen, which are affine as well."""
    n_gens, n_loads = case.n_gens, case.n_loads
    amounts = region.solution[:, :n_loads], region.solution[:, n_loads:]
    slopes = []
    for amount, (quadratic, linear) in zip(amounts, (case.shedding_cost, case.storage_cost), strict=True):
        price = 2 * quadratic * amount
        price[-1] += linear
        slopes.append(price @ amount[:n_gens].T)
    return np.hstack([*amounts, *slopes])


class PricedChunk(NamedTuple):
    """Cost parts and flags of n hours, shape (5, n), and what their gradients need, where it was asked for.

    `in_load` holds the slopes of shedding and storage cost in the load themselves, shape (2, n, B): the load moves
    nothing else, so they need no maps of regions.
    """

    parts: FloatArray
    slopes: Slopes | None
    in_load: FloatArray | None


class Slopes(NamedTuple):
    """Slopes of the cost parts in p_gen, each (G, n), for hours in the order of their dispatch region (n,).

    `responses` holds the columns of each region, from and to, and its dp_gen/dforecast, shape (G, B): the maps
    themselves, because the cache may have dropped the region when the gradient is asked for.
    """

    order: IntArray
    responses: list[tuple[int, int, FloatArray]]
    generation: FloatArray
    shedding: FloatArray
    storage: FloatArray


class _Price(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forecast: Tensor, load: Tensor, pricer: BatchedPricer) -> tuple[Tensor, ...]:
        raw, loads = forecast.detach().cpu().numpy(), load.detach().cpu().numpy()
        parts = np.empty((5, len(raw)))
        ctx.pricer, ctx.chunks, ctx.device = pricer, [], forecast.device
        ctx.clipped = torch.from_numpy(raw < 0) if raw.min() < 0 else None
        start = 0
        while start < len(raw):
            rows = slice(start, start + min(CHUNK, pricer.chunk))
            with counted_from(start):
                forecasts = raw[rows] if ctx.clipped is None else np.maximum(raw[rows], 0.0)
                priced = pricer.price(forecasts, loads[rows], ctx.needs_input_grad[:2])
            if priced is not None:
                parts[:, rows] = priced.parts
                ctx.chunks.append((rows, priced.slopes, priced.in_load))
                start = rows.stop
        flags = torch.from_numpy(parts[3:] > 0).to(ctx.device)
        ctx.mark_non_differentiable(flags[0], flags[1])
        return *torch.from_numpy(parts[:3]).to(ctx.device).unbind(), flags[0], flags[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        given = torch.stack(upstream[:3]).cpu().numpy()
        empty = torch.empty((given.shape[1], ctx.pricer.case.n_loads), dtype=torch.float64)
        by_forecast, by_load = (torch.empty_like(empty) if needed else None for needed in ctx.needs_input_grad[:2])
        for rows, slopes, in_load in ctx.chunks:
            if by_forecast is not None:
                by_forecast.numpy()[rows] = ctx.pricer.gradient(slopes, given[:, rows])
            if by_load is not None:
                by_load.numpy()[rows] = (given[1:, rows, None] * in_load).sum(axis=0)
        # A forecast below 0 moves nothing; the true load of that hour does.
        if by_forecast is not None and ctx.clipped is not None:
            by_forecast.masked_fill_(ctx.clipped, 0.0)
        return *(None if g is None else g.to(ctx.device) for g in (by_forecast, by_load)), None


class _OneBlasThread:
    """Holds BLAS to one thread while any thread of the process is inside; the last to leave restores what was."""

    def __init__(self) -> None:
        self._guard, self._inside = Guard(), 0
        self._controller: ThreadpoolController | None = None
        self._limit: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with self._guard:
            if not self._inside:
                self._controller = self._controller or ThreadpoolController()
                self._limit = self._controller.limit(limits=1, user_api="blas")
                self._limit.__enter__()
            self._inside += 1

    def __exit__(self, *raised: Any) -> None:
        with self._guard:
            self._inside -= 1
            if not self._inside and self._limit is not None:
                self._limit.__exit__(*raised)
                self._limit = None


_ONE_BLAS_THREAD = _OneBlasThread()


def one_blas_thread() -> AbstractContextManager[object]:
    """Hold BLAS to one thread: on products this small, waking the others takes up to 20 times as long."""
    return _ONE_BLAS_THREAD


def _with_ones(*blocks: FloatArray) -> FloatArray:
    """Blocks of parameters (n, k) side by side, and a column of ones."""
    width = sum(block.shape[1] for block in blocks)
    hours = np.empty((len(blocks[0]), width + 1))
    start = 0
    for block in blocks:
        hours[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    hours[:, -1] = 1.0
    return hours


def _penalty(amount: FloatArray, cost: tuple[float, float]) -> FloatArray:
    quadratic, linear = cost
    return (amount * (quadratic * amount + linear)).sum(axis=0)
