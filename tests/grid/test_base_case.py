"""Grids from MATPOWER files: what is read, what is refused, what is said to be left out."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pypower.case9 import case9
from pypower.case30 import case30
from scipy.io import savemat
from scipy.sparse import coo_matrix

from unlearn.errors import InputError
from unlearn.grid import build_case, load_case
from unlearn.grid.matpower import read_m

# Bus 20 before bus 10, as case files may number and order their buses; lines carry comments of all kinds.
SMALL = """function mpc = small
%SMALL  Three buses; it's only a test, with a quote and a bracket ] in its help.
mpc.version = '2';
%{
mpc.baseMVA = 1;
%}
mpc.baseMVA = 100;  % MVA
%mpc.bus = [ 1 2 3 ];
mpc.bus = [
	20	3	0	0	0	0	1	1	0	135	1	1.05	0.95;
	10, 1, 60, 5, 0, 0, 1, 1, 0, 135, 1, 1.05, 0.95; 30	1	40	5	0	0	1	1	0	135	1	1.05 ...
	0.95;  % 30 ends here
];
mpc.gen = [20 0 0 Inf -Inf 1 100 1 150 0; 30 0 0 0 0 1 100 0 90 0; 30 0 0 0 0 1 100 1 80 0];
mpc.branch = [
	20	10	0	0.1	0.02	70	0	0	0	0	1;
	10	30	0	0.2	0.02	0	0	0	0	0	1
	20	30	0	0.4	0.02	50	0	0	0	0	1
	20	30	0	0.4	0.02	50	0	0	0	0	0
];
mpc.gencost = [
	2	0	0	3	0.02	2	7;
	2	0	0	3	9	9	9;
	2	100	0	4	0	1e-2	3	7
];
mpc.bus_name = { 'a }';  'it''s % b'; "c" };
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "small.m").write_text(SMALL)
    (tmp_path / "mine.yaml").write_text("base_case: cases/small.m\n")
    return tmp_path


def mended() -> str:
    # gencost's third row is a column longer than the others: ragged for MATLAB too.
    return SMALL.replace("0.02	2	7;", "0.02	2	7	0;").replace("9	9	9;", "9	9	9	0;")


@pytest.fixture
def small(folder: Path) -> Path:
    (folder / "cases" / "small.m").write_text(mended())
    return folder / "mine.yaml"


def test_a_case_is_what_its_file_says(small):
    case = load_case(small)
    assert (case.name, case.base_mva, case.slack_bus) == ("small", 100.0, 0)
    np.testing.assert_array_equal(case.bus_numbers, [20, 10, 30])
    # The branch and the generator out of service are not there.
    np.testing.assert_array_equal(case.line_from, [0, 1, 0])
    np.testing.assert_array_equal(case.line_to, [1, 2, 2])
    np.testing.assert_array_equal(case.reactance_pu, [0.1, 0.2, 0.4])
    np.testing.assert_array_equal(case.gen_bus, [0, 2])
    np.testing.assert_allclose(case.p_gen_max_pu, [1.5, 0.8])
    np.testing.assert_array_equal(case.load_bus, [1, 2])
    np.testing.assert_array_equal(case.nominal_load_mw, [60, 40])
    # A rate of 0 is no limit: ten times all capacity and load.
    np.testing.assert_allclose(case.line_limit_pu, [0.7, 10 * (2.3 + 1.0), 0.5])
    np.testing.assert_allclose(case.generation_cost, [[0.02e4, 1e-2 * 1e4], [2e2, 3e2]])


