"""Critical regions and the cache that keeps them: exactness, edges, what is counted, what is forgotten."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.grid.active_set_oracle import OraclePricer
from tests.grid.test_backends import EDGE, ask, assert_close, draw
from tests.proofs import proof_count
from unlearn.checks import FloatArray
from unlearn.errors import SolverError
from unlearn.grid import GridCase, OperatingCost, ParametricQp, dispatch_qp, redispatch_qp
from unlearn.grid.region_cache import RegionCache


@pytest.fixture(scope="module")
def many(dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """300 hours: synthetic data with errors of 8 %, and random hours up to 1.6 times the usual load."""
    load = dataset.load_pu[-150:]
    forecast = load * np.random.default_rng(0).normal(1.0, 0.08, load.shape)
    random = draw(20, 150, 1.6, 0.1)
    return torch.cat([torch.from_numpy(forecast), random[0]]), torch.cat([torch.from_numpy(load), random[1]])


def with_ones(*blocks: FloatArray) -> FloatArray:
    return np.hstack([*blocks, np.ones((len(blocks[0]), 1))])


def kkt_parts(program: ParametricQp, cache: RegionCache, hours: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Whole KKT residual of every hour, and that without complementarity, multipliers rebuilt from the region."""
    placed = cache.place(hours)
    hours, n_equalities = hours[placed.order], program.n_equalities
    rows, curvature = program.constraint_matrix.toarray(), program.cost_matrix.diagonal()
    regions = [cache.regions[index] for index in placed.region]
    primal = np.array([hour @ region.solution for hour, region in zip(hours, regions, strict=True)])
    checks = np.array([hour @ region.checks for hour, region in zip(hours, regions, strict=True)])
    dual = np.zeros((len(hours), len(rows)))
    dual[:, n_equalities:] = np.where([region.active for region in regions], checks, 0.0) * program.price
    left = primal * curvature + program.cost_vector + dual @ rows
    dual[:, :n_equalities] = np.linalg.lstsq(rows[:n_equalities].T, -left.T, rcond=None)[0].T
    stationarity = np.abs(primal * curvature + program.cost_vector + dual @ rows).max(axis=1) / program.price
    slack = program.rhs(hours[:, :-1]) - primal @ rows.T
    slack[:, :n_equalities] = -np.abs(slack[:, :n_equalities])
    sign = -dual[:, n_equalities:].min(axis=1) / program.price
    bounded = np.max([stationarity, -slack.min(axis=1), sign], axis=0)
    return program.kkt_residual(hours[:, :-1], primal, dual), bounded


@pytest.mark.parametrize("bounds", ["published", "shed_at_most_load"])
def test_every_hour_costs_what_the_exact_solution_costs(grid, many, bounds):
    cost, oracle = OperatingCost(grid, bounds=bounds), OraclePricer(grid, bounds)
    parts, gradient = ask(cost, *many)
    expected, slope = ask(oracle, *many)
    torch.testing.assert_close(parts.sum(dim=0), expected.sum(dim=0), rtol=1e-9, atol=0)
    inside = torch.from_numpy(oracle.margin > EDGE)
    assert inside.double().mean() > 0.9
    assert_close(gradient[inside], slope[inside], 1e-6, dim=1)
    assert max(cache.kkt_residual for cache in cost.statistics.values()) < 1e-9


@pytest.mark.parametrize("bounds", ["published", "shed_at_most_load"])
def test_the_reported_residual_bounds_the_true_one(grid, many, bounds):
    forecast, load = (tensor.numpy() for tensor in many)
    programs = dispatch_qp(grid, bounds), redispatch_qp(grid, bounds)
    p_gen = programs[0].variable(programs[0].solve(forecast).primal, 0)
    for program, hours in zip(programs, (with_ones(forecast), with_ones(p_gen, load)), strict=True):
        cache = RegionCache(program, lambda region: region.solution)
        whole, bounded = kkt_parts(program, cache, hours)
        assert whole.max() <= 1e-9
        assert bounded.max() <= cache.statistics.kkt_residual <= 1e-9


