import hashlib
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.data import builders
from unlearn.data import tx123bt
from unlearn.data.features import WEATHER_NAMES, least_correlated
from unlearn.data.files import Archive
from unlearn.data.tx123bt import parse_load, read_tx123bt
from unlearn.errors import DataError, InputError

LOAD = "Data_public/load_2019/load_annual_D{}.txt"
CLIMATE = "Data_public/Climate_2019/climate_2019_Day{}.csv"


@pytest.fixture(scope="module")
def arrays_and_files():
    load, climate = builders.tx_arrays()
    files = builders.tx_files(load, climate, plain=True)
    # Workbooks are slow: the day that tests change is one, the others are plain text.
    files[CLIMATE.format(2)] = builders.workbook(builders.climate_tables(climate[:, 24:48]))
    return load, climate, files


@pytest.fixture
def files(arrays_and_files):
    return dict(arrays_and_files[2])


def refuses(files, tmp_path, match, **options):
    with pytest.raises(DataError, match=match):
        read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), **({"n_loads": 2} | options))


def replaced_sheet(load_and_climate, hour, change):
    """Return the workbook of day 2 with one changed sheet."""
    tables = builders.climate_tables(load_and_climate[1][:, 24:48])
    tables[f"Hour {hour}"] = change(tables[f"Hour {hour}"])
    return builders.workbook(tables)


def test_one_year_release_round_trip(arrays_and_files, tmp_path):
    load, climate, files = arrays_and_files
    dataset = read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), buses=[4, 1, 6])
    assert dataset.name == "tx123bt-2019"
    assert dataset.load_names == ("bus_4", "bus_1", "bus_6")
    assert dataset.feature_names[4:] == WEATHER_NAMES
    assert dataset.timestamps[0] == pd.Timestamp("2019-01-01 00:00")
    assert dataset.fitted == ()
    np.testing.assert_allclose(dataset.load_mw, load[:, [3, 0, 5]], rtol=1e-6)
    np.testing.assert_array_equal(dataset.features[:, :, 4:], climate[:, :, [3, 0, 5]].transpose(1, 2, 0))


@pytest.mark.parametrize("plain", [False, True])
def test_five_year_release(tmp_path, plain):
    load, climate = builders.tx_arrays(n_days=2, n_buses=4)
    files = builders.tx_files(load, climate, "five-year", 2020, plain)
    # Files of other years lie beside them.
    files |= builders.tx_files(2 * load, climate, "five-year", 2021, plain=True)
    dataset = read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), year=2020, buses=[1, 2, 3, 4])
    assert dataset.timestamps[0] == pd.Timestamp("2020-01-01")
    np.testing.assert_allclose(dataset.load_mw, load, rtol=1e-6)
    np.testing.assert_allclose(dataset.features[:, :, 4:], climate.transpose(1, 2, 0), rtol=1e-12)


def test_all_123_buses(tmp_path):
    load, climate = builders.tx_arrays(n_days=2, n_buses=123)
    files = builders.tx_files(load, climate, plain=True)
    dataset = read_tx123bt(builders.write_folder(files, tmp_path / "tx"))
    assert dataset.features.shape == (48, 14, 10)


def test_a_workbook_of_123_buses(tmp_path):
    load, climate = builders.tx_arrays(n_days=1, n_buses=123)
    files = builders.tx_files(load, climate)
    with Archive(builders.write_folder(files, tmp_path)) as archive:
        parsed = tx123bt.parse_climate(archive, CLIMATE.format(1), 123)
    np.testing.assert_array_equal(parsed, climate)


def test_folder_and_zip_agree(files, tmp_path):
    zipped = read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), n_loads=3)
    folder = read_tx123bt(builders.write_folder(files, tmp_path / "tx"), n_loads=3)
    assert zipped.fingerprint == folder.fingerprint


def test_least_correlated_buses_are_chosen_on_training_rows_and_declared(arrays_and_files, files, tmp_path):
    dataset = read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), n_loads=3)
    (constant,) = dataset.fitted
    assert constant.fitted_on == "train"
    expected = least_correlated(arrays_and_files[0][dataset.split.train], 3) + 1
    assert dataset.load_names == tuple(f"bus_{bus}" for bus in expected)
    assert constant.description == "buses " + ", ".join(map(str, expected))


