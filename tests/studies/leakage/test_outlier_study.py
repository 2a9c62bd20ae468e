"""Outliers put among training households: found in copies, not found where the generator did not see them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.studies.households import made_households
from unlearn.attacks import OutlierOptions
from unlearn.errors import InputError, MismatchError
from unlearn.generators import Resampled
from unlearn.generators.faraday import FaradayOptions, LossWeights, MixtureOptions, VaeOptions, fit_faraday
from unlearn.households import DailyProfiles, HouseholdProfiles, split_households
from unlearn.studies._shared.leakage import measure_outliers, pool_outliers, score_outliers
from unlearn.studies._shared.options import LeakageOptions

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
