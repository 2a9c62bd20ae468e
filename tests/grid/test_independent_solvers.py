"""Both programs against another solver and another model (see `oracles.py`)."""

import numpy as np
import pytest

from tests.grid import oracles
from unlearn.grid import CompiledProgram, dispatch_program, redispatch_program


def objectives(compiled: CompiledProgram, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    primal = compiled.solve(parameters).primal
    curved = 0.5 * (compiled.cost_matrix @ primal.T).T
    return np.einsum("nv,nv->n", curved + compiled.cost_vector, primal), primal


@pytest.fixture(scope="module")
def stressed(grid):
    """60 hours at 40 to 130 % of nominal: beyond the capacity, so that some hours shed."""
    random = np.random.default_rng(1)
    load = random.uniform(0.4, 1.3, (60, 1)) * random.uniform(0.7, 1.0, (60, 14)) * grid.nominal_load_mw / 100
    forecast = np.clip(load + random.normal(0, 0.1, load.shape), 0, None)
    return forecast, load


@pytest.mark.parametrize("form", ["angle", "ptdf"])
def test_dispatch_objective_equals_that_of_highs_on_its_own_matrices(grid, stressed, form):
    forecast, _ = stressed
    value, primal = objectives(compiled := CompiledProgram(dispatch_program(grid, form)), forecast)
    expected = np.array([oracles.dispatch(hour)[0] for hour in forecast])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    shed = compiled.variable(primal, 1).sum(axis=1)
    assert 5 < (shed > 1e-3).sum() < 55, "the hours should try both sides of the capacity"


@pytest.mark.parametrize("form", ["angle", "ptdf"])
def test_redispatch_objective_equals_that_of_highs_on_its_own_matrices(grid, stressed, form):
    forecast, load = stressed
    p_gen = np.array([oracles.dispatch(hour)[1] for hour in forecast])
    value, _ = objectives(CompiledProgram(redispatch_program(grid, form)), np.hstack([p_gen, load]))
    expected = np.array([oracles.redispatch(p, d) for p, d in zip(p_gen, load, strict=True)])
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_operating_cost_equals_the_chain_of_both_programs_in_highs(cost, hours):
    forecast, load = (tensor[:50] for tensor in hours)
    p_gen = np.array([oracles.dispatch(hour)[1] for hour in forecast.numpy()])
    generation = (oracles.Q_GEN * p_gen**2 + oracles.C_GEN * p_gen).sum(axis=1)
    balancing = np.array([oracles.redispatch(p, d) for p, d in zip(p_gen, load.numpy(), strict=True)])
    # 1e-5, not 1e-6: what is compared is no optimal value, so errors in p_gen enter to first order.
    np.testing.assert_allclose(cost(forecast, load).total.numpy(), generation + balancing, rtol=1e-5)


def test_both_objectives_equal_those_of_pypowers_own_optimal_power_flow(grid, stressed):
    for forecast, load in zip(stressed[0][:6], stressed[1][:6], strict=True):
        value, _ = objectives(CompiledProgram(dispatch_program(grid, "angle")), forecast[None])
        expected, p_gen = oracles.opf_dispatch(forecast)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        value, _ = objectives(CompiledProgram(redispatch_program(grid, "angle")), np.hstack([p_gen, load])[None])
        np.testing.assert_allclose(value, oracles.opf_redispatch(p_gen, load), rtol=1e-6)
