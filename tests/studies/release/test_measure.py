"""Descriptions of releases against plain pandas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.builders import households
from unlearn.errors import InputError
from unlearn.generators import Resampled
from unlearn.households import DailyProfiles, HouseholdProfiles
from unlearn.studies._shared.utility import REAL
from unlearn.studies.release.measure import MIN_HOUSEHOLDS, PUBLIC, describe_release

REAL_PROFILES = households(24, 40)
RELEASE = Resampled().release(REAL_PROFILES, 500)


def oracle(profiles: DailyProfiles) -> pd.DataFrame:
    frame = profiles.to_frame()
    frame["day"] = profiles.kwh.astype(np.float64).sum(axis=1)
    return frame


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return describe_release(RELEASE, REAL_PROFILES, {"data": "made", "seed": 3}).to_frame()


@pytest.mark.parametrize("name", [REAL, "resampled"])
def test_numbers_are_those_of_a_table(records: pd.DataFrame, name: str) -> None:
    profiles = REAL_PROFILES if name == REAL else RELEASE
    frame, own = oracle(profiles), records[records["generator"] == name]
    energy = [f"kwh_{step:02d}" for step in range(48)]
    everything = own[own["label"].isna()].groupby("metric")["value"].first()
    assert everything["profiles"] == len(profiles)
    assert everything["zero_share"] == pytest.approx((frame[energy] == 0).to_numpy().mean())
    assert (name == REAL) == ("largest" not in everything)
    assert name == REAL or everything["largest"] == frame[energy].to_numpy().max()
    by_month = frame.groupby("month")["day"].mean()
    days = pd.Series({m: pd.Period(f"2013-{m}").days_in_month for m in range(1, 13)}) + (by_month.index == 2) * 0.25
    assert everything["kwh_per_year"] == pytest.approx((by_month * days).sum(), rel=1e-6)
    for segment, members in frame.groupby("segment", observed=True):
        found = own[(own["label"] == "segment") & (own["of"] == segment)]
        value = found[found["at"].isna()].set_index("metric")["value"]
        assert value["profiles"] == len(members)
        assert value["share"] == pytest.approx(len(members) / len(frame))
        assert value["kwh_per_day"] == pytest.approx(members["day"].mean(), rel=1e-6)
        curve = found[found["metric"] == "mean_profile"]
        np.testing.assert_allclose(curve["at"], np.arange(48) / 2)
        np.testing.assert_allclose(curve["value"], members[energy].mean(), rtol=1e-5)
    winter = frame[frame["month"].isin([12, 1, 2]) & (frame["day_of_week"] >= 5)]
    curve = own[(own["of"] == "winter weekend") & (own["metric"] == "mean_profile")]
    np.testing.assert_allclose(curve["value"], winter[energy].mean(), rtol=1e-5)
    for probability in (0.05, 0.5, 0.95):
        band = own[(own["metric"] == "quantile") & (own["probability"] == probability)]
        assert len(band) == 48 or (name == REAL and len(band) > 24)
        expected = frame[energy].quantile(probability).to_numpy()[(2 * band["at"]).to_numpy(int)]
        np.testing.assert_allclose(band["value"], expected, rtol=1e-5)
    day = own[own["metric"] == "day_quantile"]
    assert len(day) > 50
    np.testing.assert_allclose(day["value"], frame["day"].quantile(day["probability"].to_numpy()), rtol=1e-6)


def test_examples_are_profiles_with_their_labels(records: pd.DataFrame) -> None:
    own = records[(records["metric"] == "example") & (records["generator"] == "resampled")]
    assert sorted(own["number"].unique()) == [0, 1, 2, 3, 4]
    totals = own.groupby("number")["value"].sum()
    assert totals.is_monotonic_increasing
    frame = oracle(RELEASE)
    for number, kwh in own.groupby("number"):
        (row,) = np.flatnonzero((RELEASE.kwh == kwh["value"].to_numpy(np.float32)).all(axis=1))[:1]
        _, _, segment = kwh["of"].iloc[0].split(", ")
        assert segment == frame["segment"].iloc[row]
        share_below = (frame["day"] < totals[number]).mean()
        assert share_below == pytest.approx(kwh["probability"].iloc[0], abs=0.02)


def test_days_of_customers_are_no_examples(records: pd.DataFrame) -> None:
    assert set(records.loc[records["metric"] == "example", "generator"]) == {"resampled"}


def test_public_profiles_are_described_whole() -> None:
    public = REAL_PROFILES.unlabelled()
    records = describe_release(RELEASE, None, None, public).to_frame()
    own = records[records["generator"] == PUBLIC]
    assert {"largest", "example"} <= set(own["metric"])
    assert (own["metric"] == "day_quantile").sum() == 101
    assert own.loc[own["metric"] == "largest", "value"].item() == public.kwh.max()


def of_segments(sizes: dict[str, int], seed: int) -> HouseholdProfiles:
    """Households of segments, 30 days each; more than enough days, so that only households can be too few."""
    n = sum(sizes.values())
    profiles = households(n, 30, seed)
    segment = np.repeat(np.arange(len(sizes)), list(sizes.values()))[profiles.household]
    table = profiles.households.assign(segment=np.repeat(list(sizes), list(sizes.values())))
    return replace(profiles, segment=segment, segments=tuple(sizes), households=table)


@given(st.lists(st.integers(0, 14), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_no_group_and_no_difference_is_of_fewer_than_ten_households(sizes: list[int], seed: int) -> None:
    if not sum(sizes):
        return
    named = {f"s{i}": size for i, size in enumerate(sizes)}
    real = of_segments(named, seed)
    records = describe_release(RELEASE, real).to_frame()
    own = records[records["generator"] == REAL]
    if sum(sizes) < MIN_HOUSEHOLDS:
        assert own.empty
        return
    shown = set(own.loc[own["label"] == "segment", "of"])
    assert all(named[name] == 0 or named[name] >= MIN_HOUSEHOLDS for name in shown)
    left_out = sum(size for name, size in named.items() if name not in shown)
    assert left_out == 0 or left_out >= MIN_HOUSEHOLDS, "the whole minus what is shown"
    assert not {"largest", "example"} & set(own["metric"])
    # Each quantile has at least ten households on either side.
    day = real.kwh.sum(axis=1, dtype=np.float64)
    for value in own.loc[own["metric"] == "day_quantile", "value"]:
        for side in (day <= value, day >= value):
            assert len(np.unique(real.household[side])) >= MIN_HOUSEHOLDS
    for row in own[own["metric"] == "quantile"].itertuples():
        step = real.kwh[:, int(2 * row.at)]
        for side in (step <= row.value, step >= row.value):
            assert len(np.unique(real.household[side])) >= MIN_HOUSEHOLDS


def test_a_month_of_few_households_takes_all_months_with_it() -> None:
    june = (REAL_PROFILES.month == 6) & (REAL_PROFILES.household > 8)
    own = describe_release(RELEASE, REAL_PROFILES.take(~june)).to_frame().query("generator == 'real'")
    assert set(own["label"].dropna()) == {"segment", "day_of_week", "season and day"}
    assert "kwh_per_year" not in set(own["metric"]), "eleven months and the year would give the twelfth"


def test_a_release_alone_has_no_real_side(records: pd.DataFrame) -> None:
    alone = describe_release(RELEASE, None, {"data": "made", "seed": 3}).to_frame()
    own = records[records["generator"] == "resampled"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, own[alone.columns])
    assert set(records["seed"]) == {3}


def test_other_steps_are_compared_in_hours() -> None:
    records = describe_release(RELEASE.to_hourly(), REAL_PROFILES).to_frame()
    assert set(records["n_steps"]) == {24}
    half_hours = describe_release(RELEASE, REAL_PROFILES).to_frame()
    year = [frame[frame["metric"] == "kwh_per_year"]["value"].to_numpy() for frame in (records, half_hours)]
    np.testing.assert_allclose(*year, rtol=1e-6)


def test_a_year_without_a_month_has_no_total() -> None:
    part = RELEASE.take(RELEASE.month != 6)
    records = describe_release(part).to_frame()
    assert records.loc[records["metric"] == "kwh_per_year", "value"].isna().all()
    june = records[(records["label"] == "month") & (records["of"] == "Jun")]
    assert june.set_index("metric")["value"].to_dict() == {"profiles": 0, "share": 0}


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_order_does_not_matter_and_shares_sum_to_one(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    part = RELEASE.take(random.integers(len(RELEASE), size=n))
    first, second = (
        describe_release(profiles).to_frame().query("metric != 'example'")
        for profiles in (part, part.take(random.permutation(n)))
    )
    np.testing.assert_allclose(first["value"], second["value"], rtol=1e-5)
    shares = first[first["metric"] == "share"].groupby("label")["value"].sum()
    np.testing.assert_allclose(shares, 1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="none in resampled"):
        describe_release(RELEASE.take(np.zeros(0, dtype=int)))
    with pytest.raises(InputError, match="with their households"):
        describe_release(RELEASE, RELEASE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got both"):
        describe_release(RELEASE, REAL_PROFILES, None, RELEASE)
    with pytest.raises(InputError, match="a name of its own, not 'real'"):
        describe_release(
            DailyProfiles("real", RELEASE.kwh, RELEASE.month, RELEASE.day_of_week, RELEASE.segment, ("a", "b"))
        )