def test_a_yaml_overrides_its_file(small):
    small.write_text(
        "base_case: cases/small.m\nname: mine\nline_limit_mw: [10, 20, 30]\nload: {scale: 0.5}\np_gen_max_mw: 50\n"
        "generation_cost: {quadratic: [1, 2]}\nslack_bus: 30\n"
    )
    case = load_case(small)
    assert (case.name, case.slack_bus) == ("mine", 2)
    np.testing.assert_allclose(case.line_limit_pu, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(case.nominal_load_mw, [30, 20])
    np.testing.assert_allclose(case.p_gen_max_pu, [0.5, 0.5])
    np.testing.assert_allclose(case.generation_cost, [[1, 2], [2e2, 3e2]])


@pytest.mark.parametrize("nested", [True, False], ids=["struct", "side_by_side"])
@pytest.mark.parametrize("name", ["case9", "case30"])
def test_m_mat_and_pypower_give_the_same_case(tmp_path, name, nested):
    raw = {"case9": case9, "case30": case30}[name]()
    numbers = {key: np.asarray(raw[key], dtype=float) for key in ("baseMVA", "bus", "gen", "branch", "gencost")}
    savemat(tmp_path / f"{name}.mat", {"mpc": numbers} if nested else numbers)
    lines = [f"function mpc = {name}"]
    for key, value in numbers.items():
        rows = ";\n".join(" ".join(repr(float(x)) for x in row) for row in np.atleast_2d(value))
        lines.append(f"mpc.{key} = [{rows}];" if value.ndim else f"mpc.{key} = {value};")
    (tmp_path / f"{name}.m").write_text("\n".join(lines))
    cases = [build_case({"base_case": base}, folder=tmp_path) for base in (name, f"{name}.m", f"{name}.mat")]
    assert len({case.fingerprint for case in cases}) == 1


numbers = st.one_of(st.floats(allow_nan=False, width=64), st.integers(-(10**6), 10**6).map(float))


@given(
    matrix=arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=numbers),
    between=st.sampled_from([" ", "\t", ", ", " ...\n "]),
    after=st.sampled_from([";", "\n", ";\n", "; % ] x\n", "\n\n"]),
)
def test_a_matrix_comes_back_however_it_is_written(tmp_path, matrix, between, after):
    rows = after.join(between.join(repr(x).replace("inf", "Inf") for x in row) for row in matrix.tolist())
    (tmp_path / "any.m").write_text(f"mpc.bus = [{rows}\n];\nmpc.baseMVA = 5")
    read = read_m(tmp_path / "any.m")
    np.testing.assert_array_equal(read["bus"], matrix)
    assert read["baseMVA"] == 5.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mpc.bus_name", "mpc.bus(:, 3) = mpc.bus(:, 3) / 1e3;\n%", r"small.m, line 26: .*'mpc.bus\(:, 3\) = .*be run"),
        (
            "mpc.bus_name",
            "define_constants;\nmpc.x",
            r"line 26: expected only mpc.name = value, got 'define_constants;'",
        ),
        ("mpc.bus_name", "if 1, mpc.areas = 1; end\nmpc.x", "line 26: expected only mpc.name"),
        ("mpc.bus_name", "other.bus_name", "line 26: expected only mpc.name"),
        ("mpc.bus_name", "mpc.baseMVA", "line 26: mpc.baseMVA is given a second time"),
        ("= 100;", "= 50/3;", "line 7: mpc.baseMVA: expected a number, got '50/3'"),
        (
            "	20	10	0	0.1",
            "	20	10	0	0.1.",
            r"line 16: mpc.branch: expected a number, got '0.1\.'",
        ),
        (
            "	10	30	0	0.2",
            "	10	30	0.2",
            "line 17: mpc.branch: expected 11 columns as in its first row, got 10",
        ),
        ("];\nmpc.gencost", "] * 2;\nmpc.gencost", "line 15: expected only mpc.name = value"),
        ("	20	3	0", "	30	3	0", "bus 30 is there twice"),
        ("	20	30	0	0.4", "	20	31	0	0.4", "branch: bus 31 is not among its buses"),
        ("[20 0 0 Inf", "[21 0 0 Inf", "gen: bus 21 is not among its buses"),
        (
            "	20	10	0	0.1",
            "	20	10	0	0",
            "branch from bus 20 to bus 10 has no reactance; give it a small one",
        ),
        ("	20	10	0	0.1", "	20	10	0	NaN", "branch: expected finite numbers"),
        ("10, 1, 60", "10, 4, 60", r"bus 10 is isolated \(type 4\); take it out"),
        ("	20	3	0", "	20	2	0", r"expected one reference bus in small, got \[\]; give slack_bus"),
        (
            "	2	0	0	3	0.02",
            "	1	0	0	3	0.02",
            r"generator 1 \(bus 20\): .* got model 1; give generation_cost in .*mine",
        ),
        ("	4	0	1e-2", "	4	5	1e-2", r"generator 2 \(bus 30\): expected a degree of at most 2, got 3"),
        ("	4	0	1e-2", "	9	0	1e-2", r"generator 2 \(bus 30\): expected 9 finite coefficients"),
        (
            "	4	0	1e-2",
            "	4	0	0",
            r"above 0, got 0 for generator 2 of 2 \(bus 30\); give a list, or one number",
        ),
        (
            "	2	0	0	3	9	9	9	0;",
            "",
            r"gencost: expected a row for each of 3 generators, got \(2, 8\)",
        ),
        ("mpc.gencost", "mpc.cost", "small has no gencost; give generation_cost in .*mine.yaml"),
        ("mpc.branch", "mpc.lines", "expected a case of format version 2, got one without branch"),
        ("1 150 0;", "1 -150 0;", "p_gen_max_mw: .* at least 0, got -150.0 in the base case; give p_gen_max_mw in"),
        (
            "	70	0	0	0	0	1",
            "	-70	0	0	0	0	1",
            r"line_limit_mw: expected numbers above 0 .* got -70",
        ),
    ],
)
def test_a_case_that_cannot_be_used_is_refused(small, old, new, message):
    text = mended()
    assert old in text
    (small.parent / "cases" / "small.m").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_case(small)


