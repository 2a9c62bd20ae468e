"""An hour on which the interior-point solver once stalled (status AlmostSolved, KKT residual 4e-4)."""

import numpy as np
import pytest

from unlearn.grid import CompiledProgram, redispatch_program, redispatch_qp
from unlearn.grid.region_cache import RegionCache

P_GEN = [2.6929491694405003, 0.6308718671668845, 2.5591880302787106e-11, 1.2789570959165114e-11, 6.097421261073252e-12]
LOAD = [
    0.15300568643379367, 0.20206285360596432, 0.9078966355379301, 0.31548506396571374, 0.05662673606946677,
    0.07747465985107385, 0.3990817138883234, 0.5031270130427178, 0.2932211797365048, 0.06893854884672529,
    0.03655758893164527, 0.05222791931057582, 0.1236267086438449, 0.13450600718711977,
]  # fmt: skip


@pytest.mark.parametrize("form", ["ptdf", "angle"])
def test_it_is_solved(grid, form):
    program = CompiledProgram(redispatch_program(grid, form))
    parameters = np.array([P_GEN + LOAD])
    # After another hour, because the solver keeps its scaling from the first one it saw.
    solved = program.solve(np.concatenate([0.9 * parameters, parameters]))
    assert solved.kkt_residual.max() <= program.tolerance


def test_an_hour_that_fails_is_solved_again_with_other_settings(grid, monkeypatch):
    program = CompiledProgram(redispatch_program(grid, "ptdf"))
    parameters = np.array([P_GEN + LOAD])
    first = program._solve_each
    calls = []

    def spoil_the_first(attempt, rhs):
        primal, dual, iterations, statuses = first(attempt, rhs)
        calls.append(len(rhs))
        return (primal + (1.0 if len(calls) == 1 else 0.0), dual, iterations, statuses)

    monkeypatch.setattr(program, "_solve_each", spoil_the_first)
    solved = program.solve(np.repeat(parameters, 3, axis=0))
    assert calls == [3, 3]
    assert solved.kkt_residual.max() <= program.tolerance


def test_an_hour_at_a_corner_of_almost_parallel_lines_has_a_region(grid):
    """Its three free variables are fixed by the balance and two lines, which unscaled looked singular."""
    p_gen = [3.1392256054659446, 0.8597631785517386, 0.9835342456820826, 0.3762587605178218, 0.011422121699246501]
    load = [
        0.26744609503030703, 0.2837432424139977, 1.3051240946135152, 0.6532781711227947, 0.10238618260854011,
        0.13116646183326758, 0.7271414035481605, 0.7932362516466397, 0.49805045434002665, 0.12224121346300876,
        0.047728752503390516, 0.08036068476801686, 0.2098016548672553, 0.13917318976049106,
    ]  # fmt: skip
    cache = RegionCache(redispatch_qp(grid), lambda region: region.solution)
    placed = cache.place(np.array([[*p_gen, *load, 1.0]]))
    solved = redispatch_qp(grid).solve(np.array([p_gen + load]))
    np.testing.assert_allclose(placed.outputs.T, solved.primal, rtol=0, atol=1e-9)