@given(seed=st.integers(0, 10_000), closed=st.floats(0.0, 1.0), level=st.floats(0.0, 3.0))
@example(seed=1648, closed=0.5, level=0.5)  # all of a bus's load is shed, by what its closed lines leave over alone
def test_no_network_is_too_tight(grid, seed, closed, level):
    """Lines that carry nothing, generators that are off or cost the same, loads and forecasts of exactly 0."""
    random = np.random.default_rng(seed)
    tight = replace(
        grid,
        line_limit_pu=np.round(random.uniform(0, 1, 20), 1) * (random.random(20) > closed),
        p_gen_max_pu=grid.p_gen_max_pu * (random.random(5) > 0.2),
        generation_cost=np.stack([random.uniform(0.01, 30, 5), 50 + random.choice([0.0, 1e-9, 30.0]) * np.arange(5)]),
    )
    forecast, load = draw(seed, 12, level, random.choice([0.0, 1e-12, 1e-8, 0.1]))
    forecast[torch.from_numpy(random.random((12, 14)) < 0.1)] = 0.0
    load[torch.from_numpy(random.random((12, 14)) < 0.1)] = 0.0
    for bounds in ("published", "shed_at_most_load"):
        cost = OperatingCost(tight, bounds=bounds)
        _, gradient = ask(cost, forecast, load)
        assert torch.isfinite(gradient).all()
        assert sum(cache.solved for cache in cost.statistics.values()) == 0
        pricer = cost._pricer
        placed = pricer.dispatch.place(with_ones(forecast.numpy()))
        hours = with_ones(placed.outputs.T, load.numpy()[placed.order])
        # The KKT conditions of a convex program are a proof, whoever found the point.
        assert kkt_parts(dispatch_qp(tight, bounds), pricer.dispatch, with_ones(forecast.numpy()))[0].max() <= 1e-9
        assert kkt_parts(redispatch_qp(tight, bounds), pricer.redispatch, hours)[0].max() <= 1e-9


def network(random: np.random.Generator) -> GridCase:
    """A tree of up to 8 buses with a few more lines, some of them parallel, some closed."""
    n_buses = int(random.integers(2, 9))
    ends = [(int(random.integers(0, bus)), bus) for bus in range(1, n_buses)]
    ends += [tuple(random.choice(n_buses, 2, replace=False)) for _ in range(random.integers(0, n_buses))]
    start, end = np.array(ends).T
    n_gens, n_loads = int(random.integers(1, 5)), int(random.integers(1, n_buses + 1))
    return GridCase(
        name="random",
        base_mva=100.0,
        bus_numbers=np.arange(n_buses) + 1,
        slack_bus=0,
        line_from=start,
        line_to=end,
        reactance_pu=np.round(random.uniform(0.02, 0.5, len(ends)), 2),
        line_limit_pu=np.round(random.uniform(0, 2, len(ends)), 1) * (random.random(len(ends)) > 0.2),
        gen_bus=random.integers(0, n_buses, n_gens),
        p_gen_max_pu=np.round(random.uniform(0, 3, n_gens), 1),
        load_bus=np.sort(random.choice(n_buses, n_loads, replace=False)),
        nominal_load_mw=random.uniform(10, 200, n_loads),
        generation_cost=np.stack([random.uniform(0.1, 20, n_gens), random.uniform(0, 80, n_gens)]),
        shedding_cost=(3500.0, 3500.0),
        storage_cost=(700.0, 700.0),
    )


@given(seed=st.integers(0, 10_000))
def test_random_networks_are_solved_to_the_last_digits(seed):
    random = np.random.default_rng(seed)
    case, n = network(random), 20
    load = random.uniform(0, 3, (n, case.n_loads)) * case.nominal_load_mw / 100
    load[random.random(load.shape) < 0.15] = 0.0
    forecast = np.clip(load + random.normal(0, random.choice([0, 1e-12, 1e-9, 0.1]), load.shape), 0, None)
    for bounds in ("published", "shed_at_most_load"):
        cost = OperatingCost(case, bounds=bounds)
        cost(torch.from_numpy(forecast), torch.from_numpy(load))
        dispatch, redispatch = cost._pricer.dispatch, cost._pricer.redispatch
        placed = dispatch.place(with_ones(forecast))
        hours = with_ones(placed.outputs.T, load[placed.order])
        assert kkt_parts(dispatch_qp(case, bounds), dispatch, with_ones(forecast))[0].max() <= 1e-9
        assert kkt_parts(redispatch_qp(case, bounds), redispatch, hours)[0].max() <= 1e-9


def test_numbers_of_another_unit_are_priced_as_they_are(grid):
    """A forecaster that diverges, or kilowatts: rounding grows with the numbers, and so do the checks' tolerances."""
    forecast = 1e4 * draw(21, 4)[0].numpy()
    program = dispatch_qp(grid)
    cache = RegionCache(program, lambda region: region.solution)
    assert kkt_parts(program, cache, with_ones(forecast))[0].max() <= 1e-9 * forecast.max()


# ---- edges


