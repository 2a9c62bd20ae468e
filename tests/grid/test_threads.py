"""One priced object in several threads, processes and copies, and after an interruption."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.proofs import proof_count
from unlearn.grid import GridCase, OperatingCost

Hours = tuple[Tensor, Tensor]


def batches(case: GridCase, count: int, n: int) -> list[Hours]:
    """Batches of random hours, 40 to 100 % of nominal with errors of 0.05 p.u.; most have regions of their own."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        load = random.uniform(0.4, 1.0, (n, case.n_loads)) * case.nominal_load_mw / case.base_mva
        forecast = np.clip(load + random.normal(0.0, 0.05, load.shape), 0.0, None)
        found.append((torch.from_numpy(forecast), torch.from_numpy(load)))
    return found


def priced(cost: OperatingCost, hours: Hours) -> tuple[Tensor, Tensor]:
    """Cost of each hour, and its gradient in the forecast."""
    forecast = hours[0].clone().requires_grad_()
    parts = cost(forecast, hours[1])
    (gradient,) = torch.autograd.grad(parts.total.sum(), forecast)
    return parts.total.detach(), gradient


def n_wrong(found: list[tuple[Tensor, Tensor]], expected: list[tuple[Tensor, Tensor]]) -> int:
    def same(one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=1e-8, atol=1e-8)

    return sum(not all(map(same, own, true)) for own, true in zip(found, expected, strict=True))


@pytest.mark.proof
def test_threads_that_share_a_cost_get_the_prices_of_one(grid: GridCase) -> None:
    hours = batches(grid, 8 * proof_count(20), 4)
    fresh = OperatingCost(grid)
    expected = [priced(fresh, own) for own in hours]
    shared = OperatingCost(grid)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda own: priced(shared, own), hours))
    assert n_wrong(found, expected) == 0
    assert shared.statistics["dispatch"].hours == 4 * len(hours)


def test_copies_made_while_another_thread_prices_are_whole(grid: GridCase) -> None:
    hours = batches(grid, 24, 4)
    shared, fresh = OperatingCost(grid), OperatingCost(grid)
    expected = [priced(fresh, own) for own in hours]
    thread = threading.Thread(target=lambda: [priced(shared, own) for own in hours])
    thread.start()
    copies = [pickle.loads(pickle.dumps(shared)) for _ in range(4)]
    thread.join()
    for copied in copies:
        assert n_wrong([priced(copied, own) for own in hours[:6]], expected[:6]) == 0


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_workers_price_while_a_thread_of_their_parent_does(grid: GridCase) -> None:
    hours = batches(grid, 8, 4)
    shared, fresh = OperatingCost(grid), OperatingCost(grid)
    expected = [priced(fresh, own) for own in hours]
    stop = threading.Event()

    def go_on_pricing() -> None:
        while not stop.is_set():
            for own in hours:
                priced(shared, own)

    class Prices(Dataset[Tensor]):
        def __len__(self) -> int:
            return len(hours)

        def __getitem__(self, place: int) -> Tensor:
            return torch.cat(priced(shared, hours[place])[:1])

    thread = threading.Thread(target=go_on_pricing)
    thread.start()
    try:
        loader = DataLoader(Prices(), batch_size=None, num_workers=2, multiprocessing_context="fork")
        found = list(loader)
    finally:
        stop.set()
        thread.join()
    for own, (total, _) in zip(found, expected, strict=True):
        torch.testing.assert_close(own, total, rtol=1e-8, atol=1e-8)


def test_an_interruption_in_the_middle_of_a_batch_breaks_nothing(
    grid: GridCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = batches(grid, 6, 4)
    fresh = OperatingCost(grid)
    expected = [priced(fresh, own) for own in hours]
    for place in ("_count", "make_room", "_learn", "_outputs"):
        cost = OperatingCost(grid)
        priced(cost, hours[0])
        cache = cost._pricer.redispatch  # type: ignore[union-attr]
        with monkeypatch.context() as patch:
            patch.setattr(cache, place, _interrupted)
            patch.setattr(cache, "capacity", len(cache.regions))
            with pytest.raises(KeyboardInterrupt):
                _ = [priced(cost, own) for own in hours]
        assert n_wrong([priced(cost, own) for own in hours], expected) == 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_caches_stay_within_their_memory_and_price_as_before(grid: GridCase, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = batches(grid, 30, 10)
    fresh = OperatingCost(grid)
    expected = [priced(fresh, own) for own in hours]
    monkeypatch.setattr("unlearn.grid.region_cache.CACHE_BYTES", 2**18)
    small = OperatingCost(grid)
    found = [priced(small, own) for own in hours]
    caches = small._pricer.dispatch, small._pricer.redispatch  # type: ignore[union-attr]
    assert max(cache.nbytes for cache in caches) <= 2**18
    assert sum(cache.nbytes for cache in (fresh._pricer.dispatch, fresh._pricer.redispatch)) > 2 * 2**18  # type: ignore[union-attr]
    inside = [~fresh(*own).degenerate for own in hours]
    for (total, gradient), (true, slope), rows in zip(found, expected, inside, strict=True):
        torch.testing.assert_close(total, true, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradient[rows], slope[rows], rtol=1e-6, atol=1e-6)
