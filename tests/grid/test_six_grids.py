"""Every bundled grid: its size, the rule behind its limits, its prices and their gradient (see `oracles.py`)."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import yaml

from tests.grid import oracles
from unlearn.grid import GridCase, OperatingCost, load_case, price_hours

#: Step of the finite differences in p.u.
STEP = 1e-5


@dataclass(frozen=True)
class Checked:
    """How much of a grid is checked, and what is known of it.

    Attributes:
        hours: hours priced against HiGHS.
        directions: (hours, loads of each) whose gradient is compared with finite differences.
        size: buses, lines, generators, loads, nominal load in MW, capacity in MW.
        high: multiple of the nominal loads at which lines are at their limits.
        limit_factor: multiple of the nominal flows in the rule behind the limits; None without a rule.
    """

    hours: int
    directions: tuple[int, int]
    size: tuple[int, int, int, int, float, float]
    high: float
    limit_factor: float | None = None


GRIDS = {
    "ieee9": Checked(12, (12, 3), (9, 9, 3, 3, 315.0, 820.0), 1.1, 1.05),
    "ieee14": Checked(12, (12, 14), (14, 20, 5, 14, 757.5446, 772.4), 1.0),
    "ieee30": Checked(12, (12, 20), (30, 41, 6, 20, 189.2, 335.0), 1.2),
    "ieee39": Checked(12, (12, 21), (39, 46, 10, 21, 6254.23, 7367.0), 1.05),
    "ieee57": Checked(12, (12, 42), (57, 80, 7, 42, 1250.8, 1975.88), 1.1, 1.1),
    "ieee118": Checked(12, (12, 99), (118, 186, 54, 99, 4242.0, 9966.2), 1.1, 1.1),
}


@dataclass(frozen=True, eq=False)
class Given:
    """A grid as the library and as the oracle have it."""

    name: str
    case: GridCase
    cost: OperatingCost
    raw: oracles.RawGrid

    def hours(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts and true loads of n hours at 60 to 105 % of nominal, with forecast errors of 5 %."""
        random = np.random.default_rng(3)
        level = np.linspace(0.6, 1.05, n)[:, None]
        load = level * np.clip(random.normal(1.0, 0.05, (n, self.case.n_loads)), 0, None) * self.raw.nominal
        return load * np.clip(random.normal(1.0, 0.05, load.shape), 0, None), load


@pytest.fixture(scope="module", params=GRIDS)
def given(request: pytest.FixtureRequest) -> Given:
    case = load_case(request.param)
    return Given(request.param, case, OperatingCost(case), oracles.raw_grid(request.param))


def test_sizes_and_capacity(given):
    case = given.case
    powers = case.nominal_load_mw.sum(), case.p_gen_max_pu.sum() * case.base_mva
    assert (case.n_buses, case.n_lines, case.n_gens, case.n_loads, *powers) == pytest.approx(GRIDS[given.name].size)


def test_every_grid_of_the_folder_is_checked():
    assert {path.stem for path in oracles.GRIDS.glob("*.yaml")} == set(GRIDS)


