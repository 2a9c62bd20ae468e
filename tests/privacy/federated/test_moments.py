from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.data import distinct_columns
from unlearn.errors import ProtocolError
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.moments import (
    added,
    as_vector,
    centred,
    distinct,
    from_vector,
    negated,
    vector_length,
)


def rows(seed: int = 0, n: int = 50, far: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    columns = random.normal(size=(n, 3)) + far
    design = np.concatenate([columns, np.ones((n, 1))], axis=1)
    return torch.from_numpy(design), torch.from_numpy(random.normal(size=(n, 2)))


def exact(z: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Moments of z − origin in rational numbers, rounded once."""
    about = [[Fraction(float(v)) - Fraction(float(o)) for v, o in zip(row, origin, strict=True)] for row in z]
    size = z.shape[1]
    return np.array([[float(sum(r[j] * r[k] for r in about)) for k in range(size)] for j in range(size)])


def test_a_vector_is_taken_back() -> None:
    statistics = SufficientStatistics.of(*rows())
    vector = as_vector(statistics)
    back = from_vector(vector, 4, 2)
    assert vector.shape == (2, vector_length(6))
    assert torch.equal(back.moments, statistics.moments)
    assert torch.equal(back.rounding, statistics.rounding)
    assert back.total == statistics.total


@pytest.mark.parametrize("fault", ["short", "nan", "infinite"])
def test_other_vectors_are_refused(fault: str) -> None:
    vector = as_vector(SufficientStatistics.of(*rows()))
    if fault == "short":
        vector = vector[:, 1:]
    else:
        vector[1, 3] = np.nan if fault == "nan" else np.inf
    with pytest.raises(ProtocolError, match=r"expected 28 numbers|expected finite"):
        from_vector(vector, 4, 2)


@given(seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=5, unique=True), far=st.sampled_from([0.0, 1e3, 1e6]))
def test_what_was_added_and_taken_away_leaves_the_rest(seeds: list[int], far: float) -> None:
    parts = [SufficientStatistics.of(*rows(seed, 20, far)) for seed in seeds]
    total = parts[0]
    for one in parts[1:]:
        total = added(total, one)
    for one in parts[1:]:
        total = added(total, negated(one))
    assert total.total == parts[0].total
    apart = (total.moments - parts[0].moments).sum(dim=0).abs()
    root = total.rounding.sqrt()
    assert (apart <= root[:, None] * root).all()
    assert (apart <= 1e-26 * max(far, 1.0) ** 2 * 20).all()


@given(seed=st.integers(0, 10**6), far=st.sampled_from([0.0, 300.0, 1e6]))
def test_moments_about_another_origin_are_those_of_moved_rows(seed: int, far: float) -> None:
    design, target = rows(seed, 12, far)
    origin = torch.cat([design[:, :3].mean(dim=0), torch.zeros(3, dtype=torch.float64)])
    found = centred(SufficientStatistics.of(design, target), origin)
    expected = exact(torch.cat([design, target], dim=1).numpy(), origin.numpy())
    apart = np.abs(found.moments.sum(dim=0).numpy() - expected)
    root = found.rounding.sqrt().numpy()
    assert (apart <= root[:, None] * root + 1e-15 * np.abs(expected)).all()
    assert apart.max() <= 1e-22 * 12 * (1 + far) ** 2 + 1e-13
    assert torch.equal(found.moments, found.moments.transpose(1, 2))


def test_columns_that_differ_are_those_of_the_rows() -> None:
    random = np.random.default_rng(3)
    n = 400
    kelvin = 290 + random.normal(size=n)
    other = random.normal(size=n)
    features = np.stack([other, kelvin, kelvin - 273.15, np.full(n, 7.3), -2 * other, other + 1e-5 * kelvin], axis=1)
    design = torch.from_numpy(np.concatenate([features, np.ones((n, 1))], axis=1))
    found, means = distinct(SufficientStatistics.of(design, torch.zeros((n, 1), dtype=torch.float64)))
    assert [(int(i) // 6, int(i) % 6) for i in found] == list(distinct_columns(features[:, None, :]))
    assert found.tolist() == [0, 1, 5]
    np.testing.assert_allclose(means, features.mean(axis=0), rtol=1e-13, atol=1e-13)


def test_sums_of_no_rows_have_no_columns() -> None:
    design, target = rows(n=3)
    found, means = distinct(SufficientStatistics.of(design[:0], target[:0]))
    assert len(found) == 0
    assert not means.any()
