"""Threads, forks and copies of one priced object: the same money as from one thread, and bounded memory."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unlearn.errors import InputError
from unlearn.grid.batched import BatchedPricer
from unlearn.grid.book import RegionBook
from unlearn.grid.cost import OperatingCost, price_hours
from unlearn.grid.network_qp import dispatch_qp
from unlearn.grid.pricing import one_at_a_time


def batches(cost: OperatingCost, n: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Pairs of forecast and load, of unequal numbers of hours."""
    draw = torch.Generator().manual_seed(seed)
    nominal = torch.from_numpy(cost.case.nominal_load_mw / cost.case.base_mva)

    def times(like: Tensor, low: float, high: float) -> Tensor:
        return like * (low + (high - low) * torch.rand(like.shape, generator=draw, dtype=torch.float64))

    loads = [times(nominal.expand(3 + k % 5, -1), 0.6, 1.1) for k in range(n)]
    return [(times(load, 0.9, 1.1), load) for load in loads]


def priced(cost: OperatingCost, forecast: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """Cost of each hour, and its gradient."""
    forecast = forecast.clone().requires_grad_()
    total = cost(forecast, load).total
    total.sum().backward()
    assert forecast.grad is not None
    return total.detach(), forecast.grad


def is_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return all(
        a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-6, atol=1e-5))
        for a, b in zip(found, expected, strict=True)
    )


def wrong_prices(cost: OperatingCost, hours: list[tuple[Tensor, Tensor]], threads: int) -> int:
    """How many batches cost something else from `threads` threads that share `cost`."""
    alone = OperatingCost(cost.case)
    expected = [priced(alone, *pair) for pair in hours]

    def one(k: int) -> int:
        order = np.random.default_rng(k).permutation(len(hours))
        return sum(not is_same(priced(cost, *hours[i]), expected[i]) for i in order)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(threads)))


def test_threads_that_share_a_price_get_the_same_money_and_gradients():
    cost = OperatingCost("ieee14")
    assert wrong_prices(cost, batches(cost, 20), 4) == 0


def _answer(connection: Connection, cost: OperatingCost, hours: tuple[Tensor, Tensor]) -> None:
    connection.send([value.numpy() for value in priced(cost, *hours)])


def priced_in_fork(cost: OperatingCost, hours: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_answer, args=(there, cost, hours))
    child.start()
    try:
        assert here.poll(30), "the forked process hangs"
        value, gradient = map(torch.from_numpy, here.recv())
        return value, gradient
    finally:
        child.kill()
        child.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_a_thread_prices_goes_on():
    cost = OperatingCost("ieee14")
    hours = batches(cost, 2)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with one_at_a_time():
            holds.set()
            done.wait(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    # Backward in the child runs on the thread that forked; autograd's own threads do not survive a fork.
    with torch.autograd.set_multithreading_enabled(False):
        found = priced_in_fork(cost, hours[0])
    done.set()
    thread.join()
    assert is_same(found, priced(OperatingCost("ieee14"), *hours[0]))
    assert is_same(priced(cost, *hours[1]), priced(OperatingCost("ieee14"), *hours[1]))


class _Prices(Dataset[Tensor]):
    def __init__(self, cost: OperatingCost, hours: list[tuple[Tensor, Tensor]]) -> None:
        self.cost, self.hours = cost, hours

    def __len__(self) -> int:
        return len(self.hours)

    def __getitem__(self, k: int) -> Tensor:
        return self.cost(*self.hours[k]).total.sum()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_loader_price_alike():
    cost = OperatingCost("ieee14")
    data = _Prices(cost, batches(cost, 6))
    expected = [float(data[k]) for k in range(6)]
    found = torch.cat(list(DataLoader(data, num_workers=2, batch_size=2))).tolist()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda cost: pickle.loads(pickle.dumps(cost))])
def test_copies_learn_their_own_regions(copied):
    cost = OperatingCost("ieee14")
    hours = batches(cost, 3)
    expected = [priced(cost, *pair) for pair in hours]
    other = copied(cost)
    assert other.statistics["dispatch"].hours == 0
    assert all(is_same(priced(other, *pair), value) for pair, value in zip(hours, expected, strict=True))
    assert cost.statistics["dispatch"].hours == sum(len(load) for _, load in hours)


def test_books_stay_below_their_bytes_and_prices_stay_the_same():
    case = OperatingCost("ieee14").case
    free, bounded = OperatingCost(case), OperatingCost(case)
    pricer = bounded._pricer
    assert isinstance(pricer, BatchedPricer)
    limit = 12 * pricer.dispatch.nbytes, 12 * pricer.redispatch.nbytes
    pricer.dispatch = RegionBook(dispatch_qp(case), pricer._dispatch_outputs, max_bytes=limit[0])
    pricer.redispatch = RegionBook(
        pricer.redispatch._program, pricer._redispatch_outputs, case.n_gens, max_bytes=limit[1]
    )
    forgotten = 0
    for seed in range(8):
        forecast, load = torch.rand(2, 24, case.n_loads, generator=torch.Generator().manual_seed(seed)).double()
        before = len(pricer.redispatch.regions)
        assert is_same(priced(bounded, forecast, load), priced(free, forecast, load))
        forgotten += len(pricer.redispatch.regions) < before
        assert pricer.dispatch.nbytes <= limit[0]
        assert pricer.redispatch.nbytes <= limit[1]
    assert len(free._pricer.redispatch.regions) > 12, "more regions than the bounded book may hold"


@pytest.mark.parametrize("price", [lambda cost, f, d: cost(f, d), price_hours])
@pytest.mark.parametrize("which", ["forecast_pu", "load_pu"])
def test_absurd_loads_are_refused(price, which):
    cost = OperatingCost("ieee14")
    forecast, load = batches(cost, 1)[0]
    (forecast if which == "forecast_pu" else load)[1, 2] = 2e6 * float(load.max())
    with pytest.raises(InputError, match=rf"{which}: expected loads within 1e\+06 times .* in hour 1, load 2; give"):
        price(cost, forecast, load)
