"""Households with and without a simulated vehicle, and features against plain loops."""

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import DataError, InputError
from unlearn.households import Meters, hourly_meters, simulate_households
from unlearn.privacy.federated import FEATURES, PUBLIC_SCALING, adoption_data, household_features
from unlearn.privacy.federated.adoption import SHARES, _charging


@pytest.fixture(scope="module")
def meters() -> Meters:
    return hourly_meters(simulate_households(100, n_days=21, ev_share=0))


def by_loops(kwh: np.ndarray, hours: pd.DatetimeIndex) -> list[float]:
    """Features of one household whose meter was there in all these hours."""
    readings = list(zip(hours, kwh.tolist(), strict=True))

    def mean(chosen: list[float]) -> float:
        return sum(chosen) / len(chosen)

    weekdays = mean([own for hour, own in readings if hour.weekday() < 5])
    weekends = mean([own for hour, own in readings if hour.weekday() >= 5])
    return [
        sum(own for hour, own in readings if hour.hour in (22, 23, 0, 1, 2, 3, 4, 5)) / sum(kwh),
        np.log(1 + mean([own for hour, own in readings if 17 <= hour.hour < 22])),
        np.log(1 + mean([own for hour, own in readings if hour.hour < 6])),
        np.log(1 + np.percentile(kwh, 95)),
        np.log(1 + 1000 * mean([float(own > 3) for _, own in readings])),
        weekdays / (weekdays + weekends),
    ]


def test_features_are_those_of_plain_loops_over_a_meter_s_life() -> None:
    hours = pd.date_range("2024-03-01 05:00", periods=24 * 16, freq="h")
    table = pd.DataFrame(np.random.default_rng(0).gamma(1.0, 1.5, (len(hours), 3)), index=hours, columns=list("abc"))
    table.loc[table.index[:50], "b"] = np.nan
    table.loc[table.index[-70:], "c"] = np.nan
    meters = hourly_meters(table)
    where = np.array([2, 0, 1])
    found = household_features(meters.series(where), meters, where)
    assert found.shape == (3, len(FEATURES)) == (3, len(PUBLIC_SCALING[0]))
    for features, name in zip(found, "cab", strict=True):
        there = table[name].dropna()
        np.testing.assert_allclose(features, by_loops(there.to_numpy(), there.index), rtol=1e-5)


def test_a_household_without_energy_has_the_features_of_an_even_load() -> None:
    table = pd.DataFrame({"a": np.zeros(48), "b": np.ones(48)}, index=pd.date_range("2024-03-02", periods=48, freq="h"))
    meters = hourly_meters(table)
    found = household_features(meters.series(np.arange(2)), meters, np.arange(2))
    assert found[0].tolist() == pytest.approx([1 / 3, 0, 0, 0, 0, 0.5])
    assert found[1, 0] == pytest.approx(1 / 3)


def test_shares_of_owners_and_of_those_held_out(meters: Meters) -> None:
    data = adoption_data(meters, seed=3, test_share=0.4)
    assert data.utilities == tuple(SHARES)
    assert np.bincount(data.utility).tolist() == [20] * 5
    assert [int(data.owns[data.utility == i].sum()) for i in range(5)] == [2, 3, 4, 5, 6]
    assert data.rates == pytest.approx((0.1, 0.15, 0.2, 0.25, 0.3))
    for i, name in enumerate(data.utilities):
        for group in (data.owns, ~data.owns):
            own = group & (data.utility == i)
            assert int(data.test[own].sum()) == max(1, round(0.4 * own.sum()))
        (features, _), (held_out, owns) = data.training(name), data.held_out(name)
        assert len(features) + len(held_out) == 20
        assert 0 < owns.sum() < len(owns)
    assert len(data.training()[1]) + len(data.held_out()[1]) == len(data) == 100


def test_the_seed_decides_and_owners_use_more(meters: Meters) -> None:
    data, again, other = (adoption_data(meters, {"a": 0.5, "b": 0.5}, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(data.features, again.features)
    assert (data.owns != other.owns).any()
    column = FEATURES.index("high hours")
    assert data.features[data.owns, column].mean() > data.features[~data.owns, column].mean() + 1
    # Without a vehicle features are those of the readings alone.
    plain = household_features(meters.series(np.arange(100)), meters, np.arange(100))
    np.testing.assert_allclose(data.features[~data.owns], plain[~data.owns], rtol=1e-5)


def test_what_is_charged_is_plausible_and_follows_the_timer() -> None:
    hours = pd.date_range("2024-01-01 07:00", periods=24 * 60, freq="h")
    owns = np.arange(80) % 2 == 0
    late, timed = (_charging(hours, owns, np.full(80, chance), np.random.default_rng(0)) for chance in (0.0, 1.0))
    for kwh in (late, timed):
        assert (kwh[~owns] == 0).all()
        assert kwh.max() <= 7.0
        weekly = kwh[owns].sum(axis=1) * 7 / 60
        assert 20 < weekly.mean() < 50  # some 190 km a week at 0.19 kWh each
    night = (hours.hour < 6).astype(float)
    assert (timed @ night).sum() > 0.95 * timed.sum()
    assert (late @ night).sum() < 0.2 * late.sum()


def test_only_simulated_readings_are_simulated(meters: Meters) -> None:
    shares = {"a": 0.3}
    assert adoption_data(meters, shares).simulated
    table = pd.DataFrame(meters.series(np.arange(100)).T, index=meters.hours, columns=list(meters.customer_ids))
    assert not adoption_data(hourly_meters(table), shares).simulated


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share_by_utility": {}}, "share_by_utility: expected at least one"),
        ({"share_by_utility": {"a": 1.0}}, "share_by_utility of a: expected a share between 0 and 1"),
        ({"timer_by_utility": {"z": 0.5}}, "timer_by_utility: expected utilities among"),
        ({"timer_by_utility": {"north": 1.5}}, "timer_by_utility of north: expected a share from 0 to 1"),
        ({"test_share": 0.0}, "test_share: expected a share between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(meters: Meters, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        adoption_data(meters, **settings)


def test_too_few_owners_are_refused(meters: Meters) -> None:
    with pytest.raises(DataError, match="of utility a, got too few"):
        adoption_data(meters, {"a": 0.01})