def test_parsed_arrays_are_cached(files, tmp_path, monkeypatch, own_cache):
    path = builders.write_zip(files, tmp_path / "tx.zip")
    first = read_tx123bt(path, n_loads=3)
    assert len(list(own_cache.rglob("*.parquet"))) == 1
    monkeypatch.setattr(tx123bt, "parse_load", None)
    assert read_tx123bt(path, n_loads=3).fingerprint == first.fingerprint
    # Another content is another cache entry, so the parser is asked again.
    files[LOAD.format(2)] = files[LOAD.format(1)]
    with pytest.raises(TypeError):
        read_tx123bt(builders.write_zip(files, path), n_loads=3)


def test_download(files, tmp_path, monkeypatch, own_cache):
    archive = builders.write_zip(files, tmp_path / "tx.zip")
    own_cache.joinpath("tx123bt").mkdir(parents=True)
    archive.rename(own_cache / "tx123bt" / "tx123bt-v6.zip")
    content = (own_cache / "tx123bt" / "tx123bt-v6.zip").read_bytes()
    monkeypatch.setattr(tx123bt, "MD5", hashlib.md5(content).hexdigest())
    assert read_tx123bt(n_loads=3).n_loads == 3


def test_an_archive_may_end_before_the_year(files, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), n_loads=2)
    assert "holds the first 3 of 365 days of 2019" in caplog.text


def test_shadow_files_of_a_mac_are_ignored(files, tmp_path):
    files["__MACOSX/Data_public/load_2019/._load_annual_D1.txt"] = b"\0"
    assert read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), n_loads=2).n_loads == 2


@pytest.mark.parametrize(("kind", "name"), [("load", LOAD), ("climate", CLIMATE)])
def test_missing_day(files, tmp_path, kind, name):
    del files[name.format(2)]
    named = name.format(1).replace(".", r"\.")
    refuses(
        files,
        tmp_path,
        rf"expected a {kind} file for each day from 1 to 3 of 2019, got none for 1 of them, first day 2 "
        rf"\(named like {named}",
    )


def test_day_beyond_the_year(files, tmp_path):
    files = {LOAD.format(day): b"" for day in range(1, 367)} | {CLIMATE.format(day): b"" for day in range(1, 367)}
    refuses(files, tmp_path, "at most 365 days in 2019, got a file for day 366")


def test_no_such_year(files, tmp_path):
    refuses(files, tmp_path, "expected load files of 2018, found none among 6 files", year=2018)


def test_no_climate(files, tmp_path):
    only_load = {name: content for name, content in files.items() if "Climate" not in name}
    refuses(only_load, tmp_path, "expected climate files of 2019, found none among 3 files")


def test_not_an_archive(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.zip: expected a folder or a zip archive"):
        read_tx123bt(tmp_path / "nothing.zip")


def test_damaged_archive(tmp_path):
    load, climate = builders.tx_arrays(n_days=1)
    path = builders.write_zip(builders.tx_files(load, climate), tmp_path / "tx.zip")
    content = path.read_bytes()
    place = content.find(b"e+0")
    path.write_bytes(content[:place] + b"e+9" + content[place + 3 :])
    with pytest.raises(DataError, match=r"load_annual_D1\.txt: expected a readable file, got: Bad CRC"):
        read_tx123bt(path, n_loads=2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda lines: lines[:-1], "expected 24 rows, one per hour, got 23"),
        (lambda lines: ["x" + lines[0], *lines[1:]], r"got x\S+ in column 1 at row 1"),
        (
            lambda lines: [*lines[:4], "-" + lines[4], *lines[5:]],
            r"a load of at least 0 MW, got -\S+ in column 1 at row 5",
        ),
        (
            lambda lines: [*lines[:4], lines[4][:40], *lines[5:]],
            r"got nan in column 4 at row 5 \(3 such values",
        ),
        (lambda lines: [*lines[:4], lines[4] + " 1.0", *lines[5:]], "one length, got: .*line 5, saw 7"),
        (lambda lines: [], "expected 24 rows of numbers of one length, got: No columns"),
    ],
)
def test_damaged_load_file(files, tmp_path, change, match):
    files[LOAD.format(2)] = "\n".join(change(files[LOAD.format(2)].decode().splitlines())).encode()
    refuses(files, tmp_path, rf"load_annual_D2\.txt: .*{match}")


def test_missing_sheet(arrays_and_files, files, tmp_path):
    tables = builders.climate_tables(arrays_and_files[1][:, 24:48])
    del tables["Hour 9"], tables["Hour 24"]
    files[CLIMATE.format(2)] = builders.workbook(tables)
    refuses(files, tmp_path, r"Day2\.csv: expected sheets Hour 1 to Hour 24, missing Hour 9, Hour 24")


