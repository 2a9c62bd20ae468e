"""Microaggregation: every curve in a crowd of k, against an optimum by dynamic programming where there is one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.proofs import proof_count
from unlearn.errors import InputError
from unlearn.privacy.anonymize import crowd_sizes, microaggregated


def optimum(values: np.ndarray, k: int) -> float:
    """Least sum of squares of classes of at least k numbers (Hansen and Mukherjee 2003): runs of sorted ones."""
    x = np.sort(values)
    best = [0.0] + [np.inf] * len(x)
    for end in range(k, len(x) + 1):
        best[end] = min(
            best[start] + float(((x[start:end] - x[start:end].mean()) ** 2).sum())
            for start in range(max(0, end - 2 * k + 1), end - k + 1)
        )
    return best[-1]


@given(
    arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.integers(0, 9).map(float)),
    st.integers(1, 7),
)
def test_every_released_curve_is_there_k_times_and_is_the_mean_of_its_class(curves: np.ndarray, k: int) -> None:
    k = min(k, len(curves))
    made = microaggregated(curves, k)
    assert crowd_sizes(made.centroids).min() >= k
    assert made.sizes.sum() == len(curves)
    assert made.sizes.min() >= k
    assert made.sizes.max() <= 2 * k - 1
    for own in range(len(made.sizes)):
        inside = made.group == own
        assert np.abs(made.centroids[inside] - curves[inside].mean(axis=0)).max() < 1e-12
    total = ((curves - curves.mean(axis=0)) ** 2).sum()
    assert made.information_loss == pytest.approx(
        ((curves - made.centroids) ** 2).sum() / total if total > 1e-12 else 0.0, abs=1e-12
    )
    assert 0 <= made.information_loss <= 1 + 1e-12


@given(st.lists(st.integers(0, 1000).map(float), min_size=2, max_size=40), st.integers(1, 6))
def test_no_less_than_the_optimum_of_single_numbers(values: list[float], k: int) -> None:
    k = min(k, len(values))
    x = np.array(values)
    made = microaggregated(x[:, None], k)
    found = float(((x - made.centroids[:, 0]) ** 2).sum())
    assert found >= optimum(x, k) - 1e-6 * (1 + found)


def test_near_the_optimum_of_single_numbers_on_average() -> None:
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        x = random.gamma(2.0, size=60)
        made = microaggregated(x[:, None], 5)
        ratios.append(float(((x - made.centroids[:, 0]) ** 2).sum()) / optimum(x, 5))
    assert min(ratios) >= 1 - 1e-12
    assert np.mean(ratios) < 2


def test_optimum_itself_is_that_of_all_partitions() -> None:
    x = np.array([0.0, 1.0, 5.0, 6.0, 7.0, 20.0])

    def partitions(left: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
        if not left:
            return [[]]
        return [
            [(left[0], *rest), *more]
            for size in range(1, len(left))
            for rest in itertools.combinations(left[1:], size)
            for more in partitions(tuple(i for i in left if i not in (left[0], *rest)))
        ]

    sums = [
        sum(float(((x[list(c)] - x[list(c)].mean()) ** 2).sum()) for c in own) for own in partitions(tuple(range(6)))
    ]
    assert optimum(x, 2) == pytest.approx(min(sums))


def test_clear_groups_are_found() -> None:
    random = np.random.default_rng(1)
    centre = np.repeat(np.arange(8) * 100.0, 5)
    curves = centre[:, None] + random.normal(size=(40, 24))
    made = microaggregated(curves, 5)
    assert all(len(set(made.group[centre == own])) == 1 for own in np.unique(centre))
    assert made.information_loss < 1e-3


def test_one_is_the_identity_and_all_the_mean() -> None:
    curves = np.random.default_rng(0).gamma(1.0, size=(9, 4))
    same = microaggregated(curves, 1)
    assert np.array_equal(same.centroids, curves)
    assert same.information_loss == 0
    np.testing.assert_allclose(microaggregated(curves, 9).centroids, np.tile(curves.mean(axis=0), (9, 1)))
    assert microaggregated(curves, 9).information_loss == pytest.approx(1)
    assert microaggregated(np.ones((6, 2)), 2).information_loss == 0


def test_loss_rises_with_k_on_average() -> None:
    random = np.random.default_rng(2)
    loss = np.mean(
        [
            [microaggregated(curves, k).information_loss for k in (1, 2, 4, 8, 16)]
            for curves in random.gamma(1.0, size=(10, 80, 6))
        ],
        axis=0,
    )
    assert (np.diff(loss) > 0).all()


def plain_mdav(curves: np.ndarray, k: int) -> np.ndarray:
    """The published steps, one by one."""
    left, group, n = list(range(len(curves))), np.zeros(len(curves), dtype=int), 0

    def distance(i: int, point: np.ndarray) -> float:
        return float(((curves[i] - point) ** 2).sum())

    def close(point: np.ndarray) -> None:
        nonlocal n, left
        taken = sorted(left, key=lambda i: distance(i, point))[:k]
        group[taken] = n
        n += 1
        left = [i for i in left if i not in taken]

    while len(left) >= 2 * k:
        far = max(left, key=lambda i: distance(i, curves[left].mean(axis=0)))
        opposite = max(left, key=lambda i: distance(i, curves[far]))
        two = len(left) >= 3 * k
        close(curves[far])
        if two:
            close(curves[opposite])
    group[left] = n
    return group


@pytest.mark.parametrize("seed", range(proof_count(100)))
def test_classes_are_those_of_the_published_steps(seed: int) -> None:
    random = np.random.default_rng(seed)
    k = int(random.integers(2, 6))
    curves = random.gamma(1.0, size=(int(random.integers(k, 90)), int(random.integers(1, 8))))
    assert np.array_equal(microaggregated(curves, k).group, plain_mdav(curves, k))


@given(arrays(np.float64, (12, 2), elements=st.sampled_from([0.0, -0.0, 1.0, np.nan])))
def test_crowds_are_counts_of_equal_rows(table: np.ndarray) -> None:
    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.array_equal(a, b, equal_nan=True))

    assert crowd_sizes(table).tolist() == [sum(same(a, b) for b in table) for a in table]


def test_refusals() -> None:
    with pytest.raises(InputError, match="k: expected at most the number of curves"):
        microaggregated(np.zeros((3, 2)), 4)
    for k in (0, 1.5, True):
        with pytest.raises(InputError, match="k: expected a whole number"):
            microaggregated(np.zeros((3, 2)), k)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 2 axes"):
        microaggregated(np.zeros(3), 2)
    with pytest.raises(InputError, match="expected finite values"):
        microaggregated([[np.nan], [0.0]], 2)
    with pytest.raises(InputError, match="at least one row and column"):
        crowd_sizes(np.zeros((0, 3)))
