import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.data.features import WEATHER_NAMES, distinct_columns
from unlearn.data.splits import PUBLISHED
from unlearn.data.synthetic import make_synthetic
from unlearn.errors import InputError


@pytest.fixture(scope="module")
def dataset():
    return make_synthetic()


def design(dataset):
    train = dataset.features[dataset.split.train]
    columns = np.array(distinct_columns(train))
    chosen = dataset.features[:, columns[:, 0], columns[:, 1]]
    mean, std = chosen[dataset.split.train].mean(0), chosen[dataset.split.train].std(0)
    return np.column_stack([np.ones(len(chosen)), (chosen - mean) / std])


def feature(dataset, name):
    return dataset.features[:, :, dataset.feature_names.index(name)]


def test_shapes_names_and_sign(dataset):
    assert dataset.features.shape == (8760, 14, 10)
    assert dataset.features.dtype == dataset.load_mw.dtype == np.float64
    assert dataset.feature_names[4:] == WEATHER_NAMES
    assert dataset.load_mw.min() > 0
    assert dataset.fitted == ()


def test_same_seed_same_bits(dataset):
    assert make_synthetic().fingerprint == dataset.fingerprint
    assert make_synthetic(random_state=1).fingerprint != dataset.fingerprint


def test_design_has_full_rank_and_forecasts_well(dataset):
    columns = design(dataset)
    train, test = dataset.split.train, dataset.split.test
    assert columns.shape[1] == 4 + 6 * 14 + 1
    assert np.linalg.cond(columns[train]) < 1e3
    coefficients = np.linalg.lstsq(columns[train], dataset.load_mw[train])[0]
    error = np.abs(columns[test] @ coefficients - dataset.load_mw[test]) / dataset.load_mw[test]
    assert error.mean() < 0.10


def test_weather_is_plausible(dataset):
    temperature, sun = feature(dataset, "temperature_k"), feature(dataset, "shortwave_w_m2")
    assert 250 < temperature.min() < temperature.max() < 330
    assert sun.min() == 0
    assert 700 < sun.max() < 1200
    assert (sun[dataset.timestamps.hour == 0] == 0).all()
    assert 150 < feature(dataset, "longwave_w_m2").min() < feature(dataset, "longwave_w_m2").max() < 600
    total = np.hypot(feature(dataset, "wind_zonal_m_s"), feature(dataset, "wind_meridional_m_s"))
    np.testing.assert_array_equal(feature(dataset, "wind_total_m_s"), total)


def test_weather_is_correlated_over_space_and_time(dataset):
    wind = feature(dataset, "wind_zonal_m_s")
    over_space = np.corrcoef(wind, rowvar=False)[np.triu_indices(14, 1)]
    assert over_space.mean() > 0.3
    assert over_space.max() < 0.99
    assert np.corrcoef(wind[1:, 0], wind[:-1, 0])[0, 1] > 0.8


def test_load_rises_with_cold_and_with_heat(dataset):
    night = dataset.timestamps.hour == 3
    temperature, load = (
        feature(dataset, "temperature_k")[night],
        dataset.load_mw[night] / dataset.load_mw.mean(0),
    )
    mild = load[(temperature > 286) & (temperature < 290)].mean()
    assert load[temperature < 278].mean() > 1.02 * mild
    assert load[temperature > 298].mean() > 1.2 * mild


def test_weekends_and_hours_matter(dataset):
    weekend = dataset.timestamps.day_of_week >= 5
    noon = dataset.timestamps.hour == 13
    total = dataset.load_mw.sum(axis=1)
    assert total[noon & ~weekend].mean() > 1.03 * total[noon & weekend].mean()
    assert total[dataset.timestamps.hour == 18].mean() > 1.2 * total[dataset.timestamps.hour == 4].mean()


def test_nominal_peaks():
    nominal = np.array([30.0, 50.0, 10.0])
    dataset = make_synthetic(3, 500, nominal_mw=nominal)
    np.testing.assert_allclose(dataset.load_mw[dataset.split.train].max(0), nominal, rtol=1e-12)
    assert [constant.name for constant in dataset.fitted] == ["load scale"]


@given(st.integers(1, 6), st.integers(30, 200), st.integers(0, 10_000))
def test_every_size_gives_positive_loads(n_loads, n_hours, seed):
    dataset = make_synthetic(n_loads, n_hours, seed, start="2020-02-28", split=PUBLISHED)
    assert dataset.load_mw.shape == (n_hours, n_loads)
    assert dataset.load_mw.min() > 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_loads": 0}, "at least 1 load and 1 hour, got 0 and 8760"),
        ({"n_hours": 0}, "got 14 and 0"),
        ({"start": "someday"}, "expected a start such as 2019-01-01, got 'someday'"),
        ({"n_hours": 100, "nominal_mw": [1.0]}, "nominal_mw"),
        ({"n_hours": 2}, "2 hours are too few"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(InputError, match=match):
        make_synthetic(**options)
