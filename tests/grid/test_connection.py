"""Networks whose flows are not determined are refused by their rank, with the branches, and others never are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.grid import GridCase, OperatingCost, build_case, build_network

NUMBERS = np.array([10, 7, 300, 21])
#: A ring of four buses and a chord.
RING = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]


def case(reactance: list[float], lines: list[tuple[int, int]], slack: int = 0, **changed) -> GridCase:
    start, end = np.array(lines).T
    n_buses = 1 + int(max(start.max(), end.max()))
    fields = {
        "name": "g",
        "base_mva": 100.0,
        "bus_numbers": NUMBERS[:n_buses],
        "slack_bus": slack,
        "line_from": start,
        "line_to": end,
        "reactance_pu": reactance,
        "line_limit_pu": np.full(len(lines), 30.0),
        "gen_bus": [0, 2],
        "p_gen_max_pu": [2.0, 1.0],
        "load_bus": [1, 2],
        "nominal_load_mw": [50.0, 80.0],
        "generation_cost": [[200.0, 500.0], [1000.0, 1200.0]],
        "shedding_cost": (1e5, 1e5),
        "storage_cost": (5e4, 5e4),
    }
    return GridCase(**{**fields, **changed})


@pytest.mark.parametrize("slack", [0, 1, 2])
@pytest.mark.parametrize(
    ("reactance", "lines", "named", "not_named"),
    [
        ([0.1, 0.1, -0.2], [(0, 1), (1, 2), (0, 2)], ["10-7", "7-300", "10-300"], []),
        ([0.1, 0.1, -0.2 * (1 + 1e-9)], [(0, 1), (1, 2), (0, 2)], ["10-7", "7-300", "10-300"], []),
        ([0.1, 0.3, -0.3], [(0, 1), (1, 2), (1, 2)], ["7-300"], ["10-7"]),
        ([0.05, -0.1, 0.05, 0.2], [(0, 1), (1, 2), (2, 0), (1, 3)], ["10-7"], ["7-21"]),
    ],
    ids=["loop", "almost", "parallel", "with_a_spur"],
)
def test_reactances_that_cancel_are_refused_with_their_branches(slack, reactance, lines, named, not_named):
    with pytest.raises(InputError, match="flows are not determined: reactances cancel in") as caught:
        case(reactance, lines, slack)
    message = str(caught.value)
    assert "Merge a series capacitor and its line" in message
    assert all(f" {branch} (" in message for branch in named)
    assert not any(f" {branch} (" in message for branch in not_named)


def test_branches_of_a_huge_reactance_that_hold_a_network_together_are_refused():
    two_rings = [(0, 1), (0, 1), (1, 2), (2, 3), (2, 3)]
    with pytest.raises(InputError, match=r"not determined in double precision: branches 7-300 \(reactance 1e\+12"):
        case([0.1, 0.2, 1e12, 0.1, 0.2], two_rings)


@pytest.mark.parametrize("reactance", [np.inf, np.nan, 0.0, 1e-320])
def test_a_reactance_that_is_none_is_refused_with_its_branch(reactance):
    with pytest.raises(InputError, match="reactance"):
        case([0.1, reactance, 0.2], [(0, 1), (1, 2), (0, 2)])


def test_a_branch_from_a_bus_to_itself_and_an_isolated_bus_are_refused():
    with pytest.raises(InputError, match="branch from bus 7 to bus 7: expected two buses"):
        case([0.1, 0.1, 0.2], [(0, 1), (1, 1), (1, 2)])
    with pytest.raises(InputError, match="got 2 islands; bus 21 has no line"):
        case([0.1, 0.1], [(0, 1), (1, 2)], bus_numbers=NUMBERS)


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.3]), slack=st.integers(0, 3))
def test_what_is_accepted_has_flows_that_follow_from_injections(seed, share, slack):
    """Kirchhoff's laws hold to the digits that a price needs, with series capacitors and with reactances far apart."""
    random = np.random.default_rng(seed)
    reactance = 10.0 ** random.uniform(-4, 1, len(RING)) * np.where(random.random(len(RING)) < share, -1, 1)
    try:
        ring = case(reactance.tolist(), RING, slack)
    except InputError:
        if not share:
            raise
        return
    network = build_network(ring)
    incidence = np.zeros((len(RING), 4))
    incidence[np.arange(len(RING)), ring.line_from], incidence[np.arange(len(RING)), ring.line_to] = 1, -1
    balance = np.eye(4)
    balance[slack] -= 1
    size = max(1.0, np.abs(network.ptdf).max())
    np.testing.assert_allclose(incidence.T @ network.ptdf, balance, atol=1e-8 * size)


