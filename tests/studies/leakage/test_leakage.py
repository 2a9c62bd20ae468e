"""Leakage of known releases: copies and outliers among them give everything away, strangers nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.studies.households import made_households
from unlearn.attacks import OutlierOptions
from unlearn.errors import InputError, MismatchError
from unlearn.generators import Resampled
from unlearn.generators.faraday import FaradayOptions, LossWeights, MixtureOptions, VaeOptions, fit_faraday
from unlearn.households import DailyProfiles, HouseholdProfiles, split_households, with_attribute_as_segment
from unlearn.studies._shared.attributes import COPIED, OTHERS, folds, known_releases, same_size, some_days
from unlearn.studies._shared.leakage import (
    measure_attributes,
    measure_leakage,
    measure_outliers,
    pool_outliers,
    score_outliers,
)
from unlearn.studies._shared.options import LeakageOptions

QUICK = LeakageOptions(
    max_profiles=600,
    max_released=4000,
    draws=1,
    permutations=39,
    fprs=(0.01, 0.001),
    redraws=1,
    classifiers=("nearest",),
)


def parts(
    n: int = 90, n_days: int = 14, seed: int = 0
) -> tuple[HouseholdProfiles, HouseholdProfiles, HouseholdProfiles]:
    """Training, held-out and third households."""
    train, rest = split_households(made_households(n, n_days, seed), 0.6, seed)
    return (train, *split_households(rest, 1 / 3, seed))


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    train, holdout, third = parts()
    known = known_releases(train, third, QUICK)
    return pd.concat([measure_leakage(release, own, holdout, QUICK).to_frame() for release, own in known])


def value(records: pd.DataFrame, generator: str, metric: str, **wanted: str) -> float:
    rows = records[(records["generator"] == generator) & (records["metric"] == metric)]
    for column, own in wanted.items():
        rows = rows[rows[column] == own]
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


@pytest.mark.parametrize("unit", ["profile", "household"])
def test_copies_are_found_and_strangers_are_not(records: pd.DataFrame, unit: str) -> None:
    for attack in ("distance", "relative_distance"):
        assert value(records, COPIED, "auc", attack=attack, unit_attacked=unit) >= 0.99
    own = records[(records["metric"] == "auc") & (records["generator"] == OTHERS)]
    relative = own[(own["attack"] == "relative_distance") & (own["unit_attacked"] == unit)].iloc[0]
    assert relative["low"] <= 0.5 <= relative["high"]


def test_strangers_have_an_auc_of_a_half_on_average() -> None:
    options = replace(QUICK, attacks=("relative_distance",), attributes=(), permutations=1, max_profiles=400)
    options, found = replace(options, max_released=800), []
    for seed in range(6):
        train, holdout, third = parts(80, 10, seed)
        release, own = known_releases(train, third, options, seed)[1]
        table = measure_leakage(release, own, holdout, options, seed).to_frame()
        found.append(value(table, OTHERS, "auc", attack="relative_distance", unit_attacked="profile"))
    assert 0.45 <= np.mean(found) <= 0.55


def test_copies_are_told_as_what_they_are(records: pd.DataFrame) -> None:
    assert value(records, COPIED, "exact_copies", against="train") == 1.0
    assert value(records, COPIED, "near_copies", against="train") == 1.0
    assert value(records, COPIED, "near_copies", against="holdout") < 0.01
    assert value(records, COPIED, "passed") == 0.0
    assert value(records, OTHERS, "passed") == 1.0
    note = records.loc[(records["generator"] == COPIED) & (records["metric"] == "passed"), "note"].iloc[0]
    assert "exact copies of training days" in note
    assert value(records, COPIED, "permutation_p_value") == pytest.approx(1 / 40)
    assert value(records, OTHERS, "permutation_p_value") > 1 / 40


def test_rates_that_so_few_records_cannot_show_are_left_out_with_the_reason(records: pd.DataFrame) -> None:
    rows = records[(records["metric"] == "tpr_at_fpr_0.001") & (records["generator"] == COPIED)]
    assert rows["value"].isna().all()
    assert rows["note"].str.contains("too few for a false positive rate of 0.001").all()
    shown = records[(records["metric"] == "tpr_at_fpr_0.01") & (records["unit_attacked"] == "profile")]
    assert shown["value"].notna().all()


def test_copies_give_segments_away_and_strangers_do_not(records: pd.DataFrame) -> None:
    leak = records[records["metric"] == "leak"].set_index("generator")
    assert leak.loc[OTHERS, "low"] <= 0 <= leak.loc[OTHERS, "high"]
    assert leak.loc[COPIED, "low"] > 0
    assert set(leak["label"]) == {"released"}
    accuracy = value(records, COPIED, "balanced_accuracy", attacked="train", learnt_from="release")
    assert accuracy > 0.8
    assert value(records, COPIED, "balanced_accuracy", attacked="train", learnt_from="nothing") == 0.5


def test_attributes_that_a_release_does_not_carry_are_guessed_with_its_help() -> None:
    train, holdout, _ = parts(40, 6)
    options = replace(
        QUICK, attacks=("distance",), attributes=("occupied", "never"), max_profiles=200, min_households=2
    )
    sides = [
        replace(side, households=side.households.assign(occupied=np.arange(side.n_households) % 2, never=0))
        for side in (train, holdout)
    ]
    release = Resampled().release(sides[0], 300, 0)
    table = measure_leakage(release, *sides, options).to_frame()
    leak = table[table["metric"] == "leak"].set_index("attribute")
    # The label is none of the days' business.
    assert leak.loc["occupied", "low"].max() <= 0 <= leak.loc["occupied", "high"].min()
    assert leak.loc["never", "note"] == "fewer than two values that at least 2 households of every side have"
    with pytest.raises(InputError, match=r"leakage\.attributes: expected columns of the households .* got 'ev'"):
        measure_leakage(release, *sides, replace(options, attributes=("ev",)))


def test_strangers_leak_no_attribute_over_seeds_and_rare_values_are_left_out() -> None:
    options = LeakageOptions(max_profiles=300, max_released=400, redraws=3, classifiers=("nearest",))
    covered = []
    for seed in range(6):
        sides = [side_with_rare(side) for side in parts(80, 6, seed)]
        release, own = known_releases(sides[0], sides[2], options, seed)[1]
        table = measure_attributes(release, own, sides[1], options, seed).to_frame()
        rows = table[table["metric"].isin(["leak", "gain"]) & (table["attacked"] == "train")].set_index("metric")
        covered.append((rows["low"] <= 0) & (rows["high"] >= 0))
        rare = table[table["metric"] == "left_out_households"].iloc[0]
        assert rare["value"] == 2
        assert rare["note"].startswith("rare: fewer than 5 households")
        assert rows["n"].unique() == [own.n_households - 2]
    assert pd.concat(covered, axis=1).sum(axis=1).min() >= 5


def side_with_rare(side: HouseholdProfiles) -> HouseholdProfiles:
    """The first two households have a segment of their own."""
    segment = side.households["segment"].where(np.arange(side.n_households) > 1, "rare")
    return with_attribute_as_segment(
        replace(side, households=side.households.assign(label=segment)), "label", ("poor", "rich", "rare")
    )


def test_others_identical_to_a_released_day_are_counted() -> None:
    train, holdout, _ = parts(20, 6)
    empty = [
        replace(side, kwh=np.where(np.arange(len(side))[:, None] % 4 == 0, 0, side.kwh)) for side in (train, holdout)
    ]
    options = replace(QUICK, attacks=("distance",), attributes=(), permutations=1, max_profiles=1000)
    table = measure_leakage(Resampled().release(empty[0], 2000, 0), *empty, options).to_frame()
    row = table[table["metric"] == "identical_others"].iloc[0]
    assert row["value"] == pytest.approx((~empty[1].kwh.any(axis=1)).mean())
    assert row["note"].startswith("identical to a released profile")
    tpr = table[(table["metric"] == "tpr_at_fpr_0.01") & (table["unit_attacked"] == "profile")]
    assert (tpr["value"].dropna() == 0).all()


def test_nobody_is_attacked_with_themselves_as_reference() -> None:
    train, holdout, _ = parts()
    ids: list[set[str]] = []
    for fold in folds(train, holdout, 400, 0):
        sides = [set(part.households["household_id"]) for part in (fold.members, fold.others, fold.reference)]
        assert not sides[0] & sides[1]
        assert not sides[1] & sides[2]
        assert sides[0] <= set(train.households["household_id"])
        assert len(fold.members) <= 200
        ids.append(sides[0] | sides[1])
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == set(train.households["household_id"]) | set(holdout.households["household_id"])


def test_sides_are_sampled_alike() -> None:
    train, holdout, _ = parts()
    first, second = same_size(train, holdout, 300, 0)
    assert first.n_households == second.n_households == holdout.n_households
    assert len(first) == len(second)
    days = some_days(train, 4 * train.n_households, np.random.default_rng(0))
    assert (np.bincount(train.household[days]) == 4).all()
    assert len(some_days(train, 3, np.random.default_rng(0))) == train.n_households


def test_what_cannot_be_attacked_is_refused_before_any_work() -> None:
    train, holdout, third = parts(20, 4)
    release = Resampled().release(third, 50, 0)
    with pytest.raises(MismatchError, match="expected other households to test on"):
        measure_leakage(release, train, train)
    with pytest.raises(InputError, match="at least 4 households in holdout, got 3"):
        measure_leakage(release, train, holdout.of_households(np.arange(3)))
    with pytest.raises(InputError, match="at least 2 profiles, got 1"):
        measure_leakage(release.take([0]), train, holdout)
    with pytest.raises(MismatchError, match="expected the 24 steps"):
        measure_leakage(release.to_hourly(), train, holdout)
    with pytest.raises(MismatchError, match="expected the segments"):
        measure_leakage(replace(release, segments=("a", "b")), train, holdout)
    with pytest.raises(MismatchError, match="calibration: expected other households"):
        known_releases(train, train, QUICK)
    with pytest.raises(InputError, match=r"max_released: expected at least 16"):
        known_releases(train, third, replace(QUICK, max_released=10))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"attacks": ()}, "attacks: expected at least one"),
        ({"attacks": ("magic",)}, "attack: expected one of"),
        ({"max_profiles": 0}, r"leakage\.max_profiles"),
        ({"fits": 0}, r"leakage\.fits"),
        ({"classifiers": ("magic",)}, "classifier: expected one of"),
        ({"min_households": 0}, r"leakage\.min_households"),
        ({"draws": 0}, r"leakage\.draws"),
        ({"top": 0.0}, r"leakage\.top"),
        ({"fprs": (0.0,)}, r"leakage\.fprs"),
        ({"near": 1.0}, r"leakage\.near"),
        ({"shifts": -1}, r"leakage\.shifts"),
        ({"max_copies": -0.1}, r"leakage\.max_copies"),
        ({"ratios": (-1.0,)}, r"leakage\.ratios"),
    ],
)
def test_unusable_options_are_refused(option: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeakageOptions(**option)


TRAIN, HOLDOUT = split_households(made_households(24, 10), 0.5)
OPTIONS = LeakageOptions(fits=2, outliers=OutlierOptions(households=8, days=4), ratios=(0.0, 0.2, 0.5, 1.5))


def copies(profiles: HouseholdProfiles, seed: int) -> DailyProfiles:
    return Resampled().release(profiles, 2000, seed)


def strangers(profiles: HouseholdProfiles, seed: int) -> DailyProfiles:
    return copies(profiles.of_households(np.arange(TRAIN.n_households)), seed)


def auc(records: pd.DataFrame, attack: str, against: str = "unseen") -> pd.Series:
    rows = records[(records["metric"] == "auc") & (records["attack"] == attack) & (records["against"] == against)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_copies_give_outliers_away() -> None:
    records = measure_outliers(copies, TRAIN, HOLDOUT, OPTIONS).to_frame()
    assert auc(records, "distance")["value"] == 1.0
    assert auc(records, "distance")["n"] == 16
    assert auc(records, "discriminator")["low"] > 0.5
    shares = records[records["metric"] == "compromised"].set_index(["outliers", "ratio"])["value"]
    assert shares["seen", 0.0] == 1.0
    assert shares["unseen", 0.2] == 0.0
    assert shares["unseen_other", 1.5] == 1.0
    scores = records[records["metric"] == "score"]
    assert len(scores) == 2 * 2 * 3 * 8
    assert set(scores["fit"]) == {0, 1}
    assert set(records["unit_attacked"]) == {"outlier household"}


def test_a_generator_that_ignores_outliers_gives_none_away() -> None:
    records = measure_outliers(strangers, TRAIN, HOLDOUT, replace(OPTIONS, fits=4)).to_frame()
    for attack in ("distance", "discriminator"):
        own = auc(records, attack)
        assert own["low"] <= 0.5 <= own["high"]


def test_a_faraday_that_overfits_gives_outliers_away() -> None:
    few = TRAIN.of_households(np.arange(6))
    options = FaradayOptions(
        VaeOptions(latent=12, hidden=96, epochs=50, batch_size=16, patience=50, loss=LossWeights(divergence=1e-4)),
        MixtureOptions(n_components=15, prior_rows=1),
    )

    def fit(profiles: HouseholdProfiles, seed: int) -> DailyProfiles:
        return fit_faraday(profiles, options, seed).sample(3000, seed)

    records = measure_outliers(fit, few, HOLDOUT, replace(OPTIONS, fits=1)).to_frame()
    assert auc(records, "distance")["low"] > 0.5


def test_one_study_is_the_same_twice_and_another_seed_another() -> None:
    first, again, other = (score_outliers(copies, TRAIN, HOLDOUT, OPTIONS, seed, 0).to_frame() for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    scores = [table.loc[table["metric"] == "score", "value"].to_numpy() for table in (first, other)]
    assert not np.allclose(*scores)


def test_scores_of_one_fit_do_not_weigh_against_those_of_another() -> None:
    tables = [score_outliers(copies, TRAIN, HOLDOUT, OPTIONS, 0, repeat).to_frame() for repeat in (0, 1)]
    tables[1].loc[tables[1]["metric"] == "score", "value"] -= 1e3
    pooled = pool_outliers(pd.concat(tables), OPTIONS).to_frame()
    assert auc(pooled, "distance")["value"] == 1.0


def test_unusable_studies_are_refused() -> None:
    with pytest.raises(MismatchError, match="outliers: expected other households"):
        measure_outliers(copies, TRAIN, TRAIN, OPTIONS)
    with pytest.raises(InputError, match=r"outliers\.days: expected at most"):
        measure_outliers(copies, TRAIN, HOLDOUT, replace(OPTIONS, outliers=OutlierOptions(days=11)))
    with pytest.raises(InputError, match="expected records of score_outliers of one generator"):
        pool_outliers(pd.DataFrame({"outliers": ["seen", "seen"], "generator": ["a", "b"]}), OPTIONS)
