"""Fidelity as a whole: copies are as good as real, baselines are not, and nothing is dropped in silence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.studies.households import made_households
from unlearn.errors import InputError, MismatchError
from unlearn.generators import IndependentGaussian, Resampled, ShuffledHours
from unlearn.households import DailyProfiles, HouseholdProfiles, split_households
from unlearn.studies._shared.fidelity.measure import (
    HEADLINES,
    REAL,
    Ratio,
    compare_fidelity,
    headline_ratio,
    mean_distances,
    measure_fidelity,
    ratio,
)
from unlearn.studies._shared.fidelity.samples import Key, mean_over_clusters
from unlearn.studies._shared.options import FidelityOptions

OPTIONS = FidelityOptions(n_clusters=4, min_members=30, n_divisions=2)
Split = tuple[HouseholdProfiles, HouseholdProfiles]


@pytest.fixture(scope="module")
def split() -> Split:
    return split_households(made_households(), 0.5, seed=1)


@pytest.fixture(scope="module")
def records(split: Split) -> pd.DataFrame:
    train, holdout = split
    releases = [make().release(train, len(train), 0) for make in (Resampled, ShuffledHours, IndependentGaussian)]
    return compare_fidelity(releases, train, holdout, OPTIONS, labels={"data": "made up"}).to_frame()


def headline(records: pd.DataFrame, generator: str, aspect: str, scope: str = "all", reference: str = "floor") -> float:
    own = records[(records["metric"] == "headline") & (records["generator"] == generator)]
    own = own[(own["aspect"] == aspect) & (own["scope"] == scope) & (own["reference"] == reference)]
    return own["value"].item()


ASPECTS = ("level", "autocorrelation", "peaks", "clusters")


def test_copies_of_training_days_are_about_as_good_as_real(records: pd.DataFrame) -> None:
    for aspect in ASPECTS:
        assert 0.6 < headline(records, "resampled", aspect) < 1.75, aspect
    for aspect in ASPECTS[:3]:
        assert 0.6 < headline(records, "resampled", aspect, "mean over clusters") < 1.5, aspect


def test_shuffled_hours_keep_the_level_and_lose_all_else(records: pd.DataFrame) -> None:
    assert headline(records, "shuffled_hours", "level") < 1.75
    for aspect in ASPECTS[1:]:
        assert headline(records, "shuffled_hours", aspect) > 2.5, aspect
        assert headline(records, "shuffled_hours", aspect, reference="mean floor") > 2, aspect


def test_independent_gaussians_lose_the_level_as_well(records: pd.DataFrame) -> None:
    for aspect in ASPECTS[:3]:
        assert headline(records, "independent_gaussian", aspect) > 2.5, aspect


def test_a_classifier_tells_baselines_but_not_copies(records: pd.DataFrame) -> None:
    auc = records[records["metric"] == "auc"].set_index("generator")["value"]
    assert auc["shuffled_hours"] > 0.9
    assert auc["independent_gaussian"] > 0.9
    assert auc["resampled"] == pytest.approx(auc[REAL], abs=0.08)


def one(records: pd.DataFrame, **where: object) -> float:
    for column, value in where.items():
        records = records[records[column] == value]
    return records["value"].item()


def test_ratios_are_quotients_and_headlines_their_means(records: pd.DataFrame) -> None:
    own = records[(records["generator"] == "shuffled_hours") & (records["scope"] == "all")]
    found = {}
    for feature in ("mean", "p95"):
        what = {"feature": feature, "distance": "wasserstein"}
        to_holdout, floor = (
            one(own, metric="distance", reference=reference, **what) for reference in ("holdout", "floor")
        )
        found[feature] = one(own, metric="ratio", reference="floor", **what)
        assert found[feature] == pytest.approx(to_holdout / floor)
    assert headline(records, "shuffled_hours", "level") == pytest.approx(np.mean(list(found.values())))
    lags = own[(own["metric"] == "distance_at_lag") & (own["distance"] == "ks") & (own["reference"] == "holdout")]
    assert lags["value"].mean() == pytest.approx(
        one(own, metric="distance", feature="acf", distance="ks", reference="holdout")
    )
    np.testing.assert_allclose(lags["at"], np.arange(1, 25) / 2)


def test_distances_are_those_of_the_profiles(split: Split, records: pd.DataFrame) -> None:
    """All profiles of both sides are compared here, so the samples are known."""
    train, holdout = split
    assert len(train) == len(holdout)
    gap = np.sort(train.kwh.astype(float).mean(axis=1)) - np.sort(holdout.kwh.astype(float).mean(axis=1))
    where = {"metric": "distance", "scope": "all", "feature": "mean", "distance": "wasserstein"}
    assert one(records, generator="resampled", reference="floor", **where) == pytest.approx(np.abs(gap).mean())
    # Copies lie nearer to the households that they are copies of.
    near, far = (one(records, generator="resampled", reference=side, **where) for side in ("train", "holdout"))
    assert near < far / 2


def test_the_mean_floor_is_over_all_divisions(records: pd.DataFrame) -> None:
    where = {"scope": "all", "feature": "timing", "distance": "js"}
    divided = records[(records["reference"] == "division") & (records["metric"] == "distance")]
    for column, value in where.items():
        divided = divided[divided[column] == value]
    assert len(divided) == OPTIONS.n_divisions
    own = records[records["generator"] == "resampled"]
    floor = one(own, metric="distance", reference="floor", **where)
    mean = np.mean([floor, *divided["value"]])
    expected = one(own, metric="distance", reference="holdout", **where) / mean
    assert one(own, metric="ratio", reference="mean floor", **where) == pytest.approx(expected)


def test_records_are_tidy_and_repeat_to_the_bit(split: Split, records: pd.DataFrame) -> None:
    assert set(records["data"]) == {"made up"}
    assert set(records["generator"]) == {REAL, "resampled", "shuffled_hours", "independent_gaussian"}
    shares = records[(records["metric"] == "share") & (records["feature"] == "occupancy")]
    np.testing.assert_allclose(shares.groupby(["generator", "side"])["value"].sum(), 1.0)
    train, holdout = split
    again = compare_fidelity(
        [make().release(train, len(train), 0) for make in (Resampled, ShuffledHours, IndependentGaussian)],
        train,
        holdout,
        OPTIONS,
        labels={"data": "made up"},
    ).to_frame()
    pd.testing.assert_frame_equal(again, records)
    alone = measure_fidelity(Resampled().release(train, len(train), 0), train, holdout, OPTIONS).to_frame()
    for aspect in ASPECTS:
        assert headline(alone, "resampled", aspect) == headline(records, "resampled", aspect)


def test_hours_are_compared_with_hours(split: Split) -> None:
    train, holdout = split
    quick = replace(OPTIONS, n_divisions=0, max_profiles=300)
    release = Resampled().release(train, 400, 0).to_hourly()
    by_hour = measure_fidelity(release, train, holdout, quick).to_frame()
    hourly = measure_fidelity(release, train.to_hourly(), holdout.to_hourly(), quick).to_frame()
    pd.testing.assert_frame_equal(by_hour, hourly)
    assert (by_hour["metric"] == "distance_at_lag").sum() == 12 * 3 * 3
    assert by_hour.loc[by_hour["metric"] == "profiles", "value"].iloc[0] == 300


def test_clusters_without_members_are_reported(split: Split) -> None:
    train, holdout = split
    clustered = compare_fidelity(
        [Resampled().release(train, 600, 0)], train, holdout, replace(OPTIONS, n_divisions=0)
    ).to_frame()
    assert clustered.loc[clustered["metric"] == "coverage", "value"].item() == 1.0
    # A single kind of day, all year round.
    alike = train.unlabelled().take(np.full(600, 5))
    jitter = replace(alike, name="alike", kwh=alike.kwh * np.linspace(0.99, 1.01, 600)[:, None])
    found = measure_fidelity(jitter, train, holdout, replace(OPTIONS, n_divisions=0)).to_frame()
    missing = found[(found["metric"] == "distance") & (found["scope"] == "cluster") & found["feature"].isna()]
    assert len(missing) == 3
    assert missing["value"].isna().all()
    assert missing["note"].str.match(r"too few members \(release 0, train \d+, holdout \d+; expected 30\)").all()
    coverage = found.loc[found["metric"] == "coverage", "value"].item()
    members = found[(found["metric"] == "share") & (found["feature"] == "occupancy") & (found["side"] == "holdout")]
    assert coverage == pytest.approx(members.loc[~members["cluster"].isin(missing["cluster"]), "value"].sum())
    assert headline(found, "alike", "clusters") > 5


def test_a_release_of_flat_days_has_no_autocorrelation_and_says_so(split: Split) -> None:
    train, holdout = split
    source = Resampled().release(train, 600, 0)
    flat = replace(source, name="flat", kwh=np.repeat(source.kwh.mean(axis=1, keepdims=True), 48, axis=1))
    found = measure_fidelity(flat, train, holdout, replace(OPTIONS, n_divisions=1)).to_frame()
    own = found[(found["metric"] == "headline") & (found["generator"] == "flat") & (found["reference"] == "floor")]
    acf = own[(own["aspect"] == "autocorrelation") & (own["scope"] == "all")]
    assert np.isnan(acf["value"].item())
    assert acf["note"].item().startswith("not measured")
    assert headline(found, "flat", "peaks") > 3
    constant = found[(found["feature"] == "constant") & (found["side"] == "release")]
    assert constant["value"].item() == 1.0


def test_a_floor_of_zero_never_divides() -> None:
    assert ratio(3.0, 2.0) == Ratio(1.5)
    assert ratio(3.0, 0.0).value == np.inf
    assert "floor is 0" in ratio(3.0, 0.0).note
    assert ratio(0.0, 0.0).value == 1.0
    assert np.isnan(ratio(np.nan, 1.0).value)
    level = HEADLINES[0]
    parts = {key: Ratio(2.0) for key in level.keys} | {level.keys[0]: ratio(3.0, 0.0)}
    assert headline_ratio(level, parts) == Ratio(np.inf, "the floor is 0 and the distance is not")
    missing = headline_ratio(level, {})
    assert np.isnan(missing.value)
    assert missing.note.startswith("not measured")


def test_means_over_clusters_take_those_that_both_have() -> None:
    def of(*values: float) -> dict[Key, np.ndarray]:
        return {Key("cluster", "mean", "ks", c): np.array([v]) for c, v in enumerate(values)}

    found, beside = of(1.0, 2.0, np.nan), of(5.0, 7.0, 9.0, 4.0)
    weights = np.array([1, 3, 10, 10])
    key = Key("mean over clusters", "mean", "ks")
    assert mean_over_clusters(found, beside, weights)[key] == pytest.approx(1.75)
    assert mean_over_clusters(beside, found, weights)[key] == pytest.approx(6.5)
    assert mean_over_clusters(found, {}, weights) == {}
    assert mean_distances([of(1.0, 2.0), of(3.0)]) == {Key("cluster", "mean", "ks", 0): 2.0}


def test_unusable_input_is_refused_before_work(split: Split) -> None:
    train, holdout = split
    release = Resampled().release(train, 600, 0)

    def refused(kind: type[Exception], message: str, releases: list[DailyProfiles], **changes: object) -> None:
        sides = {"train": train, "holdout": holdout, "options": OPTIONS} | changes
        with pytest.raises(kind, match=message):
            compare_fidelity(releases, **sides)

    refused(InputError, "at least one", [])
    refused(InputError, "a name of its own", [release, release])
    refused(InputError, "other than 'real households'", [replace(release, name=REAL)])
    refused(MismatchError, "40 of the training households among them, such as H", [release], holdout=train)
    renamed = replace(holdout, segments=("poor", "other"))
    refused(MismatchError, "same segments", [release], holdout=renamed)
    quarter = replace(release, kwh=np.repeat(release.kwh, 2, axis=1))
    refused(MismatchError, r"or some of 24; got \[48, 96\]", [quarter])
    refused(InputError, "at least 40 profiles a side.*got 39", [release.take(np.arange(39))])
    refused(InputError, "less than the 48 steps", [release], options=replace(OPTIONS, top_k=48))
    alone = made_households(1, 60, 9)
    alone = replace(alone, segments=train.segments, households=alone.households.assign(household_id="other"))
    refused(InputError, "at least 2 households, got 1", [release], holdout=alone)
    refused(InputError, "resampled: expected profiles that differ", [release.take(np.zeros(100, int))])
    for name, value in {"top_k": 0, "n_bins": 1, "n_clusters": 1.5, "n_divisions": -1}.items():
        with pytest.raises(InputError, match=f"{name}: expected a whole number"):
            replace(OPTIONS, **{name: value})