def test_a_series_capacitor_on_a_radial_line_is_priced():
    """All flow goes through it, whatever its reactance: the buses' susceptances may even add up to 0."""
    load = torch.tensor([[0.5, 0.8]], dtype=torch.float64)
    priced = [OperatingCost(case([0.1, x], [(0, 1), (1, 2)]))(load, load).total for x in (0.3, -0.1, -0.05)]
    torch.testing.assert_close(priced[1], priced[0], rtol=1e-9, atol=0)
    torch.testing.assert_close(priced[2], priced[0], rtol=1e-9, atol=0)


def test_networks_with_negative_reactances_of_real_transformers_are_determined():
    assert (build_case({"base_case": "case300", "generation_cost": {"quadratic": 50}}).reactance_pu < 0).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"line_limit_pu": [-1.0, 1, 1]}, "line_limit_pu: expected finite numbers of at least 0, got -1"),
        ({"line_limit_pu": [np.inf, 1, 1]}, "line_limit_pu: expected finite numbers of at least 0, got inf"),
        ({"line_limit_pu": [1.0, 1]}, r"line_limit_pu: expected shape \(3\), got \(2,\)"),
        ({"p_gen_max_pu": [np.nan, 1]}, "p_gen_max_pu: expected finite"),
        ({"generation_cost": [[1, 1], [1, np.inf]]}, "generation_cost: expected finite"),
        ({"generation_cost": [1, 1]}, r"generation_cost: expected shape \(2, 2\), got \(2,\)"),
        ({"nominal_load_mw": "many"}, "nominal_load_mw: expected numbers, got str"),
        ({"gen_bus": [0, 3]}, "gen_bus: expected positions from 0 to 2, got 3"),
        ({"gen_bus": [0, -1]}, "gen_bus: expected positions from 0 to 2, got -1"),
        ({"gen_bus": [0, 0.5]}, "gen_bus: expected positions from 0 to 2, got 0.5"),
        ({"gen_bus": []}, "gen_bus: expected positions from 0 to 2, got none"),
        ({"load_bus": []}, "load_bus: expected positions from 0 to 2, got none"),
        ({"bus_numbers": [1, 1, 2]}, "bus_numbers: expected each number once"),
        ({"slack_bus": 3}, "slack_bus: expected a position from 0 to 2, got 3"),
        ({"slack_bus": None}, "slack_bus: expected a position"),
        ({"shedding_cost": (0.0, 1.0)}, "shedding_cost: expected a number above 0"),
        ({"storage_cost": 3.0}, r"storage_cost: expected shape \(2\)"),
        ({"base_mva": 0}, "base_mva: expected a number above 0"),
    ],
)
def test_a_case_of_ones_own_that_cannot_be_priced_is_refused(changed, message):
    lines = [(0, 1), (1, 2), (0, 2)]
    with pytest.raises(InputError, match=f"grid g: {message}"):
        case([0.1, 0.2, 0.3], lines, **{"line_limit_pu": [1.0, 1, 1], **changed})


def test_lists_single_precision_and_tensors_make_the_same_case():
    lines = [(0, 1), (1, 2), (0, 2)]
    plain = case([0.25, 0.5, 0.125], lines)
    single = np.array([0.25, 0.5, 0.125], dtype=np.float32)
    assert replace(plain, reactance_pu=single).fingerprint == plain.fingerprint
    assert replace(plain, gen_bus=torch.tensor([0, 2])).fingerprint == plain.fingerprint


def test_a_case_is_shown_in_one_line(grid):
    shown = repr(grid)
    assert shown.startswith("GridCase('ieee14': 14 buses, 20 lines, 5 generators of 772.4 MW, 14 loads of 757.5 MW")
    assert "\n" not in shown
    assert len(shown) < 150