def test_a_ragged_matrix_is_refused(folder):
    with pytest.raises(InputError, match=r"line 24: mpc.gencost: expected 7 columns as in its first row, got 8"):
        load_case(folder / "mine.yaml")


@pytest.mark.parametrize(
    ("lost", "island"),
    [((0, 1), "bus 10 has no line"), ((1, 2), "bus 30 has no line"), ((0, 2), "bus 20 has no line")],
)
def test_islands_are_refused_with_a_bus(small, lost, island):
    text = mended().split("\n")
    first = next(k for k, line in enumerate(text) if line.startswith("mpc.branch")) + 1
    for k in lost:
        text[first + k] = text[first + k].rstrip(";")[:-1] + "0;"
    (small.parent / "cases" / "small.m").write_text("\n".join(text))
    with pytest.raises(InputError, match=f"got 2 islands; {island} in service to the rest. Keep one"):
        load_case(small)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("1 150 0;", "1 150 15;", "p_gen_min"),
        ("	70	0	0	0	0	1", "	70	0	0	0.98	0	1", "taps"),
        ("	70	0	0	0	0	1", "	70	0	0	1	30	1", "phase_shifts"),
        ("10, 1, 60, 5, 0", "10, 1, 60, 5, 2", "shunt_conductance"),
        ("30	1	40", "30	1	-40", "negative_loads"),
        ("mpc.bus_name", "mpc.dcline = [1 2 3];\nmpc.bus_name", "dc_lines"),
    ],
)
def test_what_is_left_out_of_a_case_is_said_unless_its_file_does(small, caplog, old, new, key):
    text = mended()
    assert old in text
    (small.parent / "cases" / "small.m").write_text(text)
    plain = load_case(small)
    assert not caplog.records
    (small.parent / "cases" / "small.m").write_text(text.replace(old, new, 1))
    with caplog.at_level(logging.WARNING):
        case = load_case(small)
    assert [key in record.getMessage() for record in caplog.records] == [True]
    assert str(small) in caplog.text
    if key != "negative_loads":
        assert case.fingerprint == plain.fingerprint
    caplog.clear()
    small.write_text(f"base_case: cases/small.m\nleft_out: [{key}]\n")
    load_case(small)
    assert not caplog.records


@pytest.mark.parametrize("name", ["ieee9", "ieee14", "ieee30", "ieee39", "ieee57", "ieee118"])
def test_bundled_grids_say_themselves_what_they_leave_out(name, caplog):
    load_case(name)
    assert not caplog.records


