"""Which totals may be opened, against every combination of them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn.errors import ProtocolError
from unlearn.privacy.mpc import Openings, plan

N, MINIMUM = 9, 3
masks = st.lists(st.booleans(), min_size=N, max_size=N)


def singled_out(totals: np.ndarray) -> bool:
    """Whether some combination of totals is that of 1 to MINIMUM - 1 meters alone, by the ranks of all such."""
    if not len(totals):
        return False
    rank = np.linalg.matrix_rank(totals)
    for size in range(1, MINIMUM):
        for meters in combinations(range(N), size):
            # Whatever weights these few have: is anything in the span zero on all others, and not on them?
            others = np.delete(totals, meters, axis=1)
            if np.linalg.matrix_rank(others) < rank:
                return True
    return False


@settings(max_examples=60)
@given(st.lists(masks, min_size=1, max_size=4), st.lists(st.integers(0, 2), min_size=N, max_size=N))
def test_no_combination_of_what_was_agreed_upon_singles_out_few_meters(sets: list[list[bool]], own: list[int]) -> None:
    group_of, openings, rows = np.array(own), Openings(N, MINIMUM), []
    for one in sets:
        included = np.flatnonzero(one)
        try:
            chosen = plan(included, group_of, 3, MINIMUM, open_groups=True)
            openings.agree(included, group_of, chosen.groups)
        except ProtocolError:
            continue
        inside = np.isin(np.arange(N), included)
        rows += [inside, *(inside & (group_of == group) for group in chosen.groups)]
    assert not singled_out(np.array(rows, dtype=float))


def test_the_oracle_sees_a_difference_of_one_meter() -> None:
    assert singled_out(np.array([[1.0] * N, [1.0] * (N - 1) + [0.0]]))


def test_a_small_group_is_not_what_the_region_leaves_over() -> None:
    group_of = np.repeat([0, 1, 2, 3], [2, 20, 30, 5])
    chosen = plan(np.arange(57), group_of, 4, 15, open_groups=True)
    assert (chosen.groups.tolist(), chosen.too_few.tolist(), chosen.held_back.tolist()) == ([2], [0, 3], [1])
    # With enough meters in small groups together, nothing is held back.
    chosen = plan(np.arange(50), np.repeat([0, 1, 2, 3], [10, 10, 15, 15]), 4, 15, open_groups=True)
    assert (chosen.groups.tolist(), chosen.held_back.tolist()) == ([2, 3], [])
    # Where groups stay secret, all do.
    assert plan(np.arange(57), group_of, 4, 15, open_groups=False).groups.tolist() == []


def test_too_few_meters_in_all() -> None:
    with pytest.raises(ProtocolError, match="not enough meters"):
        plan(np.arange(14), np.zeros(14, dtype=int), 1, 15, open_groups=True)


def test_sets_that_differ_by_few_meters() -> None:
    group_of, none = np.zeros(60, dtype=int), np.array([], dtype=int)
    openings = Openings(60, 15)
    openings.agree(np.arange(40), group_of, none)
    openings.agree(np.arange(40), group_of, none)  # the same once more
    for others in (np.arange(39), np.arange(41), np.arange(1, 41), np.arange(26, 60)):
        with pytest.raises(ProtocolError, match="differ by fewer than 15"):
            openings.agree(others, group_of, none)
    openings.agree(np.arange(40, 60), group_of, none)
    openings.agree(np.arange(25), group_of, none)
    # Each of these differs enough from each before, yet with them it would single out 10 meters.
    with pytest.raises(ProtocolError, match="differ by fewer"):
        openings.agree(np.arange(10, 55), group_of, none)
