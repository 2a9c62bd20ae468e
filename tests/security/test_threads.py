"""One priced object attacked by many threads and by long runs."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.grid.test_threads import batches, n_wrong, priced
from tests.proofs import proof_count
from tests.security.conftest import Attacked
from unlearn.grid import OperatingCost, load_case
from unlearn.temporary import Guard


def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "__enter__", lambda self: None)
    monkeypatch.setattr(Guard, "__exit__", lambda self, *raised: None)


@pytest.mark.proof
@pytest.mark.parametrize(("name", "before"), [("ieee14", "457 wrong, 57 raised"), ("ieee9", "91 wrong, 5 raised")])
def test_eight_threads_get_the_prices_of_one(name: str, before: str, attacked: Attacked) -> None:
    case = load_case(name)
    hours = batches(case, 8 * proof_count(200), 2)
    fresh, shared = OperatingCost(case), OperatingCost(case)
    expected = [priced(fresh, own) for own in hours]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda own: priced(shared, own), hours))
    wrong = n_wrong(found, expected) + n_wrong([priced(shared, own) for own in hours[:50]], expected[:50])
    attacked(f"8 threads price batches of one object, {name}", len(hours), before, f"{wrong} wrong, 0 raised")
    assert wrong == 0


def test_without_its_guard_the_attack_finds_wrong_prices(monkeypatch: pytest.MonkeyPatch, attacked: Attacked) -> None:
    case = load_case("ieee14")
    hours = batches(case, 8 * 60, 8)
    fresh = OperatingCost(case)
    expected = [fresh(*own).total for own in hours]
    unguarded(monkeypatch)
    shared = OperatingCost(case)

    def right(place: int) -> bool:
        try:
            return torch.allclose(shared(*hours[place]).total, expected[place], rtol=1e-8)
        except Exception:  # whatever a torn cache leads to
            return False

    with ThreadPoolExecutor(8) as pool:
        wrong = list(pool.map(right, range(len(hours)))).count(False)
    attacked("the same without the guard (positive control)", len(hours), "", f"{wrong} wrong")
    assert wrong > 0


def test_long_runs_stay_within_their_memory(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.grid.region_cache.CACHE_BYTES", 2**25)
    case = load_case("ieee118")
    cost = OperatingCost(case)
    caches = cost._pricer.dispatch, cost._pricer.redispatch  # type: ignore[union-attr]
    most = 0
    for forecast, load in batches(case, 12, 6):
        cost(forecast, load)
        most = max(most, *(cache.nbytes for cache in caches))
    attacked(
        "12 batches of random hours on ieee118, caches of 32 MiB", 12, "grew without end", f"{most / 2**20:.1f} MiB"
    )
    assert most <= 2**25
