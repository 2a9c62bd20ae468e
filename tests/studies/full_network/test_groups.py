"""Groups of rows to leave out: as many and as large as asked for, of the kind they claim to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.studies.full_network.problem import kept_rows, plan_groups

N = 200
SCORES = np.random.default_rng(0).normal(size=N)


@given(
    shares=st.lists(st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.4]), min_size=1, max_size=3, unique=True),
    repeats=st.integers(1, 3),
    singles=st.integers(1, 20),
    subsets=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_groups_have_the_size_and_kind_that_they_say(
    shares: list[float], repeats: int, singles: int, subsets: int, seed: int
) -> None:
    groups = plan_groups(SCORES, shares, repeats, singles, subsets, seed)
    uses = [group.use for group in groups]
    assert uses.count("single") == 3 * singles
    assert uses.count("group") == len(shares) * (2 * repeats + 2)
    assert uses.count("choice") == 4 * len(shares[::2])
    assert uses.count("subset") == subsets
    assert uses == sorted(uses, key=("single", "group", "choice", "subset").index)
    for group in groups:
        assert (np.diff(group.rows) > 0).all()
        assert len(group.rows) == pytest.approx(group.share * N, abs=1)
        assert group.rows.min() >= 0
        assert group.rows.max() < N
        if group.kind == "block":
            assert group.rows[-1] - group.rows[0] == len(group.rows) - 1
        if group.use == "group" and group.kind in ("helpful", "harmful"):
            sign = 1 if group.kind == "helpful" else -1
            assert (sign * SCORES[group.rows]).min() >= np.delete(sign * SCORES, group.rows).max()
        if group.use == "choice" and group.kind == "helpful":
            assert SCORES[group.rows].min() >= np.sort(SCORES)[-2 * len(group.rows) - 1]
    rows = [int(group.rows[0]) for group in groups if group.use == "single"]
    assert len(set(rows)) == len(rows)


def test_a_seed_repeats_and_kept_rows_are_the_others() -> None:
    one, same = (plan_groups(SCORES, [0.1], 1, 2, 2, seed=4) for _ in range(2))
    other = plan_groups(SCORES, [0.1], 1, 2, 2, seed=5)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))
    keep = kept_rows(one, N).numpy()
    for group, own in zip(one, keep, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(~own), group.rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": []}, "above 0 and below 0.5"),
        ({"shares": [0.1, 0.5]}, "above 0 and below 0.5"),
        ({"singles": 67}, "expected at most 66 of each kind for 200 rows, got 67"),
        ({"scores": np.full(N, np.nan)}, "scores: expected finite values"),
    ],
)
def test_plans_that_cannot_be_made_are_refused(change: dict, message: str) -> None:
    given = {"scores": SCORES, "shares": [0.1], "repeats": 1, "singles": 2, "subsets": 2} | change
    with pytest.raises(InputError, match=message):
        plan_groups(**given)
