"""What every backend returns, and how two layers, dispatch and redispatch, make a price."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from unlearn.grid.case import GridCase

#: A program as a function of batched parameters (n, k) that returns its variables, each (n, size).
Layer = Callable[..., tuple[Tensor, ...]]

#: Shedding and storage below this, per unit, count as none; so do checks of a region.
WEAK = 1e-6


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


# One lock for the books of all grids: what it guards beside them, the number of BLAS threads, belongs to the process.
_LOCK = threading.RLock()

# A fork waits until no thread is pricing, or the child would inherit half-changed books and a lock that nobody frees.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one thread of the process price, and hold BLAS to one thread meanwhile.

    Books change as they place hours and use their memory again, so threads take turns. On products this small, waking
    the other threads of BLAS takes up to 20 times as long.
    """
    with _LOCK, _controller().limit(limits=1, user_api="blas"):
        yield


class Priced(NamedTuple):
    """Parts of the cost of n hours, each (n,); the last two are bool and have no gradient."""

    generation: Tensor
    shedding: Tensor
    storage: Tensor
    shed_above_load: Tensor
    degenerate: Tensor


class LayerPricer:
    """Prices hours by a dispatch layer on the forecast and a redispatch layer on the truth."""

    def __init__(self, case: GridCase, dispatch: Layer, redispatch: Layer) -> None:
        self.case = case
        self._dispatch, self._redispatch = dispatch, redispatch

    def __call__(self, forecast: Tensor, load: Tensor) -> Priced:
        """Price n hours; forecast and load in per unit, float64, (n, B).

        Raises:
            SolverError: an hour that a layer does not solve; names it.
        """
        with one_at_a_time():
            p_gen, _ = self._dispatch(forecast.clamp(min=0))
            shed, storage = self._redispatch(p_gen, load)
        quadratic, linear = torch.from_numpy(self.case.generation_cost)
        return Priced(
            generation=p_gen.square() @ quadratic + p_gen @ linear,
            shedding=_penalty(shed, self.case.shedding_cost),
            storage=_penalty(storage, self.case.storage_cost),
            shed_above_load=(shed.detach() > load + WEAK).any(dim=1),
            # Layers do not say where their derivative is one-sided.
            degenerate=torch.zeros(len(load), dtype=torch.bool),
        )


def _penalty(amount: Tensor, cost: tuple[float, float]) -> Tensor:
    quadratic, linear = cost
    return quadratic * amount.square().sum(dim=1) + linear * amount.sum(dim=1)
