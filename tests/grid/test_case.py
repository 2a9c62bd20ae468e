"""The modified IEEE 14-bus in its file, and what a file of one's own must not hold."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from pypower.case14 import case14

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
    with pytest.raises(InputError, match=r"mine\.yaml: missing keys .*base_case"):
        load_case(tmp_path / "mine.yaml")


def test_the_message_names_the_file_and_the_key(tmp_path, settings):
    settings["base_mva"] = -1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match=r"mine\.yaml: base_mva: expected a number above 0, got -1"):
        load_case(tmp_path / "mine.yaml")


def test_a_missing_key_is_named(settings):
    del settings["storage_cost"]
    with pytest.raises(InputError, match=r"missing keys \['storage_cost'\]"):
        build_case(settings)


def test_a_misspelt_key_is_named(settings):
    settings["slackbus"] = settings.pop("slack_bus")
    with pytest.raises(InputError, match=r"missing keys \['slack_bus'\], unknown keys \['slackbus'\]"):
        build_case(settings)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("line_limit_mw", [1.0, 2.0], r"line_limit_mw: expected shape \(20\), got \(2,\)"),
        ("line_limit_mw", [-5.0] * 20, "line_limit_mw: expected finite numbers of at least 0, got -5"),
        ("line_limit_mw", ["a"] * 20, "line_limit_mw: expected numbers"),
        ("p_gen_max_mw", [1.0], r"p_gen_max_mw: expected shape \(5\)"),
        ("base_case", "case15x", "base_case 'case15x' is no PYPOWER case"),
        ("base_case", "runpf", "base_case 'runpf' is no PYPOWER case"),
        ("base_case", None, "base_case None is no PYPOWER case"),
        ("slack_bus", 99, "slack_bus 99 is no bus of case14"),
        ("slack_bus", [1], r"slack_bus \[1\] is no bus of case14"),
        ("base_mva", "hundred", "base_mva: expected a number above 0, got 'hundred'"),
        ("shedding_cost", {"quadratic": 1.0}, r"shedding_cost: missing keys \['linear'\]"),
        ("shedding_cost", {"quadratic": 0.0, "linear": 1.0}, "shedding_cost.quadratic: expected a number above 0"),
        ("storage_cost", 7.0, r"storage_cost: missing keys \['linear', 'quadratic'\]"),
        ("storage_cost", {"quadratic": 1.0, "linear": -1.0}, "storage_cost.linear: expected a number above 0"),
        ("generation_cost", {"quadratic": [1.0], "linear": None}, r"generation_cost.quadratic: expected shape \(5\)"),
        ("generation_cost", {"quadratc": None, "linear": None}, r"generation_cost: .* unknown keys \['quadratc'\]"),
        ("generation_cost", [1, 2], r"generation_cost: missing keys \['linear', 'quadratic'\]"),
        ("load", {"scale": 2.0, "fil": None}, r"load: missing keys \['fill'\], unknown keys \['fil'\]"),
        ("load", {"fill": None}, r"load: missing keys \['scale'\]"),
        ("load", {"scale": 0, "fill": None}, "load.scale: expected a number above 0"),
        ("load", {"scale": 1, "fill": {"rule": "median", "cap": 1}}, "load.fill.rule: expected mean_sqrt"),
        ("load", {"scale": 1, "fill": {"rule": "mean_sqrt"}}, r"load.fill: missing keys \['cap'\]"),
        ("load", {"scale": 1, "fill": {"rule": "mean_sqrt", "cap": 0}}, "load.fill.cap: expected a number above 0"),
    ],
)
def test_an_unusable_value_is_refused_with_its_key(settings, key, value, message):
    settings[key] = value
    with pytest.raises(InputError, match=f"grid settings: {message}"):
        build_case(settings)
