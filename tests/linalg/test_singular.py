"""No solver claims a definite matrix where the columns of a design depend on each other, on any processor."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.linalg.collinear import COLLINEAR, normal
from unlearn.errors import SingularHessianError
from unlearn.forecasters.head import HeadObjective
from unlearn.linalg import GramOperator, IhvpOptions, SufficientStatistics, solve_cg, solve_dense, spectrum_and_limit


def with_intercept(build, n, d, seed):
    return torch.cat([build(n, d, seed), torch.ones(n, 1, dtype=torch.float64)], dim=1)


designs = st.builds(
    with_intercept, st.sampled_from(COLLINEAR), st.integers(2, 300), st.integers(3, 12), st.integers(0, 9999)
)


def weights_of(design, weighted):
    return normal(len(design), 1, 5)[:, 0].abs() + 0.1 if weighted else torch.ones(len(design), dtype=torch.float64)


@given(design=designs, weighted=st.booleans(), removed=st.booleans())
def test_heads_of_collinear_designs_are_refused(design, weighted, removed):
    target, weights = normal(len(design), 1, 6), weights_of(design, weighted)
    with pytest.raises(SingularHessianError, match="singular"):
        GramOperator(design, 1, weights).solve(torch.ones(design.shape[1], dtype=torch.float64))
    with pytest.raises(SingularHessianError):
        HeadObjective(design, target).fit(weights)
    statistics = SufficientStatistics.of(design, target, weights)
    if removed:
        others = normal(40, design.shape[1], 7), normal(40, 1, 8)
        statistics = statistics.add(*others).remove(*others)
    with pytest.raises(SingularHessianError, match="singular to the accuracy"):
        statistics.solve()


@given(design=designs, weighted=st.booleans(), dtype=st.sampled_from([torch.float64, torch.float32]))
def test_dense_solves_of_collinear_designs_are_refused(design, weighted, dtype):
    operator = Rows((design * weights_of(design, weighted).sqrt()[:, None]).to(dtype))
    with pytest.raises(SingularHessianError, match=r"singular to rounding: .*Remove dependent features"):
        solve_dense(operator, torch.ones(operator.size, dtype=dtype), len(design))


@given(design=designs, roundoff=st.sampled_from([0.0, 2.2e-16]))
def test_cg_solves_what_has_a_solution_and_nothing_else(design, roundoff):
    operator = Rows(design)
    options = IhvpOptions("cg", rtol=1e-8, on_failure="report", roundoff=roundoff)
    null = torch.linalg.eigh(design.T @ design).eigenvectors[:, 0]
    assert not solve_cg(operator, null + 0.1 * normal(len(null), 1, 3)[:, 0], options).converged


@given(exponent=st.floats(0, 9), n=st.integers(30, 300), d=st.integers(2, 20), seed=st.integers(0, 999))
def test_ill_conditioned_matrices_are_solved(exponent, n, d, seed):
    left, right = torch.linalg.qr(normal(n, d, seed))[0], torch.linalg.qr(normal(d, d, seed + 1))[0]
    sizes = torch.logspace(0, -exponent / 2, d, dtype=torch.float64)
    operator, rhs = Rows(left * sizes @ right.T), normal(d, 1, seed + 2)[:, 0]
    found = solve_dense(operator, rhs, n)
    expected = right @ (right.T @ rhs / sizes.square())
    assert float((found.value - expected).norm() / expected.norm()) <= 1e-13 * 10**exponent + 1e-12
    assert found.statistics["condition"] == pytest.approx(10**exponent, rel=1e-3)


@given(size=st.integers(1, 30), seed=st.integers(0, 999), exponent=st.integers(-8, 8))
def test_the_limit_scales_with_the_matrix_and_is_far_below_it(size, seed, exponent):
    rows = normal(size, size, seed) * 10.0**exponent
    spectrum, limit = spectrum_and_limit(rows @ rows.T, size)
    assert 0 < limit < 1e-11 * float(spectrum[-1])


def test_a_matrix_of_zeros_is_singular():
    with pytest.raises(SingularHessianError, match=r"singular to rounding: .*damping=\.\.\.\), such as 1\."):
        solve_dense(Rows(torch.zeros(4, 3, dtype=torch.float64)), torch.ones(3, dtype=torch.float64))


class Rows:
    """`A'A` of rows A as an operator."""

    def __init__(self, rows):
        self.rows, self.size, self.dtype = rows, rows.shape[1], rows.dtype

    def matvec(self, vector):
        return self.rows.T @ (self.rows @ vector)