def test_missing_climate_column(arrays_and_files, files, tmp_path):
    files[CLIMATE.format(2)] = replaced_sheet(
        arrays_and_files, 5, lambda t: t.drop(columns="Longwave Radiation (w/m2)")
    )
    refuses(
        files,
        tmp_path,
        r"Day2\.csv, sheet Hour 5: expected one column of longwave_w_m2, got none among Bus, Temp",
    )


def test_missing_bus(arrays_and_files, files, tmp_path):
    files[CLIMATE.format(2)] = replaced_sheet(arrays_and_files, 5, lambda t: t.iloc[:-1])
    refuses(files, tmp_path, r"Day2\.csv, sheet Hour 5: expected 6 rows \(the load file has 6 buses\), got 5")


def test_climate_that_is_not_a_number(arrays_and_files, files, tmp_path):
    def spoil(table):
        table = table.astype({"Temperature (k)": object})
        table.loc[2, "Temperature (k)"] = "n/k"
        return table

    files[CLIMATE.format(2)] = replaced_sheet(arrays_and_files, 7, spoil)
    refuses(files, tmp_path, r"sheet Hour 7: expected a number, got n/k in column Temperature \(k\) at row 4")


@pytest.mark.parametrize(("content", "match"), [(b"PK\3\4 broken", "an Excel workbook"), (b"", "a table with commas")])
def test_damaged_climate_file(files, tmp_path, content, match):
    files[CLIMATE.format(2)] = content
    refuses(files, tmp_path, rf"Day2\.csv: expected .*{match}")


@pytest.mark.parametrize("n_loads", [0, 7])
def test_too_few_buses(files, tmp_path, n_loads):
    with pytest.raises(InputError, match=rf"loads from 1 to 6 \(loads that vary, of \d+\), got {n_loads}"):
        read_tx123bt(builders.write_zip(files, tmp_path / "tx.zip"), n_loads=n_loads)


@pytest.mark.parametrize("buses", [(0,), (7,), (1, 1), ()])
def test_unknown_buses(files, tmp_path, buses):
    refuses(files, tmp_path, "distinct bus numbers from 1 to 6, got", buses=buses)


def test_load_files_with_other_numbers_of_buses(arrays_and_files, files, tmp_path):
    files[LOAD.format(2)] = builders.load_text(arrays_and_files[0][:24, :5]).encode()
    refuses(files, tmp_path, r"Day2\.csv, sheet Hour 1: expected 5 rows \(the load file has 5 buses\), got 6")


@given(arrays(np.float64, st.tuples(st.just(24), st.integers(1, 5)), elements=st.floats(0, 1e6)))
def test_load_parser_round_trip(tmp_path_factory, load):
    folder = tmp_path_factory.mktemp("load")
    (folder / "d.txt").write_text("\n".join(" ".join(map(repr, row)) for row in load.tolist()))
    with Archive(folder) as archive:
        np.testing.assert_allclose(parse_load(archive, "d.txt"), load, rtol=1e-14)


def test_least_correlated_starts_with_the_least_correlated_pair():
    random = np.random.default_rng(0)
    shared, other = random.normal(size=(2, 400))
    load = np.column_stack([shared, shared + 0.1 * other, np.full(400, 3.0), other, 0.5 * shared + other])
    assert least_correlated(load, 2).tolist() == [0, 3]
    # The third column does not vary, so nothing but these can be chosen.
    assert least_correlated(load, 4).tolist() == [0, 1, 3, 4]
    assert least_correlated(load[:, :1], 1).tolist() == [0]


@pytest.mark.parametrize("count", [0, 3])
def test_least_correlated_refuses(count):
    with pytest.raises(InputError, match=rf"from 1 to 2 \(loads that vary, of 3\), got {count}"):
        least_correlated(np.column_stack([np.arange(9.0), np.arange(9.0) ** 2, np.ones(9)]), count)


@given(st.integers(0, 1000), st.integers(1, 8))
def test_each_choice_is_greedy(seed, count):
    load = np.random.default_rng(seed).normal(size=(60, 8))
    chosen = least_correlated(load, count)
    assert len(set(chosen.tolist())) == count
    if count >= 2:
        closeness = np.abs(np.corrcoef(load, rowvar=False))
        np.fill_diagonal(closeness, np.inf)
        assert closeness[np.ix_(chosen, chosen)].min() == closeness.min()
