"""Network matrices against first principles."""

import numpy as np
import pytest

from tests.grid.oracles import bus_and_line_matrices
from unlearn.grid import build_network, dispatch_qp


@pytest.fixture(scope="module")
def network(grid):
    return build_network(grid)


def test_susceptances_are_inverse_reactances(network):
    bus, line = bus_and_line_matrices()
    np.testing.assert_allclose(network.bus_susceptance, bus, atol=1e-12)
    np.testing.assert_allclose(network.line_susceptance, line, atol=1e-12)


def test_a_uniform_angle_carries_no_power(network):
    np.testing.assert_allclose(network.bus_susceptance @ np.ones(14), 0, atol=1e-12)


def test_ptdf_gives_the_flows_of_the_angles(grid, network):
    injection = np.random.default_rng(0).normal(size=14)
    injection -= injection.mean()
    theta = np.zeros(14)
    keep = np.arange(14) != grid.slack_bus
    theta[keep] = np.linalg.solve(network.bus_susceptance[np.ix_(keep, keep)], injection[keep])
    np.testing.assert_allclose(network.ptdf @ injection, network.line_susceptance @ theta, atol=1e-12)


def test_the_slack_bus_itself_moves_no_flow(grid, network):
    np.testing.assert_allclose(network.ptdf[:, grid.slack_bus], 0, atol=1e-12)


def test_incidences_put_each_unit_on_its_bus(grid, network):
    np.testing.assert_array_equal(network.gen_incidence.sum(axis=0), np.ones(5))
    np.testing.assert_array_equal(np.argmax(network.gen_incidence, axis=0), grid.gen_bus)
    np.testing.assert_array_equal(network.load_incidence, np.eye(14))


def test_matrices_and_programs_are_shown_in_one_line(grid):
    program = dispatch_qp(grid)
    solutions = program.solve(grid.nominal_load_mw[None] / grid.base_mva)
    assert repr(build_network(grid)) == "Network(14 buses, 20 lines, 5 generators, 14 loads)"
    assert repr(program) == (
        "ParametricQp('dispatch': 19 variables, 65 constraints of which 1 equalities, 14 parameters)"
    )
    assert repr(solutions).startswith("QpSolutions(1 hours, largest KKT residual ")
