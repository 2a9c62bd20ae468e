"""The compiled programs: two forms, bounds, and the check that stands behind every solution."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.grid.oracles import LIMIT, bus_and_line_matrices, gen_matrix
from unlearn.errors import InputError, SolverError
from unlearn.grid import CompiledProgram, ConvexLayer, OperatingCost, Program, dispatch_program, redispatch_program


def objective(compiled: CompiledProgram, primal: np.ndarray) -> np.ndarray:
    curved = 0.5 * (compiled.cost_matrix @ primal.T).T
    return np.einsum("nv,nv->n", curved + compiled.cost_vector, primal)


@pytest.fixture(scope="module")
def programs(grid):
    built = {}
    for form in ("angle", "ptdf"):
        built["dispatch", form] = CompiledProgram(dispatch_program(grid, form))
        built["redispatch", form] = CompiledProgram(redispatch_program(grid, form))
    return built


@given(seed=st.integers(0, 10_000), level=st.floats(0.0, 1.6))
def test_angle_and_ptdf_forms_agree(programs, grid, seed, level):
    random = np.random.default_rng(seed)
    forecast = level * random.uniform(0.5, 1.0, (3, 14)) * grid.nominal_load_mw / 100
    load = np.clip(forecast + random.normal(0, 0.1, forecast.shape), 0, None)
    by_form = {}
    for form in ("angle", "ptdf"):
        dispatch, redispatch = programs["dispatch", form], programs["redispatch", form]
        first = dispatch.solve(forecast).primal
        p_gen = dispatch.variable(first, 0)
        second = redispatch.solve(np.hstack([p_gen, load])).primal
        by_form[form] = objective(dispatch, first), objective(redispatch, second)
    # atol: at a level of 0 both objectives are 0 up to the solver's accuracy.
    np.testing.assert_allclose(by_form["angle"][0], by_form["ptdf"][0], rtol=1e-6, atol=1e-6)
    # The redispatch starts from generations that agree to about 1e-8 p.u. and costs 3500 per p.u.
    np.testing.assert_allclose(by_form["angle"][1], by_form["ptdf"][1], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("form", ["angle", "ptdf"])
def test_flows_stay_within_their_limits_and_the_grid_balances(programs, grid, hours, form):
    forecast = hours[0].numpy()
    compiled = programs["dispatch", form]
    primal = compiled.solve(forecast).primal
    injection = compiled.variable(primal, 0) @ gen_matrix().T - forecast + compiled.variable(primal, 1)
    bus, line = bus_and_line_matrices()
    # Flows are per unit; 1e-6 p.u. is 100 W.
    np.testing.assert_allclose(injection.sum(axis=1), 0, atol=1e-6)
    assert (np.abs(injection @ np.linalg.pinv(bus) @ line.T) <= LIMIT + 1e-6).all()


def test_programs_are_dpp(grid):
    for program in (dispatch_program(grid), redispatch_program(grid, "angle", "shed_at_most_load")):
        assert program.problem.is_dpp()


@pytest.mark.parametrize("argument", [{"form": "nodal"}, {"bounds": "none"}])
def test_an_unknown_form_or_bound_is_refused(grid, argument):
    with pytest.raises(InputError, match="expected one of"):
        dispatch_program(grid, **argument)


def test_shedding_is_bounded_by_the_load_when_asked(grid):
    forecast = 3 * grid.nominal_load_mw[None] / 100  # three times what can be generated
    published = CompiledProgram(dispatch_program(grid))
    bounded = CompiledProgram(dispatch_program(grid, bounds="shed_at_most_load"))
    free = published.variable(published.solve(forecast).primal, 1)
    held = bounded.variable(bounded.solve(forecast).primal, 1)
    assert (free > forecast + 1e-3).any(), "the published program sheds more than a bus has"
    assert (held <= forecast + 1e-7).all()


def test_a_perturbed_solution_is_rejected_with_its_hour(programs, hours):
    compiled, forecast = programs["dispatch", "ptdf"], hours[0][:5].numpy()
    solved = compiled.solve(forecast)
    assert (compiled.check(forecast, solved.primal, solved.dual) <= 1e-7).all()
    for part in ("primal", "dual"):
        found = {"primal": solved.primal.copy(), "dual": solved.dual.copy()}
        found[part][3] += 1e-2
        with pytest.raises(SolverError, match=r"dispatch: 1 of 5 hours .* first is hour 3: .*KKT residual"):
            compiled.check(forecast, **found)


def test_a_solution_with_nan_is_rejected(programs, hours):
    compiled, forecast = programs["dispatch", "ptdf"], hours[0][:2].numpy()
    solved = compiled.solve(forecast)
    solved.primal[1] = np.nan
    with pytest.raises(SolverError, match="first is hour 1"):
        compiled.check(forecast, solved.primal, solved.dual)


def test_an_infeasible_hour_is_named_by_the_direct_path(grid, hours):
    compiled = CompiledProgram(dispatch_program(grid, "angle", "shed_at_most_load"))
    forecast = hours[0][:4].numpy().copy()
    forecast[2] = -0.1  # 0 <= s <= forecast has no solution
    with pytest.raises(SolverError, match=r"first is hour 2: solver status .*Infeasible"):
        compiled.solve(forecast)


def test_an_infeasible_hour_is_named_through_the_layer(grid, hours):
    layer = ConvexLayer(dispatch_program(grid, "ptdf", "shed_at_most_load"))
    forecast = hours[0][:4].clone()
    forecast[2] = -0.1
    with pytest.raises(SolverError, match=r"dispatch: 1 of 4 hours have no acceptable solution; first is hour 2"):
        layer(forecast.requires_grad_())


@pytest.mark.parametrize("backend", ["batched", "cvxpylayers"])
@pytest.mark.parametrize("needs_gradient", [False, True], ids=["cost", "gradient"])
def test_line_limits_that_leave_no_room_are_a_solver_error(grid, hours, backend, needs_gradient):
    narrow = replace(grid)
    object.__setattr__(narrow, "line_limit_pu", np.full(20, -0.1))  # a case refuses them
    narrow = OperatingCost(narrow, backend)
    forecast, load = hours[0][:2].clone(), hours[1][:2]
    with pytest.raises(SolverError, match=r"dispatch.*first is hour 0.*Check that the line limits leave room"):
        narrow(forecast.requires_grad_(needs_gradient), load)


def test_a_layer_whose_solver_returns_nonsense_is_found_out(grid, hours, monkeypatch):
    layer = ConvexLayer(dispatch_program(grid))
    inner = layer._layer

    def off_in_hour_one(*values, solver_args):
        outputs = [output.clone() for output in inner(*values, solver_args=solver_args)]
        outputs[0][1] += 0.05
        return tuple(outputs)

    monkeypatch.setattr(layer, "_layer", off_in_hour_one)
    with pytest.raises(SolverError, match=r"1 of 3 hours .* first is hour 1"):
        layer(hours[0][:3].clone().requires_grad_())


def test_a_layer_that_breaks_for_no_solvers_reason_says_what_broke(grid, hours, monkeypatch):
    layer = ConvexLayer(dispatch_program(grid))
    monkeypatch.setattr(layer, "_layer", lambda *values, solver_args: 1 / 0)
    with pytest.raises(SolverError, match="dispatch layer: ZeroDivisionError"):
        layer(hours[0][:3].clone().requires_grad_())


def test_a_layer_that_breaks_on_an_infeasible_hour_names_it(grid, hours, monkeypatch):
    layer = ConvexLayer(dispatch_program(grid, "ptdf", "shed_at_most_load"))
    monkeypatch.setattr(layer, "_layer", lambda *values, solver_args: 1 / 0)
    forecast = hours[0][:3].clone()
    forecast[1] = -0.1
    with pytest.raises(SolverError, match=r"dispatch layer: dispatch: 1 of 3 hours .* first is hour 1: .*Infeasible"):
        layer(forecast)


def test_an_unknown_derivative_is_refused(grid):
    with pytest.raises(InputError, match="derivative: expected one of dense, lsqr"):
        ConvexLayer(dispatch_program(grid), derivative="finite")
    with pytest.raises(InputError, match="derivative: expected one of dense, lsqr"):
        OperatingCost(grid, "cvxpylayers", derivative="finite")


def test_an_unknown_backend_is_refused(grid):
    with pytest.raises(InputError, match="backend: expected one of batched, cvxpylayers, moreau"):
        OperatingCost(grid, "exact")


def test_a_program_whose_parameter_scales_a_constraint_is_refused():
    gain, x = cp.Parameter(1), cp.Variable(1)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.multiply(gain, x) >= 1])
    with pytest.raises(SolverError, match="parameter 0 does not enter the right-hand side only"):
        CompiledProgram(Program("bad", problem, (gain,), (x,)))


def test_layer_and_direct_solve_find_the_same_generation(grid, hours):
    forecast = hours[0][:20]
    compiled = CompiledProgram(dispatch_program(grid))
    direct = compiled.variable(compiled.solve(forecast.numpy()).primal, 0)
    layer = ConvexLayer(dispatch_program(grid))(forecast.clone().requires_grad_())[0]
    # The layer's conic form reaches KKT residuals of 1e-5 (see ConvexLayer).
    torch.testing.assert_close(layer.detach(), torch.from_numpy(direct), rtol=0, atol=1e-4)
