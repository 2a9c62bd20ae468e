"""The Low Carbon London layout: what is read, dropped, counted and refused, against a slow reading row by row."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.households.lcl_builder import HEADER, Row, changed, days_of, slow_days, trial, write, write_folder, zipped
from tests.households.test_profiles import made
from unlearn.errors import DataError, InputError
from unlearn.households import HouseholdProfiles, convert_lcl, load_profiles, read_lcl, save_profiles
from unlearn.households.io import lcl, lcl_rows
from unlearn.households.io.lcl_rows import stream_households
from unlearn.households.io.parquet import profile_card


def as_days(profiles: HouseholdProfiles) -> dict[tuple[str, str], list[float]]:
    ids = profiles.households["household_id"]
    return {
        (ids[h], str(date)): [round(float(x), 6) for x in kwh]
        for h, date, kwh in zip(profiles.household, profiles.date, profiles.kwh, strict=True)
    }


def same(a: HouseholdProfiles, b: HouseholdProfiles) -> bool:
    return (
        a.fingerprint == b.fingerprint
        and a.households.equals(b.households)
        and (a.household == b.household).all()
        and (a.date == b.date).all()
    )


def test_the_layout_of_the_trial(tmp_path):
    rows = trial()
    profiles = read_lcl(write(tmp_path / "lcl.csv", rows))
    assert as_days(profiles) == slow_days(rows)
    assert profiles.households.to_dict("list") == {
        "household_id": ["MAC000002", "MAC000003", "MAC000004", "MAC000005"],
        "segment": ["Affluent", "Adversity", "Comfortable", "Affluent"],
        "acorn": ["ACORN-A", "ACORN-P", "ACORN-F", "ACORN-A"],
        "tariff": ["Std", "ToU", "Std", "ToU"],
    }
    assert profiles.segments == ("Affluent", "Comfortable", "Adversity")
    assert (profiles.reading.rows, profiles.reading.households, profiles.reading.days) == (384, 4, 8)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "null", "repeat", "contradict", "off", "null_off", "thrice"]), st.integers(0, 383)
    ),
    max_size=12,
)


@given(EDITS, st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 4), st.sampled_from([700, 4000, 1 << 20]))
def test_any_mess_is_read_as_row_by_row(tmp_path_factory, edits, seed, shuffle, n_files, block_bytes):
    rows: list[Row] = []
    marks = {at: kind for kind, at in edits}
    for i, row in enumerate(trial()):
        contrary = replace(row, wh=row.wh + 1)
        rows += {
            None: [row],
            "drop": [],
            "null": [replace(row, wh=None)],
            "repeat": [row, row],
            "contradict": [row, contrary, row],
            "off": [row, replace(row, second=row.second + 457)],
            "null_off": [row, replace(row, second=row.second + 457, wh=None)],
            "thrice": [row, row, replace(row, wh=None), row],
        }[marks.get(i)]
    if shuffle:  # within each household
        order = np.random.default_rng(seed).random(len(rows))
        rows = [rows[k] for k in sorted(range(len(rows)), key=lambda k: (rows[k].household, order[k]))]
    folder = write_folder(tmp_path_factory.mktemp("lcl") / "files", rows, n_files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lcl_rows, "_BLOCK_BYTES", block_bytes)
        profiles = read_lcl(folder)
    assert as_days(profiles) == slow_days(rows)
    count = list(marks.values()).count
    report = profiles.reading
    assert report.rows == len(rows)
    assert report.null == count("null") + count("null_off") + count("thrice")
    assert report.off_the_half_hour == count("off")
    assert report.duplicate == count("repeat") + 2 * count("thrice")
    assert report.conflicting == 3 * count("contradict")
    days = {(row.household, row.second // 86400) for row in trial()}
    assert report.days + report.incomplete_days == len(days)
    assert report.households + report.households_without_days == 4
    assert (report.households, report.days) == (profiles.n_households, len(profiles))


@pytest.mark.parametrize("chunk", [1, 5, 1 << 16])
def test_a_folder_an_archive_and_the_converted_file_hold_the_same(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(lcl, "_CHUNK", chunk)
    rows = trial(3)
    folder = write_folder(tmp_path / "files", rows, 11)  # file 10 comes after file 9, not after file 1
    one = read_lcl(write(tmp_path / "one.csv", rows, end="\n"))
    report = convert_lcl(zipped(folder), tmp_path / "all.parquet")
    assert report == one.reading
    for path in (folder, folder.with_suffix(".zip"), tmp_path / "all.parquet"):
        assert same(read_lcl(path), one), path
    assert same(load_profiles(tmp_path / "all.parquet"), one)
    assert profile_card(tmp_path / "all.parquet")["source"] == {"source": "files.zip", "stamps": "start"}


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"tariff": "ToU"}, ["MAC000003", "MAC000005"]),
        ({"tariff": "Std", "max_households": 1}, ["MAC000002"]),
        ({"max_households": 3}, ["MAC000002", "MAC000003", "MAC000004"]),
        ({"year": 2013}, ["MAC000002", "MAC000003", "MAC000005"]),
        ({"year": 2013, "min_days": 2}, ["MAC000003", "MAC000005"]),
        ({"min_days": 3, "max_households": 2}, ["MAC000003", "MAC000005"]),
    ],
)
def test_choices_are_the_same_in_the_files_and_in_the_converted_file(tmp_path, options, ids):
    rows = [
        *days_of("MAC000002", 2, "2012-12-31"),
        *days_of("MAC000003", 3, "2012-12-31", tariff="ToU", group="Adversity"),
        *days_of("MAC000004", 2, "2012-12-30", group="Comfortable"),
        *days_of("MAC000005", 3, "2012-12-31", tariff="ToU"),
    ]
    path = write(tmp_path / "lcl.csv", rows)
    convert_lcl(path, tmp_path / "lcl.parquet")
    chosen = read_lcl(path, **options)
    assert chosen.households["household_id"].tolist() == ids
    assert same(read_lcl(tmp_path / "lcl.parquet", **options), chosen)
    years = {str(date)[:4] for date in chosen.date}
    assert years == {str(options["year"])} if "year" in options else years == {"2012", "2013"}


def test_households_with_too_few_days_are_counted(tmp_path):
    rows = [*days_of("MAC000002", 3), *days_of("MAC000003", 1), *days_of("MAC000004", 1)[:-1]]
    path = write(tmp_path / "lcl.csv", rows)
    convert_lcl(path, tmp_path / "lcl.parquet")
    for source in (path, tmp_path / "lcl.parquet"):
        report = read_lcl(source, min_days=2).reading
        assert (report.households_with_few_days, report.households_without_days) == (1, 1)
        assert (report.households, report.days) == (1, 3)
    with pytest.raises(DataError, match=r"at least one household with 4 or more complete days, got none: 239 rows"):
        read_lcl(path, min_days=4)


def test_stamps_may_be_ends(tmp_path):
    rows = [replace(row, second=row.second + 1800) for row in trial()]
    path = write(tmp_path / "lcl.csv", rows)
    assert as_days(read_lcl(path, stamps="end")) == slow_days(rows, 1800) == slow_days(trial())
    assert len(read_lcl(path)) == 4  # as starts, the first half-hour of the first day is missing
    convert_lcl(path, tmp_path / "lcl.parquet", stamps="end")
    with pytest.raises(InputError, match="with stamps='start', got 'end'"):
        read_lcl(tmp_path / "lcl.parquet")
    assert len(read_lcl(tmp_path / "lcl.parquet", stamps="end")) == 8


def test_reading_ends_with_the_last_household_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lcl_rows, "_BLOCK_BYTES", 2000)
    rows = changed(trial(), 383, wh=-5)
    path = write(tmp_path / "lcl.csv", rows)
    assert read_lcl(path, max_households=2).n_households == 2
    with pytest.raises(DataError, match=r"lcl\.csv line 385: expected energy of at least 0 kWh, got -0\.005"):
        read_lcl(path)


@pytest.mark.parametrize(
    ("at", "old", "new", "match"),
    [
        (3, " 0.053 ", "x", "line 5: .*energy in kWh or Null .*got 'x'"),
        (3, " 0.053 ", "-0.1", "line 5: expected energy of at least 0 kWh, got -0.1"),
        (3, " 0.053 ", "nan", "line 5: expected energy of at least 0 kWh, got nan"),
        (3, " 0.053 ", "inf", "line 5: expected energy of at least 0 kWh, got inf"),
        (3, "2012-10-12 01:30", "2012-13-12 01:30", "line 5: .*2012-10-12 00:30:00.*2012-13-12"),
        (3, "2012-10-12 01:30:00.0000000", "", "line 5: expected a value in DateTime, got none"),
        (3, "MAC000002", "", "line 5: expected a value in LCLid, got none"),
        (3, ",ACORN-A", "", "line 5: .*Expected 6 columns, got 5"),
        (96, "Adversity", "Rich", r"line 98: expected Acorn_grouped among Affluent, .*; got 'Rich'"),
        (3, "Affluent", "Comfortable", r"line 5: expected MAC000002 to keep its tariff .*\(Std, ACORN-A, Affluent\)"),
        (95, "Std", "ToU", "line 97: expected MAC000002 to keep its tariff"),
        (200, "MAC000004", "MAC000002", "line 202: expected the rows of a household to stand together, got MAC000002"),
    ],
)
@pytest.mark.parametrize("block_bytes", [700, 1 << 20])
def test_what_cannot_be_read_is_refused_with_file_and_line(tmp_path, monkeypatch, block_bytes, at, old, new, match):
    monkeypatch.setattr(lcl_rows, "_BLOCK_BYTES", block_bytes)
    path = write(tmp_path / "lcl.csv", trial(), end="\n")
    lines = path.read_text().split("\n")
    assert old in lines[at + 1]
    lines[at + 1] = lines[at + 1].replace(old, new)
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"lcl\.csv {match}"):
        read_lcl(path)


def test_a_second_file_is_named_with_its_own_lines(tmp_path):
    folder = write_folder(tmp_path / "files", changed(trial(), 200, wh=-1), 2)
    with pytest.raises(DataError, match=r"LCL-June2015v2_1\.csv line 10: expected energy"):
        read_lcl(folder)


def test_missing_columns_and_files_are_refused(tmp_path):
    path = tmp_path / "lcl.csv"
    path.write_text(HEADER.removesuffix(",Acorn,Acorn_grouped") + "\nMAC000002,Std,2012-10-12 00:30:00.0000000,0\n")
    with pytest.raises(DataError, match=r"line 1: expected the columns .* missing Acorn, Acorn_grouped"):
        read_lcl(path)
    with pytest.raises(DataError, match="found no such file"):
        read_lcl(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected CSV files, found none"):
        read_lcl(tmp_path / "empty")
    (tmp_path / "bad.zip").write_bytes(b"no")
    with pytest.raises(DataError, match="expected a zip archive"):
        read_lcl(tmp_path / "bad.zip")
    write(path, [])
    with pytest.raises(DataError, match="at least one household"):
        read_lcl(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = zipped(write_folder(tmp_path / "files", trial(), 1))
    data = bytearray(path.read_bytes())
    data[2000:2200] = bytes(200)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="expected a readable archive"):
        read_lcl(path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tariff": "std"}, "tariff: expected one of Std, ToU; got 'std'"),
        ({"stamps": "middle"}, "stamps: expected one of end, start"),
        ({"min_days": 0}, "min_days: expected a whole number of at least 1, got 0"),
        ({"max_households": 1.5}, "max_households: expected a whole number"),
        ({"year": "2013"}, "year: expected a whole number"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_read(tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        read_lcl(tmp_path / "none.csv", **options)


def test_saved_profiles_that_are_not_of_the_trial_are_refused(tmp_path):
    path = save_profiles(made(), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="expected a file of convert_lcl with stamps='start', got None"):
        read_lcl(path)


def test_conversion_leaves_nothing_behind_when_it_fails(tmp_path):
    path = write(tmp_path / "lcl.csv", changed(trial(), 383, wh=-5))
    with pytest.raises(DataError, match="at least 0 kWh"):
        convert_lcl(path, tmp_path / "out.parquet")
    with pytest.raises(InputError, match=r"suffix \.parquet"):
        convert_lcl(path, tmp_path / "out.csv")
    with pytest.raises(DataError, match="at least one complete day, got none"):
        convert_lcl(write(path, days_of("MAC000002", 1)[1:]), tmp_path / "out.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["lcl.csv"]


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(lcl_rows, "_BLOCK_BYTES", 1 << 13)
    body = "".join(row.line() + "\n" for row in days_of("MAC000001", 5))
    path = tmp_path / "lcl.csv"

    def peak_bytes(n_households: int) -> int:
        with path.open("w") as file:
            file.write(HEADER + "\n")
            for i in range(n_households):
                file.write(body.replace("MAC000001", f"MAC{i:06d}"))
        most = count = 0
        tracemalloc.start()
        for rows in stream_households(path):
            count += sum(map(len, rows.kwh))
            most = max(most, pa.total_allocated_bytes() + tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert count == n_households * 240
        return most

    small, large = peak_bytes(60), peak_bytes(240)
    # Some 3 MB more to read; the ids of households that are done are all that stays.
    assert large - small < 0.05 * 180 * len(body), (small, large)