def test_the_table_of_the_readme_says_the_same():
    readme = (oracles.GRIDS.parent / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(ieee\d+)` \|(.*)\|.*\|$", readme, flags=re.MULTILINE))
    assert set(rows) == set(GRIDS)
    for name, cells in rows.items():
        assert [float(cell) for cell in cells.split("|")] == pytest.approx(GRIDS[name].size, abs=0.05), name


def test_prices_equal_those_of_highs_on_its_own_matrices(given):
    forecast, load = given.hours(GRIDS[given.name].hours)
    priced = price_hours(given.cost, torch.from_numpy(forecast), torch.from_numpy(load))
    balanced = congested = 0
    for hour in range(len(load)):
        value, p_gen, shed = oracles.full_dispatch(forecast[hour], given.raw)
        generation = float(given.raw.q_gen @ p_gen**2 + given.raw.c_gen @ p_gen)
        assert float(priced.generation[hour]) == pytest.approx(generation, rel=1e-6)
        dispatch_shedding = given.raw.shed * float(shed.sum() + (shed**2).sum())
        assert generation + dispatch_shedding == pytest.approx(value, rel=1e-9)
        expected = oracles.redispatch(p_gen, load[hour], given.raw)
        assert float(priced.shedding[hour] + priced.storage[hour]) == pytest.approx(expected, rel=1e-6)
        flow = np.abs(oracles.flows(p_gen, forecast[hour] - shed, given.raw))
        congested += bool((flow > given.raw.limit - 1e-7).any())
        balanced += expected > 1e-3 * generation
    assert balanced > 0, "some hours should shed or store"
    assert congested > 0 or given.name == "ieee30", "some hours should congest a line"


def test_pypowers_own_optimal_power_flow_agrees(given):
    """A second opinion on model and matrices; it does not converge on most hours of the two largest."""
    if given.name in ("ieee57", "ieee118"):
        pytest.skip("PYPOWER's interior-point solver stalls on this grid")
    (forecast,), (load,) = (hours[-1:] for hours in given.hours(4))
    value, p_gen = oracles.opf_dispatch(forecast, given.raw)
    assert oracles.dispatch(forecast, given.raw)[0] == pytest.approx(value, rel=1e-6)
    expected = oracles.opf_redispatch(p_gen, load, given.raw)
    assert oracles.redispatch(p_gen, load, given.raw) == pytest.approx(expected, rel=1e-6)


def test_gradient_equals_finite_differences(given):
    n_hours, n_loads = GRIDS[given.name].directions
    forecast, load = (torch.from_numpy(hours) for hours in given.hours(n_hours))
    asked = forecast.clone().requires_grad_()
    priced = given.cost(asked, load)
    priced.total.sum().backward()
    random = np.random.default_rng(4)
    picked = np.array([random.choice(given.case.n_loads, n_loads, replace=False) for _ in range(n_hours)])
    rows = torch.arange(n_hours).repeat_interleave(n_loads)
    step = torch.zeros(len(rows), given.case.n_loads, dtype=torch.float64)
    step[torch.arange(len(rows)), torch.from_numpy(picked.ravel())] = STEP
    above, below = (price_hours(given.cost, forecast[rows] + sign * step, load[rows]).total for sign in (1, -1))
    slope = (above - below) / (2 * STEP)
    found = (asked.grad[rows] * step).sum(dim=1) / STEP
    error = ((found - slope).abs() / slope.abs().clamp(min=1.0))[~priced.degenerate[rows]]
    assert len(error) >= 0.5 * len(rows), "most hours should have a two-sided derivative"
    # 97 %: a step may cross a kink of the piecewise quadratic cost, and there are few entries.
    assert float((error <= 1e-3).double().mean()) >= 0.97
    assert float(error.median()) < 1e-6


def test_nominal_load_is_served_without_shedding(given):
    _, _, shed = oracles.full_dispatch(given.raw.nominal, given.raw)
    assert shed.max() <= 1e-9
    nominal = torch.from_numpy(given.case.nominal_load_mw / given.case.base_mva)[None]
    priced = given.cost(nominal, nominal)
    # With a perfect forecast the redispatch sheds what the dispatch could not serve.
    assert float(priced.shedding) <= 1e-9 * given.case.shedding_cost[1] * given.case.n_loads


def test_lines_are_at_their_limits_at_high_load(given):
    load = GRIDS[given.name].high * given.raw.nominal
    _, p_gen, shed = oracles.full_dispatch(load, given.raw)
    flow = np.abs(oracles.flows(p_gen, load - shed, given.raw))
    assert (flow > given.raw.limit - 1e-7).any()
    assert (flow < given.raw.limit + 1e-7).all()


@pytest.mark.parametrize("name", [name for name, grid in GRIDS.items() if grid.limit_factor])
def test_limits_follow_the_rule_that_their_file_states(name):
    raw, factor = oracles.raw_grid(name), GRIDS[name].limit_factor
    free = replace(raw, limit=np.full(len(raw.limit), 1e3))
    _, p_gen, shed = oracles.full_dispatch(raw.nominal, free)
    assert shed.max() <= 1e-9
    flow_mw = np.abs(oracles.flows(p_gen, raw.nominal, free)) * oracles.BASE
    np.testing.assert_allclose(raw.limit * oracles.BASE, np.maximum(10, 5 * np.ceil(factor * flow_mw / 5)), rtol=1e-12)
    text = " ".join((oracles.GRIDS / f"{name}.yaml").read_text().replace("#", " ").split())
    assert f"{factor} times the flow of the cheapest dispatch" in text
    assert "multiple of 5 MW, at least 10 MW" in text


@pytest.mark.parametrize("name", GRIDS)
def test_penalties_are_50_and_10_times_the_dearest_generation(name):
    settings = yaml.safe_load((oracles.GRIDS / f"{name}.yaml").read_text())
    raw = oracles.raw_grid(name)
    marginal = 2 * raw.q_gen * raw.p_max + raw.c_gen
    largest = marginal.max() if name == "ieee39" else raw.c_gen.max()
    assert settings["shedding_cost"] == pytest.approx({"quadratic": 50 * largest, "linear": 50 * largest})
    assert settings["storage_cost"] == pytest.approx({"quadratic": 10 * largest, "linear": 10 * largest})
    assert settings["shedding_cost"]["linear"] > marginal.max(), "shedding must be dearer than any generation"