def test_a_missing_file_and_one_that_is_none_are_named(small):
    small.write_text("base_case: nowhere.m\n")
    with pytest.raises(InputError, match=r"'nowhere.m': no such file as .*nowhere.m; paths are relative to the YAML"):
        load_case(small)
    (small.parent / "text.mat").write_text("no MATLAB file, but text of some length" * 9)
    small.write_text("base_case: text.mat\n")
    with pytest.raises(InputError, match=r"text.mat: expected a MATLAB file of version 7"):
        load_case(small)
    savemat(small.parent / "text.mat", {"mpc": {"bus": "a", "gen": "b", "branch": "c"}})
    with pytest.raises(InputError, match=r"text.mat: bus: expected numbers"):
        load_case(small)


def test_piecewise_costs_of_pypowers_own_case_can_be_replaced():
    with pytest.raises(InputError, match="expected a polynomial"):
        build_case({"base_case": "case30pwl"})
    case = build_case({"base_case": "case30pwl", "generation_cost": {"quadratic": 50, "linear": 300}})
    assert case.storage_cost == (3000.0, 3000.0)


def test_penalties_need_a_linear_cost():
    flat = {"base_case": "case30", "generation_cost": {"linear": 0}}
    with pytest.raises(InputError, match="missing shedding_cost, as all linear generation costs are 0; give both"):
        build_case(flat)
    penalties = {key: {"quadratic": 2.0, "linear": 3.0} for key in ("shedding_cost", "storage_cost")}
    assert build_case({**flat, **penalties}).shedding_cost == (2.0, 3.0)


# ---- files read as they are, and files that are none


@pytest.mark.parametrize("ending", [".m", ".M"])
def test_a_matpower_file_is_a_case(small, monkeypatch, ending):
    expected = load_case(small).fingerprint
    path = small.parent / f"small{ending}"
    path.write_text(mended())
    monkeypatch.setenv("HOME", str(small.parent))
    monkeypatch.chdir(small.parent)
    for name in (path, str(path), path.name, f"~/{path.name}"):
        assert load_case(name).fingerprint == expected
    small.write_text(f"base_case: ~/{path.name}\n")
    assert load_case(small).fingerprint == expected


@pytest.mark.parametrize("ending", [".mat", ".MAT"])
def test_a_file_of_savecase_is_a_case(tmp_path, ending):
    raw = {key: case30()[key] for key in ("baseMVA", "bus", "gen", "branch", "gencost")}
    with open(tmp_path / f"case30{ending}", "wb") as file:
        savemat(file, {"mpc": raw})
    assert load_case(tmp_path / f"case30{ending}").fingerprint == build_case({"base_case": "case30"}).fingerprint


