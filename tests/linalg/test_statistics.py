"""Sufficient statistics against least squares in exact rational arithmetic, and what they refuse."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.proofs import proof_count
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import ACCURACY, SufficientStatistics

D, B = 5, 3


def problem(seed, n=60, condition_root=1.0):
    """Design with an intercept, the last but one column nearly a copy of the one before, and targets."""
    random = np.random.default_rng(seed)
    design = random.normal(size=(n, D))
    design[:, -1] = 1.0
    design[:, -2] = design[:, -3] + design[:, -2] / condition_root
    target = design @ random.normal(size=(D, B)) + random.normal(size=(n, B))
    return torch.from_numpy(design), torch.from_numpy(target)


def exact_head(design, target, weights=None, ridge=0):
    """The minimiser by Gaussian elimination on fractions, shape (B, D)."""
    rows = [[Fraction(v) for v in row] for row in torch.cat([design, target], dim=1).tolist()]
    w = [Fraction(v) for v in ([1.0] * len(rows) if weights is None else weights.tolist())]
    d = design.shape[1]
    system = [[sum(w[i] * r[j] * r[k] for i, r in enumerate(rows)) for k in range(len(rows[0]))] for j in range(d)]
    for j in range(d):
        system[j][j] += Fraction(ridge)
    for j in range(d):
        system[j] = [value / system[j][j] for value in system[j]]
        for k in range(d):
            if k != j:
                system[k] = [a - system[k][j] * b for a, b in zip(system[k], system[j], strict=True)]
    head = [[float(system[j][d + b]) for j in range(d)] for b in range(target.shape[1])]
    return torch.tensor(head, dtype=torch.float64)


def distance(solution, expected):
    return float((solution.value - expected.reshape(-1)).norm() / expected.norm())


@given(seed=st.integers(0, 1000), exponent=st.floats(0, 5))
def test_a_downdate_equals_least_squares_in_exact_arithmetic(seed, exponent):
    """Gram matrices of condition 1 to 1e10 and more: all digits, where float64 normal equations lose up to ten."""
    design, target = problem(seed, condition_root=10**exponent)
    left = SufficientStatistics.of(design, target).remove(design[:20], target[:20])
    solution = left.solve()
    error = distance(solution, exact_head(design[20:], target[20:]))
    assert solution.converged
    assert error <= solution.statistics["error_estimate"] <= ACCURACY
    assert left.total == 40


def test_plain_normal_equations_would_fail_where_these_do_not():
    design, target = problem(0, condition_root=1e5)
    expected = exact_head(design[20:], target[20:])
    gram = design.T @ design - design[:20].T @ design[:20]
    cross = design.T @ target - design[:20].T @ target[:20]
    plain = torch.linalg.solve(gram, cross).T
    assert float((plain - expected).norm() / expected.norm()) > 1e-8
    assert distance(SufficientStatistics.of(design, target).remove(design[:20], target[:20]).solve(), expected) < 1e-11


@pytest.mark.parametrize("ridge", [0.0, 0.7])
def test_weights_outputs_and_a_ridge(ridge):
    design, target = problem(1)
    weights = torch.from_numpy(np.random.default_rng(1).choice([0.0, 0.3, 1.0, 2.0], 60))
    statistics = SufficientStatistics.of(design, target, weights).remove(design[:20], target[:20], weights[:20])
    outputs = torch.tensor([2, 0])
    expected = exact_head(design[20:], target[20:], weights[20:], ridge)[outputs]
    assert distance(statistics.solve(outputs, ridge), expected) <= 1e-13
    assert statistics.total == pytest.approx(float(weights[20:].sum()))


@given(seed=st.integers(0, 1000), m=st.integers(1, 40), scale=st.floats(1e-3, 1e3))
def test_removing_what_was_added_changes_nothing(seed, m, scale):
    design, target = problem(seed)
    extra, wanted = (scale * part[:m] for part in problem(seed + 1))
    before = SufficientStatistics.of(design, target)
    after = before.add(extra, wanted).remove(extra, wanted)
    torch.testing.assert_close(after.moments[0], before.moments[0], rtol=1e-15, atol=0)
    assert after.total == before.total
    assert distance(after.solve(), before.solve().value) <= 1e-15
    assert (after.rounding >= before.rounding).all(), "the bound on the error only grows"


@given(seed=st.integers(0, 1000))
def test_the_order_and_the_division_of_removals_do_not_matter(seed):
    design, target = problem(seed)
    random = np.random.default_rng(seed)
    whole = SufficientStatistics.of(design, target)
    once = whole.remove(design[:40], target[:40])
    parts = np.array_split(random.permutation(40), random.integers(2, 9))
    pieces = whole
    for part in parts:
        pieces = pieces.remove(design[part], target[part])
    assert (pieces.rounding >= whole.rounding).all()
    assert distance(pieces.solve(), once.solve().value) <= 1e-15


def test_the_slope_is_that_of_the_squared_error():
    design, target = problem(3)
    head = torch.linspace(-1, 1, B * D, dtype=torch.float64).reshape(B, D)
    expected = ((design @ head.T - target).T @ design + 0.5 * head)[[1]]
    found = SufficientStatistics.of(design, target).slope(head[[1]], torch.tensor([1]), ridge=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_error_estimate_follows_the_condition_and_the_noise():
    """Noise in the removed rows, as of features computed anew, shows in the estimate; it bounds the true error."""
    design, target = problem(4, condition_root=1e3)
    statistics = SufficientStatistics.of(design, target)
    disturbed = design[:20] * (1 + 1e-13 * torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (20, D))))
    expected = exact_head(design[20:], target[20:])
    found = statistics.remove(disturbed, target[:20], noise=1e-13).solve()
    assert 1e-12 < distance(found, expected) <= found.statistics["error_estimate"]
    assert statistics.remove(disturbed, target[:20]).solve().statistics["error_estimate"] < 1e-13


@pytest.mark.parametrize("scale", [1e4, 1e5, 1e6, 1e7])
def test_the_estimate_bounds_what_removing_far_larger_rows_leaves_behind(scale):
    """Rows 10^4 to 10^7 times as large leave rounding errors that count against the small ones that remain."""
    design, target = problem(10)
    design[:20] *= scale
    solution = SufficientStatistics.of(design, target).remove(design[:10], target[:10])
    solution = solution.remove(design[10:20], target[10:20]).solve()
    error = distance(solution, exact_head(design[20:], target[20:]))
    estimate = solution.statistics["error_estimate"]
    assert error <= estimate <= 1e4 * max(error, 1e-16)
    assert solution.converged == (estimate <= ACCURACY)


def test_beyond_their_accuracy_statistics_say_so():
    design, target = problem(5, condition_root=1e4)
    solution = SufficientStatistics.of(design, target).remove(design[:20], target[:20], noise=1e-13).solve()
    assert (solution.converged, solution.status) == (False, "inaccurate")
    assert solution.statistics["error_estimate"] > ACCURACY


def test_rows_that_were_never_added_are_refused():
    design, target = problem(6)
    statistics = SufficientStatistics.of(design, target)
    with pytest.raises(InputError, match="rows were removed that had never been added"):
        statistics.remove(10 * design[:20], target[:20]).solve()
    other = statistics.remove(design[:20], 10 * target[:20])
    assert (other.unexplained(other.solve().value.reshape(B, D)) < -0.01).any()
    fair = statistics.remove(design[:20], target[:20])
    residual = target[20:] - design[20:] @ exact_head(design[20:], target[20:]).T
    torch.testing.assert_close(
        fair.unexplained(fair.solve().value.reshape(B, D)), residual.square().sum(0) / target[20:].square().sum(0)
    )


def test_a_removal_that_leaves_too_little_names_the_columns():
    design, target = problem(7)
    design[20:, 1] = 2 * design[20:, 0]
    statistics = SufficientStatistics.of(design, target).remove(design[:20], target[:20])
    with pytest.raises(
        SingularHessianError,
        match=r"rank 4 of 5; dependent features: temp, wind. Keep more rows, .*go back to the data",
    ):
        statistics.solve(names=["temp", "wind", "sun", "rain", "intercept"])


@pytest.mark.parametrize(
    ("design", "target", "weights", "message"),
    [
        (torch.ones(4, D + 1), torch.ones(4, B), None, r"expected shapes \(m, 5\) and \(m, 3\), got \(4, 6\)"),
        (torch.ones(4, D), torch.ones(3, B), None, r"got \(4, 5\) and \(3, 3\)"),
        (torch.full((4, D), torch.nan), torch.ones(4, B), None, "expected finite values, got NaN"),
        (torch.ones(4, D), torch.ones(4, B), torch.tensor([1.0, -1.0, 0.0, 0.0]), "at least 0, got -1.0"),
        (torch.ones(4, D), torch.ones(4, B), torch.ones(3), r"one per sample, shape \(4,\), got \(3,\)"),
    ],
)
def test_unusable_rows_are_refused(design, target, weights, message):
    statistics = SufficientStatistics.of(*problem(8))
    with pytest.raises(InputError, match=message):
        statistics.remove(design, target, weights)


def test_nothing_removed_is_nothing_changed():
    design, target = problem(9)
    before = SufficientStatistics.of(design, target)
    after = before.remove(design[:5], target[:5], torch.zeros(5))
    assert torch.equal(after.moments, before.moments)
    assert after.total == before.total


@given(seed=st.integers(0, 1000), exponent=st.floats(0, 5), weighted=st.booleans(), changed=st.integers(0, B))
def test_other_targets_equal_least_squares_in_exact_arithmetic(seed, exponent, weighted, changed):
    design, target = problem(seed, condition_root=10**exponent)
    random = np.random.default_rng(seed + 1)
    other = target.clone()
    other[:, :changed] += torch.from_numpy(random.normal(size=(len(target), changed)))
    weights = torch.from_numpy(random.integers(0, 3, len(target)).astype(float)) if weighted else None
    moved = SufficientStatistics.of(design, target, weights).retarget(design, target, other, weights)
    solution = moved.solve()
    assert distance(solution, exact_head(design, other, weights)) <= solution.statistics["error_estimate"]
    assert solution.converged or weighted  # roots of weights are rounded, which the estimate counts
    anew = SufficientStatistics.of(design, other, weights)
    torch.testing.assert_close(moved.moments.sum(dim=0), anew.moments.sum(dim=0), rtol=1e-15, atol=1e-12)
    torch.testing.assert_close(moved.moments, moved.moments.transpose(1, 2), rtol=0, atol=0)


def test_many_changes_of_targets_lose_nothing():
    design, target = problem(3)
    random = np.random.default_rng(0)
    moved, now = SufficientStatistics.of(design, target), target
    for _ in range(proof_count(2000)):
        then = now + torch.from_numpy(random.normal(size=now.shape) * (random.random(B) < 0.5))
        moved, now = moved.retarget(design, now, then), then
    solution = moved.solve()
    assert distance(solution, exact_head(design, now)) <= solution.statistics["error_estimate"] <= ACCURACY
