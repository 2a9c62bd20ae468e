"""The batched engine: many hours priced at once through critical regions, with an exact gradient.

Dispatch and redispatch each have a book of regions. Within a region everything is affine in the parameters, so
an hour costs a few rows of a matrix product, its checks included, and the gradient is the region's own map:
with p = p_gen(forecast) and C(p) the cost of redispatch, `dcost/dforecast = (dp/dforecast)' (c + 2 Q p + dC/dp)`.

On a region's edge, where a constraint is weakly active, the cost has a kink. The derivative returned there is that
of the region which serves the hour: an element of the generalised (Bouligand) Jacobian, one-sided in general.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import counted_from
from unlearn.grid.book import BookStatistics, RegionBook, runs
from unlearn.grid.case import GridCase
from unlearn.grid.network_qp import dispatch_qp, redispatch_qp
from unlearn.grid.pricing import WEAK, Priced, one_at_a_time
from unlearn.grid.regions import Region

#: Hours that are in memory at once, with all of their checks; fewer where a book may hold fewer regions.
CHUNK = 8192


class BatchedPricer:
    """Prices hours on one grid; learns its regions from the hours it sees, one thread at a time."""

    def __init__(self, case: GridCase, bounds: str) -> None:
        """Open the books.

        Raises:
            InputError: a generator without a quadratic cost.
        """
        self.case, self._bounds = case, bounds
        self.dispatch = RegionBook(dispatch_qp(case, bounds), self._dispatch_outputs)
        self.redispatch = RegionBook(redispatch_qp(case, bounds), self._redispatch_outputs, case.n_gens)

    def __reduce__(self) -> tuple[type[BatchedPricer], tuple[GridCase, str]]:
        """Copies learn their own regions: these may take up a gigabyte, and another thread may be changing them."""
        return BatchedPricer, (self.case, self._bounds)

    @property
    def chunk(self) -> int:
        """Hours priced at once: each may add a region to the books, which must not outgrow their memory by much."""
        return min(CHUNK, self.dispatch.capacity, self.redispatch.capacity)

    @property
    def statistics(self) -> dict[str, BookStatistics]:
        """What each book did so far."""
        return {"dispatch": self.dispatch.statistics, "redispatch": self.redispatch.statistics}

    def __call__(self, forecast: Tensor, load: Tensor) -> Priced:
        """Price n hours.

        Args:
            forecast: float64, shape (n, B); below 0 it counts as 0 and has no gradient.
            load: float64, shape (n, B).

        Raises:
            SolverError: an hour that no region holds; names it.
        """
        return Priced(*_Price.apply(forecast, load, self))

    def price(self, forecast: FloatArray, load: FloatArray, slopes: bool) -> tuple[FloatArray, Slopes | None]:
        """Cost parts and flags of one chunk, shape (5, n), and if asked for, what its gradient needs."""
        n, n_gens, n_loads = len(load), self.case.n_gens, self.case.n_loads
        dispatched = self.dispatch.place(_with_ones(forecast))
        p_gen = dispatched.outputs
        load = load.take(dispatched.order, axis=0)
        n_outputs = n_loads + (3 if slopes else 1) * n_gens
        redispatched = self.redispatch.place(_with_ones(p_gen.T, load), dispatched.order, n_outputs)
        shed, storage = redispatched.outputs[:n_loads], redispatched.outputs[n_loads : n_loads + n_gens]
        quadratic, linear = self.case.generation_cost[:, :, None]
        parts = np.empty((5, n))
        first, second = dispatched.order, dispatched.order[redispatched.order]
        parts[0, first] = (p_gen * (quadratic * p_gen + linear)).sum(axis=0)
        parts[1, second] = _penalty(shed, self.case.shedding_cost)
        parts[2, second] = _penalty(storage, self.case.storage_cost)
        # Above the accuracy of the maps, so that zero load and zero shedding do not count.
        parts[3, second] = (shed > load.take(redispatched.order, axis=0).T + WEAK).any(axis=0)
        parts[4, first] = dispatched.margin <= WEAK
        parts[4, second] += redispatched.margin <= WEAK
        if not slopes:
            return parts, None
        by_p_gen = np.empty((2 * n_gens, n))
        by_p_gen[:, redispatched.order] = redispatched.outputs[n_loads + n_gens :]
        responses = [
            (start, stop, self.dispatch.regions[dispatched.region[start]].solution[:-1, :n_gens].T)
            for start, stop in runs(dispatched.region)
        ]
        of_generation = 2 * quadratic * p_gen + linear
        return parts, Slopes(first, responses, of_generation, by_p_gen[:n_gens], by_p_gen[n_gens:])

    def gradient(self, slopes: Slopes, upstream: FloatArray) -> FloatArray:
        """Gradient in the forecast, (n, B), from those in generation, shedding and storage, (3, n)."""
        own = upstream[:, slopes.order]
        by_p_gen = (slopes.generation * own[0] + slopes.shedding * own[1] + slopes.storage * own[2]).T
        gradient = np.empty((len(slopes.order), self.case.n_loads))
        for start, stop, response in slopes.responses:
            gradient[slopes.order[start:stop]] = by_p_gen[start:stop] @ response
        return gradient

    def _dispatch_outputs(self, region: Region) -> FloatArray:
        return region.solution[:, : self.case.n_gens]

    def _redispatch_outputs(self, region: Region) -> FloatArray:
        """Shedding and storage, and the slopes of their costs in p_gen, which are affine as well."""
        n_gens, n_loads = self.case.n_gens, self.case.n_loads
        amounts = region.solution[:, :n_loads], region.solution[:, n_loads:]
        slopes = []
        for amount, (quadratic, linear) in zip(amounts, (self.case.shedding_cost, self.case.storage_cost), strict=True):
            price = 2 * quadratic * amount
            price[-1] += linear
            slopes.append(price @ amount[:n_gens].T)
        return np.hstack([*amounts, *slopes])


class Slopes(NamedTuple):
    """Slopes of the cost parts in p_gen, each (G, n), for hours in the order of their dispatch region (n,).

    `responses` holds the columns of each region, from and to, and its dp_gen/dforecast, shape (G, B): the maps
    themselves, because the book may have forgotten the region when the gradient is asked for.
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
        for start in range(0, len(raw), pricer.chunk):
            rows = slice(start, start + pricer.chunk)
            with counted_from(start), one_at_a_time():
                forecasts = raw[rows] if ctx.clipped is None else np.maximum(raw[rows], 0.0)
                parts[:, rows], slopes = pricer.price(forecasts, loads[rows], ctx.needs_input_grad[0])
            ctx.chunks.append((rows, slopes))
        flags = torch.from_numpy(parts[3:] > 0).to(ctx.device)
        ctx.mark_non_differentiable(flags[0], flags[1])
        return *torch.from_numpy(parts[:3]).to(ctx.device).unbind(), flags[0], flags[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        given = torch.stack(upstream[:3]).cpu().numpy()
        gradient = torch.empty((given.shape[1], ctx.pricer.case.n_loads), dtype=torch.float64)
        with one_at_a_time():
            for rows, slopes in ctx.chunks:
                gradient.numpy()[rows] = ctx.pricer.gradient(slopes, given[:, rows])
        if ctx.clipped is not None:
            gradient.masked_fill_(ctx.clipped, 0.0)
        return gradient.to(ctx.device), None, None


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
