import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.data import builders
from unlearn.data.tables import read_tables
from unlearn.data.temperature import temperature_features
from unlearn.errors import DataError, InputError

N_HOURS = 60


@pytest.fixture
def load():
    hours = pd.date_range("2021-03-01", periods=N_HOURS, freq="h").astype(str)
    return pd.DataFrame({"timestamp": hours, "north": np.arange(60.0) + 1, "south": np.arange(60.0) % 7})


@pytest.fixture
def weather(load):
    return pd.DataFrame({"timestamp": load["timestamp"], "station": np.arange(60.0) - 20})


def write(folder, **tables):
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder / "load.csv", {name: folder / f"{name}.csv" for name in tables if name != "load"}


def refuses(folder, match, **tables):
    options = tables.pop("options", {})
    with pytest.raises(DataError, match=match):
        read_tables(*write(folder, **tables), **options)


def test_one_station_serves_all_loads(load, weather, tmp_path):
    dataset = read_tables(*write(tmp_path, load=load, rain_mm=weather))
    assert dataset.name == "load"
    assert dataset.load_names == ("north", "south")
    assert dataset.feature_names[4:] == ("rain_mm",)
    np.testing.assert_array_equal(dataset.load_mw, load[["north", "south"]])
    np.testing.assert_array_equal(dataset.features[:, :, 4], np.tile(weather[["station"]], 2))


def test_a_temperature_brings_its_features_and_keeps_its_name(load, weather, tmp_path):
    files = write(tmp_path, load=load, temperature_c=weather, rain_mm=weather)
    dataset = read_tables(*files)
    derived = temperature_features(weather[["station"]], unit="c")
    assert dataset.feature_names[4:] == (*derived, "rain_mm")
    assert dataset.feature_names[4] == "temperature_c"
    for f, table in enumerate(derived.values(), start=4):
        np.testing.assert_array_equal(dataset.features[:, :, f], np.tile(table, 2))
    alone = read_tables(*files, temperature_features=False)
    assert alone.feature_names[4:] == ("temperature_c", "rain_mm")
    np.testing.assert_array_equal(alone.features[:, :, 4], np.tile(weather[["station"]], 2))


def test_each_load_has_the_features_of_its_own_column(load, tmp_path):
    own = load.assign(north=np.arange(60.0), south=np.arange(60.0)[::-1])
    dataset = read_tables(*write(tmp_path, load=load, site_temperature_f=own))
    heating = dataset.feature_names.index("site_heating_degrees_40f")
    np.testing.assert_array_equal(dataset.features[:, :, heating], np.maximum(40 - own[["north", "south"]], 0))


def test_temperatures_let_the_linear_forecaster_bend(tmp_path):
    """Simulated loads that heat and cool, from files and back: MAPE falls."""
    load_mw, celsius = builders.climate_year()
    files = write(tmp_path, load=load_mw.reset_index(), temperature_k=(celsius + 273.15).reset_index())
    raw, bent = (builders.linear_mape(read_tables(*files, temperature_features=wanted)) for wanted in (False, True))
    assert bent < 0.5 * raw


def test_a_temperature_that_no_place_has(load, weather, tmp_path):
    weather.loc[30:, "station"] = 288.0
    refuses(
        tmp_path,
        r"temperature_c.csv: expected a temperature in °C, got '288.0' in column station at row 32; 30 such values. "
        r"If its unit is another, name the variable by it \(temperature_f, ",
        load=load,
        temperature_c=weather,
    )
    assert (
        read_tables(*write(tmp_path, load=load, temperature_c=weather), temperature_features=False).features.max()
        == 288
    )


def test_one_place_has_one_temperature(load, weather, tmp_path):
    with pytest.raises(InputError, match=r"got cooling_degrees_70f from temperature_f and from temperature_c"):
        read_tables(*write(tmp_path, load=load, temperature_c=weather, temperature_f=weather))


def test_a_column_per_load_in_any_order_and_parquet(load, tmp_path):
    load["timestamp"] = pd.to_datetime(load["timestamp"]).dt.tz_localize("Etc/GMT+6")
    table = load[["south", "timestamp", "north"]].assign(south=1.5)
    load.to_parquet(tmp_path / "load.parquet")
    table.to_parquet(tmp_path / "w.parquet")
    dataset = read_tables(tmp_path / "load.parquet", {"wind_m_s": tmp_path / "w.parquet"})
    assert dataset.timestamps[0] == pd.Timestamp("2021-03-01")
    assert (dataset.features[:, 1, 4] == 1.5).all()
    np.testing.assert_array_equal(dataset.features[:, 0, 4], load["north"])


def test_no_weather_and_another_name_of_the_times(load, tmp_path):
    path, _ = write(tmp_path, load=load.rename(columns={"timestamp": "when"}))
    assert read_tables(path, {}, timestamp="when").features.shape == (60, 2, 4)


