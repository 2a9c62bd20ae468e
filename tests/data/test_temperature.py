import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import unlearn
from tests.data import builders
from unlearn.data.features import distinct_columns
from unlearn.data.temperature import (
    best_stations,
    implausible,
    in_fahrenheit,
    temperature_features,
    temperature_unit,
    with_temperature_features,
)
from unlearn.errors import InputError

HOURS = pd.date_range("2007-07-01", periods=48, freq="h")


def test_best_stations_agree_with_least_squares():
    random = np.random.default_rng(1)
    hour = np.arange(500) % 24
    temperature = random.normal(60, 15, (500, 3)).round()
    load = 0.02 * (temperature[:, [2, 0]] - 60) ** 2 + np.sin(hour)[:, None] + random.normal(0, 2, (500, 2))
    station, r_squared = best_stations(load, temperature, hour)
    assert station.tolist() == [2, 0]
    dummies = np.eye(24)[hour]
    scaled = (temperature[:, 1] - 60) / 15
    design = np.column_stack([dummies, scaled, scaled**2, scaled**3])
    within = load - dummies @ np.linalg.lstsq(dummies, load)[0]
    residual = load - design @ np.linalg.lstsq(design, load)[0]
    np.testing.assert_allclose(r_squared[1], 1 - (residual**2).sum(0) / (within**2).sum(0), atol=1e-10)


def test_a_station_that_does_not_vary_is_not_chosen():
    hour = np.arange(96) % 24
    varying = np.random.default_rng(0).normal(60, 9, 96)
    station, r_squared = best_stations(varying[:, None], np.column_stack([np.full(96, 50.0), varying]), hour)
    assert station.tolist() == [1]
    assert r_squared[0, 0] == 0


def test_best_stations_refuses_other_lengths():
    with pytest.raises(InputError, match="temperature"):
        best_stations(np.ones((4, 1)), np.ones((5, 1)), np.zeros(4, dtype=np.int64))


def test_temperature_features():
    hours = pd.date_range("2007-07-01", periods=48, freq="h")
    table = temperature_features(pd.DataFrame({1: np.linspace(30, 90, 48)}, index=hours))
    assert len(table) == 6
    assert table["cooling_degrees_70f"][1].iloc[-1] == 20
    assert table["heating_degrees_40f"][1].iloc[0] == 10
    mean = np.linspace(30, 90, 48)[-24:].mean()
    assert table["cooling_degrees_65f_of_mean_24h"][1].iloc[-1] == pytest.approx(mean - 65)


@pytest.mark.parametrize(
    ("variable", "unit"),
    [
        ("temperature_f", "f"), ("temperature_c", "c"), ("temperature_k", "k"), ("station_a_temperature_c", "c"),
        ("temperature", None), ("temperature_c_mean", None), ("watertemperature_c", None), ("temperature_r", None),
        ("Temperature_C", None), ("temperature_c\n", None), ("", None),
    ],
)  # fmt: skip
def test_a_temperature_is_known_by_its_name(variable, unit):
    assert temperature_unit(variable) == unit


@given(arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=st.floats(-90, 60)))
def test_units_differ_in_the_readings_alone(celsius):
    hours = pd.date_range("2024-01-01", periods=len(celsius), freq="h")
    of = {
        unit: temperature_features(pd.DataFrame(readings, hours), unit=unit)
        for unit, readings in (("c", celsius), ("f", celsius * 9 / 5 + 32), ("k", celsius + 273.15))
    }
    for unit, readings in (("c", celsius), ("k", celsius + 273.15)):
        np.testing.assert_array_equal(of[unit].pop(f"temperature_{unit}"), readings)
    fahrenheit = of["f"].pop("temperature_f").to_numpy()
    np.testing.assert_array_equal(of["f"]["cooling_degrees_70f"], np.maximum(fahrenheit - 70, 0))
    for unit in "ck":
        assert list(of[unit]) == list(of["f"])
        for name, table in of[unit].items():
            np.testing.assert_allclose(table, of["f"][name], rtol=0, atol=1e-10)  # rounding of readings in K


def test_known_points_of_the_scales():
    for unit, freezing, boiling in (("c", 0, 100), ("f", 32, 212), ("k", 273.15, 373.15)):
        np.testing.assert_allclose(in_fahrenheit(np.array([freezing, boiling]), unit), [32, 212], atol=1e-12)
    np.testing.assert_array_equal(implausible(np.array([-91.0, -60, 50, 61]), "c"), [True, False, False, True])
    assert implausible(np.array([21.0]), "k").all()
    assert not implausible(np.array([288.0]), "k").any()


def test_no_other_unit_and_no_other_table():
    with pytest.raises(InputError, match="unit: expected one of c, f, k; got 'r'"):
        temperature_features(pd.DataFrame([1.0]), unit="r")
    with pytest.raises(InputError, match="temperature: expected a DataFrame of hourly readings, got list"):
        temperature_features([1.0])


def test_other_variables_stay_and_places_are_told_apart():
    table = pd.DataFrame({"x": np.linspace(0, 30, 48)}, HOURS)
    weather = with_temperature_features({"wind_m_s": table, "temperature_c": table, "hill_temperature_f": table})
    assert list(weather)[:3] == ["wind_m_s", "temperature_c", "cooling_degrees_70f"]
    assert len(weather) == 1 + 6 + 6
    assert [name for name in weather if name.startswith("hill_")][:2] == [
        "hill_temperature_f", "hill_cooling_degrees_70f",
    ]  # fmt: skip
    assert weather["wind_m_s"] is table


@pytest.mark.parametrize(
    "names",
    [
        ("temperature_c", "temperature_f"),
        ("temperature_c", "cooling_degrees_70f"),
        ("heating_degrees_40f", "temperature_k"),
    ],
)
def test_one_temperature_of_a_place_and_no_features_of_it(names):
    table = pd.DataFrame({"x": np.linspace(0, 30, 48)}, HOURS)
    with pytest.raises(
        InputError, match=r"expected one temperature of each place and no features of it, got (cool|heat)"
    ):
        with_temperature_features(dict.fromkeys(names, table))


@pytest.mark.parametrize("degrees", [(75, 100), (0, 35), (20, 100)])
def test_no_column_repeats_the_temperature_in_any_climate(degrees):
    """Where it is never cold the cooling degrees are the temperature less 70: a linear model takes one of the two."""
    random = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=600, freq="h")
    fahrenheit = pd.DataFrame(random.uniform(*degrees, (600, 2)), hours, ["a", "b"])
    load = 20 + 0.2 * fahrenheit + random.normal(size=(600, 2))
    dataset = unlearn.dataset_from_frames(load, temperature_features((fahrenheit - 32) / 1.8, unit="c"))
    names = {dataset.feature_names[f] for _, f in distinct_columns(dataset.features[dataset.split.train])}
    assert ("cooling_degrees_70f" in names) == (degrees == (20, 100))
    assert ("heating_degrees_40f" in names) == (degrees == (20, 100))
    assert builders.linear_mape(dataset) < 0.1


def test_they_serve_frames_of_ones_own():
    """Loads that bend with the temperature: MAPE of the linear forecaster falls."""
    load_mw, celsius = builders.climate_year()
    raw = builders.linear_mape(unlearn.dataset_from_frames(load_mw, {"temperature_c": celsius}))
    bent = builders.linear_mape(unlearn.dataset_from_frames(load_mw, temperature_features(celsius, unit="c")))
    assert bent < 0.5 * raw