def test_what_a_raw_case_lacks_goes_into_a_yaml(small):
    (small.parent / "flat.m").write_text(mended().replace("	4	0	1e-2", "	4	0	0"))
    with pytest.raises(InputError, match=r'above 0, got 0 for .*YAML file beside it .*"base_case: flat.m"'):
        load_case(small.parent / "flat.m")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mpc.baseMVA = 100;", "mpc.baseMVA = [100 100];", "baseMVA: expected one number, got 2"),
        ("mpc.baseMVA = 100;", "mpc.baseMVA = [];", "baseMVA: expected one number, got 0"),
        ("mpc.baseMVA = 100;", "mpc.baseMVA = NaN;", "baseMVA: expected a number above 0"),
        ("mpc.baseMVA = 100;", "mpc.baseMVA = 1e400;", "baseMVA: expected a number above 0"),
        ("mpc.bus = [\n", "mpc.bus = 5;\nmpc.buses = [\n", "bus: expected 2 axes, got 0"),
        ("	2	0	0	3	0.02", "	2	0	0	NaN	0.02", "expected 1 to 4 coefficients, got nan"),
        ("	2	0	0	3	0.02", "	2	0	0	Inf	0.02", "expected inf finite coefficients"),
        ("	2	0	0	3	0.02", "	2	0	0	-3	0.02", "expected 1 to 4 coefficients, got -3"),
        ("	2	0	0	3	0.02", "	2	0	0	2.5	0.02", "expected 1 to 4 coefficients, got 2.5"),
        (
            "	2	0	0	3	0.02",
            "	2	0	0	3	NaN",
            r"expected 3 finite coefficients, got \[nan, 2, 7\]",
        ),
        (
            "	2	0	0	3	0.02",
            "	2	0	0	3	-0.02",
            "generation_cost.quadratic: expected finite numbers",
        ),
        ("	20	3	0", "	20.5	3	0", "bus: expected whole bus numbers, got 20.5"),
        ("	20	3	0", "	1e300	3	0", r"bus: expected whole bus numbers, got 1e\+300"),
        ("	20	3	0", "	NaN	3	0", "bus: expected finite numbers, got NaN or infinity in row 1"),
        ("[20 0 0 Inf", "[NaN 0 0 Inf", "gen: expected finite numbers"),
        ("1 150 0;", "1 Inf 0;", "p_gen_max_mw: expected finite numbers of at least 0, got inf in the base case"),
        ("100 1 150 0;", "100 NaN 150 0;", "gen: expected a status of 1 or 0, got NaN in row 1"),
        (
            "0	0	0	0	1;\n	10",
            "0	0	0	0	NaN;\n	10",
            "branch: expected a status of 1 or 0, got NaN",
        ),
        (
            "	20	10	0	0.1",
            "	20	10	0	Inf",
            r"branch: expected finite .* in row 1 of those in service \(20-10\)",
        ),
        (
            "	20	10	0	0.1	0.02	70",
            "	20	10	0	0.1	0.02	NaN",
            "line_limit_mw: expected numbers above 0",
        ),
        (
            "	20	10	0	0.1",
            "	20	20	0	0.1",
            "branch from bus 20 to bus 20: expected two buses, got one",
        ),
        (
            "	20	30	0	0.4	0.02	50	0	0	0	0	1",
            "	20	30	0	-0.3	0.02	50	0	0	0	0	1",
            "reactances cancel in branches 20-10",
        ),
        ("1 150 0; 30", "0 150 0; 30", None),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(small, old, new, message):
    text = mended()
    assert old in text
    (small.parent / "cases" / "small.m").write_text(text.replace(old, new, 1))
    if message is None:  # one generator less, which is fine
        load_case(small)
        return
    with pytest.raises(InputError, match=message) as caught:
        load_case(small)
    assert "np." not in str(caught.value)
    assert str(small) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        {"mpc": {"bus": np.zeros((0, 0)), "gen": 1.0, "branch": 1.0, "baseMVA": np.zeros(0)}},
        {"mpc": np.zeros((0,), dtype=[("bus", object), ("gen", object), ("branch", object)])},
        {"bus": np.ones((2, 13)) * 1j, "gen": np.ones((1, 10)), "branch": np.ones((1, 11)), "baseMVA": 1.0},
        {"bus": coo_matrix(np.ones((2, 13))), "gen": np.ones((1, 10)), "branch": np.ones((1, 11)), "baseMVA": 1.0},
        {"bus": np.ones((2, 13, 2)), "gen": np.ones((1, 10)), "branch": np.ones((1, 11)), "baseMVA": "base"},
        {"other": 3.0},
    ],
    ids=["empty", "no_struct", "complex", "sparse", "text", "other"],
)
def test_a_mat_file_without_a_case_is_refused(tmp_path, content):
    savemat(tmp_path / "g.mat", content)
    with pytest.raises(InputError, match=r"g\.mat"):
        load_case(tmp_path / "g.mat")


@pytest.mark.parametrize("cut", [0, 60, 128, 200, 1000])
def test_a_mat_file_of_the_new_format_or_a_broken_one_is_refused(tmp_path, cut):
    savemat(tmp_path / "whole.mat", {"mpc": {key: case9()[key] for key in ("baseMVA", "bus", "gen", "branch")}})
    (tmp_path / "cut.mat").write_bytes((tmp_path / "whole.mat").read_bytes()[:cut])
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "new.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(200))
    for name in ("cut", "new"):
        with pytest.raises(
            InputError, match=rf"{name}\.mat: (base_case .* without|expected a MATLAB file of version 7)"
        ):
            load_case(tmp_path / f"{name}.mat")
