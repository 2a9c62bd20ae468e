"""Quantiles: scores against brute force, intervals against the exact quantile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.privacy.release.test_queries import Recorder, view_of
from unlearn.dp import SimulatedNoise, noise_source
from unlearn.privacy.release import MECHANISMS, Contribution, Quantile
from unlearn.privacy.release.mechanisms import Asking

CANDIDATES = tuple(float(x) for x in range(1, 31))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(-30, 30), st.integers(1, 9))
def test_scores_are_distances_of_ranks(counts: list[int], shift: int, tenths: int) -> None:
    query = Quantile(tuple(float(x) for x in range(1, len(counts))) or (1.0,), tenths / 10)
    counts = counts if len(counts) > 1 else [*counts, 0]
    share, n = query.share, sum(counts)
    wanted, below = [], 0
    for i, count in enumerate(counts):
        first = -(10**9) if i == 0 else below
        last = 10**9 if i == len(counts) - 1 else below + count
        below += count
        target = share * n * share.denominator + shift
        low, high = first * share.denominator, last * share.denominator
        wanted.append(-max(0, low - target, target - high))
    found = query.scores(np.array(counts), shift)
    assert found.tolist() == [int(own) for own in wanted]
    assert found.max() == 0


def asking(amount: float, promise: str, seed: int, confidence: float = 0.9) -> Asking:
    mechanism = MECHANISMS["discrete_laplace" if promise == "epsilon" else "discrete_gaussian"]
    view, source = view_of(24, "2013-01-01"), noise_source(SimulatedNoise(seed), _Simulated())
    return Asking(Contribution("household", 3.0, 40.0), view, confidence, mechanism, amount, source)


class _Simulated:
    name, simulated = "made up", True


@pytest.mark.parametrize("promise", ["epsilon", "rho"])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_intervals_hold_the_quantile_and_narrow_with_the_budget(promise: str, q: float) -> None:
    values = np.random.default_rng(0).gamma(4.0, 3.0, 2000)
    counts = np.histogram(values, [0, *CANDIDATES, np.inf])[0]
    exact = np.quantile(values, q, method="inverted_cdf")
    query, widths = Quantile(CANDIDATES, q), []
    for amount in (0.05, 20.0):
        own = asking(amount, promise, seed=1)
        found = [query.answered(counts, own) for _ in range(200)]
        held = np.mean([low[0] <= exact <= high[0] for _, low, high, _, _ in found])
        assert held >= 0.9
        assert all(low[0] <= value[0] <= high[0] for value, low, high, _, _ in found)
        widths.append(np.mean([high[0] - low[0] for _, low, high, _, _ in found]))
    assert widths[1] < widths[0]
    assert abs(np.median([value[0] for value, *_ in found]) - exact) <= 1.0


def test_coarse_candidates_and_empty_groups_have_honest_intervals() -> None:
    own = asking(10.0, "epsilon", seed=2)
    # All households between two candidates: no candidate is near the median.
    low, high = Quantile((1.0, 30.0)).answered(np.array([0, 500, 0]), own)[1:3]
    assert low[0] <= 1.0
    assert high[0] >= 30.0
    low, high = Quantile((1.0, 30.0)).answered(np.array([0, 0, 0]), own)[1:3]
    assert (low[0], high[0]) == (0.0, 40.0)  # 40 kWh is what a day can have
    groups = Quantile((1.0, 30.0)).answered(np.array([900, 0, 0, 0, 0, 900]), own)
    assert groups.values.tolist() == [0.5, 35.0]


def test_each_of_three_choices_takes_a_third() -> None:
    own = Recorder(Contribution("household", 3.0), view_of(24, "2013-01-01"))
    query = Quantile(CANDIDATES, 0.25)
    query.answered(np.ones(31, dtype=int), own)
    assert len(own.seen) == 3
    assert {sensitivity.linf for _, sensitivity in own.seen} == {3}  # of quarters of a household
