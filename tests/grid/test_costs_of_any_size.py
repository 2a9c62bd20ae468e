"""Quadratic costs from 1e-9 to 1e6 beside linear ones from 0 to 1e6: priced as a closed form says, or refused."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.grid.test_connection import case as three_buses
from unlearn.errors import InputError, UnlearnError
from unlearn.grid import GridCase, OperatingCost, build_case, region_cache

#: Largest relative error of a price.
PRICE = 1e-5
PENALTIES = {"shedding_cost": {"quadratic": 3500, "linear": 3500}, "storage_cost": {"quadratic": 700, "linear": 700}}
BASES = {
    "case9": {"base_case": "case9"},
    "ieee14": {"base_case": "case14", "load": {"scale": 2.0, "fill": {"rule": "mean_sqrt", "cap": 0.8}}},
}


def closed_form(case: GridCase, forecast: np.ndarray, load: np.ndarray) -> float:
    """Price of an hour (B,) without congestion: equal marginal costs, a gap spread evenly over loads or generators."""
    quadratic, linear = case.generation_cost
    least = linear.min()
    # Marginal costs above the cheapest, so that none is lost beside a large linear cost.
    above, shed_above = linear - least, case.shedding_cost[1] - least

    def supplied(marginal: float) -> tuple[np.ndarray, float]:
        shed = max(0.0, (marginal - shed_above) / (2 * case.shedding_cost[0])) * len(forecast)
        return np.clip((marginal - above) / (2 * quadratic), 0, case.p_gen_max_pu), shed

    low, high = 0.0, 1e13
    for _ in range(250):
        middle = np.sqrt(low * high) if low else high / 2
        generated, shed = supplied(middle)
        low, high = (middle, high) if generated.sum() + shed < forecast.sum() else (low, middle)
    (below, shed), (generated, _) = supplied(low), supplied(high)
    if (rise := generated.sum() - below.sum()) > 0:  # where a marginal cost is all but constant
        generated = below + (generated - below) * np.clip((forecast.sum() - shed - below.sum()) / rise, 0, 1)
    gap = load.sum() - generated.sum()
    count, (q, c) = (len(load), case.shedding_cost) if gap > 0 else (case.n_gens, case.storage_cost)
    return float((quadratic * generated**2 + linear * generated).sum() + q * gap**2 / count + c * abs(gap))


def assert_priced_or_refused(case: GridCase, seed: int, backend: str = "batched") -> bool:
    random = np.random.default_rng(seed)
    load = random.uniform(0.1, 1.6, (3, case.n_loads)) * case.nominal_load_mw / case.base_mva
    forecast = load * random.uniform(0.9, 1.1, load.shape)
    try:
        priced = OperatingCost(case, backend)(torch.from_numpy(forecast).requires_grad_(), torch.from_numpy(load))
    except UnlearnError:
        return False
    expected = [closed_form(case, *hour) for hour in zip(forecast, load, strict=True)]
    np.testing.assert_allclose(priced.total.detach().numpy(), expected, rtol=PRICE)
    return True


powers = st.floats(-9, 6).map(lambda power: 10.0**power)
linear = st.sampled_from([0.0]) | st.floats(-3, 6).map(lambda power: 10.0**power)


@given(name=st.sampled_from(sorted(BASES)), quadratic=powers, linear=st.none() | linear, seed=st.integers(0, 10_000))
def test_one_cost_for_all_generators_is_priced_or_refused(name, quadratic, linear, seed):
    given_cost = {"quadratic": quadratic} | ({} if linear is None else {"linear": linear})
    penalties = PENALTIES if linear == 0 else {}
    case = build_case({**BASES[name], **penalties, "line_limit_mw": 1e5, "generation_cost": given_cost})
    priced = assert_priced_or_refused(case, seed)
    # Only costs that double precision cannot tell from 0 may be refused.
    assert priced or quadratic < 1e-14 * case.shedding_cost[1] * 1e6


@given(quadratic=st.tuples(powers, powers), linear=st.tuples(linear, linear), seed=st.integers(0, 10_000))
def test_costs_of_two_generators_are_priced_or_refused(quadratic, linear, seed):
    lines = [(0, 1), (1, 2), (0, 2)]
    penalty = 50 * max(*linear, 1.0)
    case = three_buses(
        [0.1, 0.2, 0.3],
        lines,
        line_limit_pu=[1e3] * 3,
        generation_cost=[quadratic, linear],
        shedding_cost=(penalty, penalty),
        storage_cost=(penalty / 5, penalty / 5),
    )
    assume(abs(linear[0] - linear[1]) > 1e-9 * max(linear) or linear[0] == linear[1])
    assert_priced_or_refused(case, seed)


@pytest.mark.parametrize("backend", ["batched", "cvxpylayers"])
@pytest.mark.parametrize("quadratic", [1e-7, 1e-2, 1.0, 1e4])
def test_backends_price_or_refuse(backend, quadratic):
    lines = [(0, 1), (1, 2), (0, 2)]
    case = three_buses([0.1, 0.2, 0.3], lines, line_limit_pu=[1e3] * 3, generation_cost=[[quadratic] * 2, [10, 12]])
    assert assert_priced_or_refused(case, 0, backend) or backend == "cvxpylayers"


def test_the_price_does_not_depend_on_the_hours_before():
    """A multiplier of next to nothing tells regions apart, where generators differ by their flat costs alone."""
    case = build_case({**BASES["case9"], "line_limit_mw": 1e5, "generation_cost": {"quadratic": 1e-6, "linear": 100}})
    # The smallest generator of 2.5 p.u. reaches its limit as the three share 7.5.
    total = 3 * case.p_gen_max_pu.min() + np.linspace(-0.02, 0.02, 40)
    load = total[:, None] * case.nominal_load_mw / case.nominal_load_mw.sum()
    hours = torch.from_numpy(load)
    alone = [OperatingCost(case)._pricer.dispatch.place(np.append(hour, 1.0)[None]).outputs[:, 0] for hour in load]
    cost = OperatingCost(case)
    for hour in hours.flip(0):
        cost(hour[None], hour[None])
    placed = cost._pricer.dispatch.place(np.hstack([load, np.ones((40, 1))]))
    together = np.empty_like(placed.outputs)
    together[:, placed.order] = placed.outputs
    np.testing.assert_allclose(together.T, alone, atol=1e-5)


def test_costs_too_far_apart_are_refused_with_a_remedy(monkeypatch):
    monkeypatch.setattr(region_cache, "build_region", lambda *_: None)
    with pytest.raises(InputError, match=r"quadratic costs from 1e-09 to .* Raise the smallest quadratic cost"):
        OperatingCost(build_case({**BASES["case9"], "generation_cost": {"quadratic": 1e-9}}))