def kink(cost: OperatingCost, load: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A forecast on an edge of dispatch regions, and one to either side of it, found by bisection."""
    cache = cost._pricer.dispatch

    def region(forecast: torch.Tensor) -> int:
        return int(cache.place(with_ones(forecast.numpy())).region[0])

    low, high = 0.6 * load, 1.1 * load
    first = region(low)
    assert region(high) != first
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if region(middle) == first else (low, middle)
    return low, low - 1e-4 * load, high + 1e-4 * load


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(5)))
def test_the_derivative_at_a_kink_is_that_of_one_side(grid, seed):
    _, load = draw(30 + seed, 1)
    on, below, above = kink(OperatingCost(grid), load)
    cost = OperatingCost(grid)
    assert cost(on, load).degenerate.all()
    assert not cost(torch.cat([below, above]), load.repeat(2, 1)).degenerate.any()
    (_, at), (_, one), (_, other) = (ask(cost, forecast, load) for forecast in (on, below, above))
    # Over steps of 1e-4 the slopes of about 1e4 move by their curvature.
    misses = sorted(float((at - side).abs().max() / side.abs().max()) for side in (one, other))
    assert misses[0] < 1e-2
    assert misses[1] > 10 * misses[0], "the two sides differ"


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_where_active_constraints_depend_on_each_other_the_derivative_is_that_of_hours_nearby(grid, level):
    """At the truth and at zero load: the slope in some direction is the difference quotient in it."""
    _, load = draw(31, 6, level)
    cost = OperatingCost(grid)
    _, gradient = ask(cost, load, load)
    assert cost(load, load).degenerate.all()
    # The direction in which regions of hours on an edge are sought.
    direction = torch.from_numpy(cost._pricer.dispatch._perturbation[:14])
    stepped = load + 1e-1 * direction
    quotient = (cost(stepped, load).total - cost(load, load).total) / 1e-1
    torch.testing.assert_close(gradient @ direction, quotient, rtol=1e-3, atol=0)


# ---- what is counted, kept and forgotten


def test_a_second_pass_hits_every_time_and_searches_nothing(grid, many):
    cost = OperatingCost(grid)
    cost(*many)
    first = {name: (cache.hours, cache.hits, cache.searched, cache.regions) for name, cache in cost.statistics.items()}
    cost(*many)
    for name, cache in cost.statistics.items():
        hours, hits, searched, regions = first[name]
        assert cache.hours == 2 * hours == 600
        assert cache.hits - hits == 300
        assert 0 < cache.searched == searched
        assert cache.regions == regions
        assert cache.hit_rate == cache.hits / 600
        assert cache.solved == 0


def test_a_full_book_forgets_the_regions_of_fewest_hours_and_prices_as_before(grid, many):
    many = [hours[::3] for hours in many]  # each pass over a full cache solves most hours anew
    whole, small = OperatingCost(grid), OperatingCost(grid)
    for cache in (small._pricer.dispatch, small._pricer.redispatch):
        cache.capacity = 16
    expected, slope = ask(whole, *many)
    asked = many[0].clone().requires_grad_()
    early = small(asked, many[1]).total.sum()
    for _ in range(2):
        parts, gradient = ask(small, *many)
    assert_close(parts, expected, 1e-9, dim=0)
    inside = ~whole(*many).degenerate
    assert_close(gradient[inside], slope[inside], 1e-6, dim=1)
    # Half of the cache stays, and hours come eight at a time.
    assert len(small._pricer.redispatch.regions) <= 16
    assert len(whole._pricer.redispatch.regions) > 16
    early.backward()
    assert_close(asked.grad[inside], slope[inside], 1e-6, dim=1)


def test_an_hour_that_the_active_set_solver_gives_up_goes_to_the_interior_point_solver(grid, monkeypatch):
    forecast, load = draw(32, 5)
    expected, slope = ask(OperatingCost(grid), forecast, load)
    monkeypatch.setattr("unlearn.grid.region_cache.propose_active_sets", lambda *_: iter(()))
    cost = OperatingCost(grid)
    parts, gradient = ask(cost, forecast, load)
    assert_close(parts, expected, 1e-9, dim=0)
    assert_close(gradient, slope, 1e-6, dim=1)
    assert cost.statistics["dispatch"].solved == cost.statistics["dispatch"].searched > 0


def test_an_hour_without_a_region_is_named_with_what_is_left(grid, monkeypatch):
    forecast, _ = draw(33, 3)
    cache = OperatingCost(grid)._pricer.dispatch
    monkeypatch.setattr(cache, "_active_sets", lambda *_: iter([(np.zeros(cache._n_checks, dtype=bool), 1e-9)]))
    with pytest.raises(SolverError, match=r"dispatch: hour 0 has no acceptable solution: .* violates a check by \d"):
        cache.place(with_ones(forecast.numpy()))
