"""The modified IEEE 14-bus in its file, and what a file of one's own must not hold."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pypower.case14 import case14
from pypower.case30 import case30

import unlearn
from unlearn.errors import InputError
from unlearn.grid import build_case, load_case

BUNDLED = Path(unlearn.__file__).parents[1] / "grids" / "ieee14.yaml"


@pytest.fixture
def settings() -> dict:
    return yaml.safe_load(BUNDLED.read_text())


def test_total_load_and_capacity_are_those_of_the_paper(grid):
    assert grid.nominal_load_mw.sum() == pytest.approx(757.5, abs=0.05)
    assert grid.p_gen_max_pu.sum() * grid.base_mva == pytest.approx(772.4)


def test_every_constant_of_the_published_case_is_in_the_case(grid):
    assert (grid.n_buses, grid.n_lines, grid.n_gens, grid.n_loads) == (14, 20, 5, 14)
    assert (grid.base_mva, grid.slack_bus, grid.name) == (100.0, 0, "ieee14")
    limits = [180, 110, 110, 110, 110, 50, 150, 130, 50, 60, 50, 30, 50, 100, 40, 40, 20, 50, 20, 40]
    np.testing.assert_allclose(grid.line_limit_pu * 100, limits)
    np.testing.assert_array_equal(grid.generation_cost, [[4, 25, 1, 1, 1], [20, 10, 50, 60, 70]])
    assert grid.shedding_cost == (3500, 3500)
    assert grid.storage_cost == (700, 700)
    np.testing.assert_allclose(grid.p_gen_max_pu, [3.324, 1.4, 1.0, 1.0, 1.0])


def test_the_published_case_is_the_same_to_the_bit(grid):
    """Its fingerprint stands in results and models."""
    assert grid.fingerprint == "5b0e1696526d009e11507c45f650487603966b8adc2b94ce178d2c7edc8999bb"


def test_topology_is_that_of_pypowers_case14(grid):
    branch, gen = case14()["branch"], case14()["gen"]
    np.testing.assert_array_equal(grid.bus_numbers[grid.line_from], branch[:, 0])
    np.testing.assert_array_equal(grid.bus_numbers[grid.line_to], branch[:, 1])
    np.testing.assert_array_equal(grid.reactance_pu, branch[:, 3])
    np.testing.assert_array_equal(grid.bus_numbers[grid.gen_bus], gen[:, 0])


def test_loads_are_doubled_and_empty_buses_filled_by_the_published_rule(grid):
    doubled = 2 * case14()["bus"][:, 2]
    mean, largest = doubled.sum() / 14, doubled.max()
    for i, load in enumerate(doubled):
        expected = load if load > 0 else min(mean * (i + 1) ** 0.5, 0.8 * largest)
        assert grid.nominal_load_mw[i] == pytest.approx(expected, rel=1e-12)


def test_a_case_is_found_by_name_and_by_path(grid):
    np.testing.assert_array_equal(load_case(BUNDLED).nominal_load_mw, grid.nominal_load_mw)
    np.testing.assert_array_equal(load_case(str(BUNDLED)).reactance_pu, grid.reactance_pu)


def test_without_fill_only_the_base_cases_loads_remain(settings):
    settings["load"]["fill"] = None
    case = build_case(settings)
    assert case.n_loads == 11
    assert case.nominal_load_mw.sum() == pytest.approx(518.0)


def test_null_limits_are_taken_from_the_base_case(settings):
    settings["line_limit_mw"] = None
    np.testing.assert_array_equal(build_case(settings).line_limit_pu, case14()["branch"][:, 5] / 100)


def test_an_unknown_name_lists_the_bundled_cases():
    with pytest.raises(InputError, match=r"'ieee15'.*Bundled: .*ieee14"):
        load_case("ieee15")


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_case("nowhere.yaml")


@pytest.mark.parametrize("content", [b"name: [unclosed", b"\xff\xfe\x00binary"], ids=["syntax", "binary"])
def test_a_file_that_is_no_yaml_is_named(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.yaml: expected YAML"):
        load_case(tmp_path / "mine.yaml")


def test_a_file_that_holds_no_mapping_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(InputError, match=r"mine\.yaml: expected keys among name, base_case, .*got \[1, 2\]"):
        load_case(tmp_path / "mine.yaml")


def test_the_message_names_the_file_and_the_key(tmp_path, settings):
    settings["base_mva"] = -1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match=r"mine\.yaml: base_mva: expected a number above 0, got -1"):
        load_case(tmp_path / "mine.yaml")


def test_only_the_base_case_is_needed(settings):
    with pytest.raises(InputError, match="missing base_case"):
        build_case({key: value for key, value in settings.items() if key != "base_case"})
    case, raw = build_case({"base_case": "case30"}), case30()
    assert (case.name, case.base_mva, case.slack_bus) == ("case30", 100.0, 0)
    np.testing.assert_array_equal(case.line_limit_pu, raw["branch"][:, 5] / 100)
    np.testing.assert_array_equal(case.p_gen_max_pu, raw["gen"][:, 8] / 100)
    np.testing.assert_array_equal(case.nominal_load_mw, raw["bus"][raw["bus"][:, 2] > 0, 2])
    # gencost is c2 P² + c1 P + c0 with P in MW.
    np.testing.assert_allclose(case.generation_cost, [raw["gencost"][:, 4] * 1e4, raw["gencost"][:, 5] * 100])
    assert case.shedding_cost == pytest.approx((50 * 325, 50 * 325))
    assert case.storage_cost == pytest.approx((10 * 325, 10 * 325))


def test_null_and_a_missing_key_are_the_same(settings):
    for key in set(settings) - {"base_case"}:
        short = {k: v for k, v in settings.items() if k != key}
        assert build_case({**short, key: None}).fingerprint == build_case(short).fingerprint


def test_costs_follow_the_power_base():
    """The same money for the same megawatts, and the same flows, on another base."""
    one, other = (build_case({"base_case": "case30", "base_mva": base}) for base in (100.0, 50.0))
    p_mw = np.array([30.0, 20, 10, 5, 8, 12])
    money = [(case.generation_cost[0] * (p_mw / case.base_mva) ** 2).sum() for case in (one, other)]
    assert money[0] == pytest.approx(money[1], rel=1e-12)
    np.testing.assert_allclose(other.reactance_pu * 2, one.reactance_pu)
    np.testing.assert_allclose(other.line_limit_pu * 50, one.line_limit_pu * 100)


def test_one_number_stands_for_all(settings):
    settings["line_limit_mw"] = 75
    settings["generation_cost"] = {"quadratic": 3}
    case = build_case(settings)
    np.testing.assert_array_equal(case.line_limit_pu, np.full(20, 0.75))
    np.testing.assert_array_equal(case.generation_cost[0], np.full(5, 3.0))
    np.testing.assert_array_equal(case.generation_cost[1], case14()["gencost"][:, 5] * 100)


def test_a_line_without_limit_gets_one_that_no_flow_reaches(settings):
    settings["line_limit_mw"] = [*[50] * 19, float("inf")]
    case = build_case(settings)
    np.testing.assert_array_equal(case.line_limit_pu[:19], np.full(19, 0.5))
    assert case.line_limit_pu[19] == pytest.approx(10 * (7.724 + case.nominal_load_mw.sum() / 100))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"slackbus": 1}, "grid settings: unknown key 'slackbus'; did you mean 'slack_bus'"),
        ({7: 1}, "grid settings: unknown key 7; expected one of name, base_case"),
        ({"left_out": ["tap"]}, "left_out: unknown name 'tap'; did you mean 'taps'"),
        ({"left_out": "taps"}, "left_out: expected a list, got 'taps'"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_name(settings, wrong, message):
    with pytest.raises(InputError, match=message):
        build_case({**settings, **wrong})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("line_limit_mw", [1.0, 2.0], r"line_limit_mw: expected shape \(20\), got \(2,\)"),
        ("line_limit_mw", [-5.0] * 20, "line_limit_mw: expected numbers above 0 .* got -5"),
        (
            "line_limit_mw",
            [0.0] * 20,
            r"line_limit_mw: .*above 0 \(.inf for a line without limit\), got 0",
        ),
        ("line_limit_mw", float("nan"), "line_limit_mw: expected numbers above 0 .* got nan"),
        ("line_limit_mw", ["a"] * 20, "line_limit_mw: expected numbers"),
        ("p_gen_max_mw", [1.0], r"p_gen_max_mw: expected shape \(5\)"),
        ("p_gen_max_mw", [1, 1, 1, 1, -2], "p_gen_max_mw: expected finite numbers of at least 0, got -2"),
        ("base_case", "case15x", "base_case 'case15x' is no PYPOWER case"),
        ("base_case", "runpf", "base_case 'runpf' is no PYPOWER case"),
        ("base_case", None, "missing base_case"),
        ("base_case", 14, "base_case 14 is no PYPOWER case"),
        ("slack_bus", 99, "slack_bus 99 is no bus of case14"),
        ("slack_bus", [1], r"slack_bus \[1\] is no bus of case14"),
        ("base_mva", "hundred", "base_mva: expected a number above 0, got 'hundred'"),
        ("shedding_cost", {"quadratic": 1.0}, "shedding_cost: missing linear"),
        ("shedding_cost", {"quadratic": 0.0, "linear": 1.0}, "shedding_cost.quadratic: expected a number above 0"),
        ("storage_cost", 7.0, "storage_cost: expected keys among quadratic, linear, got 7.0"),
        ("storage_cost", {"quadratic": 1.0, "linear": -1.0}, "storage_cost.linear: expected a number above 0"),
        ("generation_cost", {"quadratic": [1.0], "linear": None}, r"generation_cost.quadratic: expected shape \(5\)"),
        (
            "generation_cost",
            {"quadratc": None, "linear": None},
            "generation_cost: unknown key 'quadratc'; did you mean 'quadratic'",
        ),
        ("generation_cost", [1, 2], r"generation_cost: expected keys among quadratic, linear, got \[1, 2\]"),
        (
            "generation_cost",
            {"quadratic": [1, 1, 0, 1, 1]},
            r"generation_cost.quadratic: expected numbers above 0, got 0 for generator 3 of 5 \(bus 3\); give",
        ),
        ("generation_cost", {"linear": -1}, "generation_cost.linear: expected finite numbers of at least 0, got -1"),
        ("load", {"scale": 2.0, "fil": None}, "load: unknown key 'fil'; did you mean 'fill'"),
        ("load", {"scale": 0, "fill": None}, "load.scale: expected a number above 0"),
        ("load", {"scale": 1, "fill": {"rule": "median", "cap": 1}}, "load.fill.rule: expected mean_sqrt"),
        ("load", {"scale": 1, "fill": {"rule": "mean_sqrt"}}, "load.fill: missing cap"),
        ("load", {"scale": 1, "fill": {"rule": "mean_sqrt", "cap": 0}}, "load.fill.cap: expected a number above 0"),
    ],
)
def test_an_unusable_value_is_refused_with_its_key(settings, key, value, message):
    settings[key] = value
    with pytest.raises(InputError, match=f"grid settings: {message}"):
        build_case(settings)


# ---- names and files


@pytest.mark.parametrize("name", ["IEEE14", "ieee 14", "ieee-14", "Ieee_14", "ieee14.yml", "iee14"])
def test_a_name_that_is_almost_right_is_suggested(name):
    with pytest.raises(InputError, match=r"Did you mean 'ieee14'\? Bundled: ieee118, ieee14, .*ieee9") as caught:
        load_case(name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["case300", "case14", "case24_ieee_rts"])
def test_a_case_of_pypower_needs_one_line(name, tmp_path):
    with pytest.raises(InputError, match=f'a YAML file of one line loads: "base_case: {name}"'):
        load_case(name)


@pytest.mark.parametrize(("name", "meant"), [("case-300", "case300"), ("CASE118", "case118")])
def test_a_case_of_pypower_that_is_almost_right_is_suggested(name, meant):
    with pytest.raises(InputError, match=f"Did you mean '{meant}'"):
        load_case(name)
    with pytest.raises(InputError, match=r"'case11' is no PYPOWER case .*; did you mean 'case1"):
        build_case({"base_case": "case11"})


@pytest.mark.parametrize("name", ["", ".", "ieee14.json", "/nowhere/ieee14", "x" * 5000, "a\0b", "~nobody_here/g.yaml"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(InputError, match="grid "):
        load_case(name)


@pytest.mark.parametrize("name", [None, 14, b"ieee14", ["ieee14"], {"base_case": "case14"}])
def test_something_else_than_a_name_is_refused(name):
    with pytest.raises(InputError, match="expected a name such as ieee14 or a path, got"):
        load_case(name)


@pytest.mark.parametrize("ending", [".yaml", ".m", ".mat", ".M"])
def test_a_folder_with_the_ending_of_a_file_is_said_to_be_one(tmp_path, ending):
    (tmp_path / f"grid{ending}").mkdir()
    with pytest.raises(InputError, match="is a folder, not a file"):
        load_case(tmp_path / f"grid{ending}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got an empty file"),
        ("# nothing\n", "got an empty file"),
        ("base_case: case9\nname: [", "expected YAML"),
        ("base_case: case9\n\tname: x", "expected YAML"),
        ("base_case: 2024-13-45", "expected YAML"),
        ("base_case: !!python/object:os.system x", "expected YAML"),
        ("{[1]: 2}", "expected YAML"),
        ("[" * 5000, "at most 64 levels inside each other, got"),
        ("base_case: [case9]", "base_case .* is no PYPOWER case and no path"),
        ("base_case: caseformat", "base_case 'caseformat' is no PYPOWER case"),
        ("base_case: case14.case14", "is no PYPOWER case"),
        ("just text", "expected keys among"),
        ("1: 2\nbase_case: case9", "unknown key 1"),
        ("base_case: case9\nslack_bus: {}", "slack_bus {} is no bus"),
        ("base_case: case9\nname: [1, 2]\nload: 3", "load: expected keys among"),
        ("base_case: case9\nline_limit_mw: {a: 1}", "line_limit_mw: expected numbers"),
        ("base_case: case9\nline_limit_mw: [1, .nan]", "line_limit_mw"),
        ("base_case: case9\np_gen_max_mw: .inf", "p_gen_max_mw: expected finite"),
        ("base_case: case9\nload: {scale: .nan}", "load.scale"),
        ("base_case: case9\nload: {fill: 3}", "load.fill"),
        ("base_case: case9\nshedding_cost: {quadratic: .inf, linear: 1}", "shedding_cost.quadratic"),
        ("base_case: case9\nleft_out: taps", "left_out: expected a list"),
        ("base_case: case9\nleft_out: [[taps]]", "left_out: unknown name"),
    ],
)
def test_a_yaml_file_that_is_none_is_refused(tmp_path, content, message):
    (tmp_path / "g.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_case(tmp_path / "g.yaml")
    assert not str(caught.value).endswith("..")
    assert "\n" not in str(caught.value)
    assert "np." not in str(caught.value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_end_in_a_foreign_error(tmp_path, content):
    for ending in (".yaml", ".m", ".mat"):
        (tmp_path / f"g{ending}").write_bytes(content)
        with pytest.raises(InputError):
            load_case(tmp_path / f"g{ending}")
