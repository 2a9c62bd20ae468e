"""Meters under pseudonyms: the same readings in another order, and nothing else of the source."""

import pickle

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError
from unlearn.households import HouseholdProfiles, Meters, hourly_meters, simulate_households
from unlearn.privacy.anonymize import PseudonymKeys, pseudonymised, pseudonymised_by_period


@pytest.fixture(scope="module")
def profiles() -> HouseholdProfiles:
    return simulate_households(12, n_days=70, random_state=1)


@pytest.fixture(scope="module")
def meters() -> Meters:
    """Meters of three days; one comes later, one goes earlier."""
    hours = pd.date_range("2013-01-30", periods=72, freq="h")
    kwh = pd.DataFrame(np.random.default_rng(0).gamma(1.0, 0.3, (72, 9)), hours, [f"customer-{i}" for i in range(9)])
    kwh.iloc[:50, 2] = np.nan
    kwh.iloc[20:, 5] = np.nan
    return hourly_meters(kwh, segments=pd.Series({f"customer-{i}": "ab"[i % 2] for i in range(9)}))


def series_by_name(meters: Meters) -> pd.DataFrame:
    found = meters.series(np.arange(len(meters)))
    hour = np.arange(len(meters.hours))
    found[(hour < meters.first[:, None]) | (hour >= meters.end[:, None])] = np.nan
    return pd.DataFrame(found, index=list(meters.customer_ids))


def test_meters_keep_readings_lives_and_classes_in_the_order_of_pseudonyms(meters: Meters) -> None:
    made = pseudonymised(meters, "p", PseudonymKeys.new(["p"]))
    names = made.released.customer_ids
    assert list(names) == sorted(names)
    assert not set(names) & set(meters.customer_ids)
    customers = list(made.identities.identify(names))
    pd.testing.assert_frame_equal(
        series_by_name(made.released).set_axis(customers, axis=0), series_by_name(meters).loc[customers]
    )
    segments = {own: meters.segments[g] for own, g in zip(meters.customer_ids, meters.segment, strict=True)}
    assert [made.released.segments[g] for g in made.released.segment] == [segments[own] for own in customers]


def test_profiles_keep_days_and_labels_in_the_order_of_pseudonyms(profiles: HouseholdProfiles) -> None:
    keys = PseudonymKeys.new(["p"])
    source = profiles.take(np.random.default_rng(0).permutation(len(profiles))[:500])
    made = pseudonymised(source, "p", keys)
    names = made.released.households["household_id"]
    assert names.is_monotonic_increasing
    assert list(made.released.households) == ["household_id", "segment"]
    frame = made.released.to_frame()
    assert frame.equals(frame.sort_values(["household_id", "date"], kind="stable"))
    by_name = dict(zip(names, made.identities.identify(names), strict=True))
    back = frame.assign(household_id=frame["household_id"].map(by_name)).sort_values(["household_id", "date"])
    wanted = source.to_frame().sort_values(["household_id", "date"])
    pd.testing.assert_frame_equal(back.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=False)
    assert made.released.reading is None
    assert made.released.simulated


def test_labels_stay_only_where_they_are_named(profiles: HouseholdProfiles) -> None:
    keys = PseudonymKeys.new(["p"])
    table = profiles.households.assign(address=[f"{i} High Street" for i in range(12)], ev=np.arange(12) % 2)
    source = HouseholdProfiles(**{**vars(profiles), "households": table})
    assert "address" not in pseudonymised(source, "p", keys).released.households
    kept = pseudonymised(source, "p", keys, labels=["ev"])
    assert list(kept.released.households) == ["household_id", "segment", "ev"]
    by_customer = table.set_index("household_id")["ev"]
    customers = kept.identities.identify(kept.released.households["household_id"])
    assert kept.released.households["ev"].tolist() == by_customer.loc[list(customers)].tolist()
    with pytest.raises(InputError, match="which have no phone"):
        pseudonymised(source, "p", keys, labels=["phone"])


def test_each_month_has_other_pseudonyms_and_all_readings_are_in_one(
    meters: Meters, profiles: HouseholdProfiles
) -> None:
    for source, months in ((meters, 2), (profiles, 3)):
        keys = PseudonymKeys.new()
        made = list(pseudonymised_by_period(source, keys))
        assert len(made) == months
        assert keys.periods == tuple(own.period for own in made)
        names = [set(own.identities.customers) for own in made]
        assert not set.intersection(*names)
        assert set.union(*(set(own.identities.customers.values()) for own in made)) == set(
            hourly_meters(source).customer_ids if isinstance(source, HouseholdProfiles) else source.customer_ids
        )
    parts = [own.released for own in pseudonymised_by_period(meters, PseudonymKeys.new())]
    assert [str(own.hours[0]) for own in parts] == ["2013-01-30 00:00:00", "2013-02-01 00:00:00"]
    assert [len(own) for own in parts] == [8, 8]
    total = sum(float(own.series(np.arange(len(own))).sum()) for own in parts)
    assert total == float(meters.series(np.arange(9)).sum())
    days = [own.released.days for own in pseudonymised_by_period(profiles, PseudonymKeys.new())]
    assert np.array_equal(np.concatenate(days), profiles.days)


@pytest.mark.parametrize(("every", "n"), [("W", 11), ("QS", 1), ("YS", 1)])
def test_other_periods(profiles: HouseholdProfiles, every: str, n: int) -> None:
    made = list(pseudonymised_by_period(profiles, PseudonymKeys.new(), every))
    assert len(made) == n
    weekday = {"W": 0}.get(every)
    assert all(weekday is None or own.released.date.min() == own.released.days[0] for own in made)
    assert {pd.Timestamp(own.period).day_of_week for own in made} == ({0} if every == "W" else {1})


def test_a_release_holds_nothing_of_the_hours_and_customers_that_are_not_in_it(meters: Meters) -> None:
    part = meters.between("2013-02-01", "2013-02-02").take(np.array([1]))
    made = pseudonymised(part, "p", PseudonymKeys.new(["p"]))
    assert made.released.source.kwh.shape == (1, 24)
    packed = pickle.dumps(made.released)
    assert not any(own.encode() in packed for own in (*meters.customer_ids, *meters.digests, *part.digests))


def test_refusals(meters: Meters, profiles: HouseholdProfiles) -> None:
    keys = PseudonymKeys.new(["p"])
    with pytest.raises(InputError, match="expected Meters or HouseholdProfiles, got DataFrame"):
        pseudonymised(pd.DataFrame(), "p", keys)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected Meters or HouseholdProfiles, got list"):
        next(pseudonymised_by_period([], keys))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="labels: expected none with meters"):
        pseudonymised(meters, "p", keys, labels=["ev"])
    with pytest.raises(InputError, match="that has no key"):
        pseudonymised(meters, "q", keys)
    with pytest.raises(InputError, match="every: expected one of"):
        next(pseudonymised_by_period(meters, keys, "D"))
    with pytest.raises(InputError, match="at least one day, got none"):
        next(pseudonymised_by_period(profiles.take(np.zeros(0, dtype=np.int64)), keys))