def test_blank_lines_at_the_end_are_nothing(load, tmp_path):
    path, _ = write(tmp_path, load=load)
    path.write_text(path.read_text() + "\n\n")
    assert len(read_tables(path, {}).timestamps) == N_HOURS


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"load\.csv: expected a table, found no such file"):
        read_tables(tmp_path / "load.csv", {})


def test_not_a_table(tmp_path):
    (tmp_path / "load.parquet").write_bytes(b"no")
    (tmp_path / "load.csv").write_bytes(b"")
    for name in ("load.parquet", "load.csv"):
        with pytest.raises(DataError, match=rf"{name}: expected a CSV or parquet table"):
            read_tables(tmp_path / name, {})


def test_no_times(load, tmp_path):
    refuses(
        tmp_path,
        r"load.csv: expected the columns when, missing when; got timestamp, north, south",
        load=load,
        options={"timestamp": "when"},
    )


def test_no_loads(load, tmp_path):
    refuses(tmp_path, "expected a column per load beside timestamp, got none", load=load[["timestamp"]])


def test_no_rows(load, tmp_path):
    refuses(tmp_path, "load.csv: expected a row per hour, got none", load=load.iloc[:0])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "expected a number, got a blank in column south at row 7"),
        ("1,5", "expected a number, got '1,5' in column south at row 7"),
        (-2.0, r"expected a load of at least 0, got .*-2\.0.* in column south at row 7 \(2021-03-01 05:00"),
        (float("inf"), "expected a number, got .*inf.* in column south at row 7"),
    ],
)
def test_unusable_load(load, tmp_path, value, match):
    load = load.astype({"south": object})
    load.loc[5, "south"] = value
    refuses(tmp_path, rf"load\.csv: {match}", load=load)


def test_parquet_rows_count_from_one(load, tmp_path):
    load.loc[5, "south"] = np.nan
    load.to_parquet(tmp_path / "load.parquet")
    with pytest.raises(DataError, match=r"a blank in column south at row 6"):
        read_tables(tmp_path / "load.parquet", {})


@pytest.mark.parametrize(("value", "got"), [(None, "a blank"), ("noon", "'noon'")])
def test_unusable_time(load, tmp_path, value, got):
    load.loc[4, "timestamp"] = value
    refuses(tmp_path, rf"load.csv: expected a time, got {got} in column timestamp at row 6", load=load)


def test_times_of_differing_offsets(load, tmp_path):
    load["timestamp"] = [f"{time}{'+01:00' if i < 30 else '+02:00'}" for i, time in enumerate(load["timestamp"])]
    refuses(tmp_path, "expected times of one offset, .* in column timestamp.*Write them in UTC", load=load)


@pytest.mark.parametrize(
    ("order", "match"),
    [
        (
            [*range(9), 8, *range(9, 60)],
            r"got 2021-03-01 08:00:00 at row 11 after 2021-03-01 08:00:00: it is a duplicate",
        ),
        (
            [0, 1, 3, 2, *range(4, 60)],
            r"got 2021-03-01 03:00:00 at row 4 after .*it follows a gap; 3 such rows",
        ),
        ([5, *range(5), *range(6, 60)], r"got 2021-03-01 00:00:00 at row 3 after .*it is unsorted"),
    ],
)
def test_hours_that_do_not_follow_each_other(load, tmp_path, order, match):
    refuses(tmp_path, match, load=load.iloc[order])


def test_weather_of_other_hours(load, weather, tmp_path):
    refuses(
        tmp_path,
        r"temperature_f.csv: expected in column timestamp the hours of the load table, 2021-03-01 00:00:00 .*"
        r"got 2021-03-01 01:00:00",
        load=load,
        temperature_f=weather.iloc[1:],
    )


def test_weather_without_a_load_of_the_table(load, tmp_path):
    table = load.rename(columns={"south": "west"})
    refuses(
        tmp_path,
        r"rain.csv: expected the columns of .*load.csv or a single one, missing south",
        load=load,
        rain=table,
    )


@given(arrays(np.float64, st.tuples(st.integers(10, 40), st.integers(1, 3)), elements=st.floats(0, 1e9)))
def test_csv_round_trip(tmp_path_factory, values):
    hours = pd.date_range("2021-03-01", periods=len(values), freq="h")
    table = pd.DataFrame(values, columns=[f"load_{b}" for b in range(values.shape[1])])
    table.insert(0, "timestamp", hours)
    path, _ = write(tmp_path_factory.mktemp("tables"), load=table)
    dataset = read_tables(path, {})
    np.testing.assert_allclose(dataset.load_mw, values, rtol=1e-15)
    assert dataset.timestamps.equals(hours.rename("timestamp"))
