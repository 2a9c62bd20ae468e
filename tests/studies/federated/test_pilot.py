"""The pilot's comparison: its rows, least squares and averaging against pooled oracles, and what private ones spend."""

from dataclasses import replace

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from unlearn.dp import SimulatedNoise
from unlearn.errors import InputError
from unlearn.households import hourly_meters, simulate_households
from unlearn.privacy.federated import AdoptionData, PrivateDescent, adoption_data
from unlearn.studies.federated.pilot import COLUMNS, AdoptionOptions, measure_adoption

SHARES = {"a": 0.3, "b": 0.4, "c": 0.2}
NOISE = SimulatedNoise(5)
OPTIONS = AdoptionOptions(epsilons=(3.0, 1e4), descent=PrivateDescent(rounds=3))


@pytest.fixture(scope="module")
def data() -> AdoptionData:
    return adoption_data(hourly_meters(simulate_households(150, n_days=28, ev_share=0)), SHARES)


@pytest.fixture(scope="module")
def rows(data: AdoptionData) -> pd.DataFrame:
    return measure_adoption(data, OPTIONS, noise=NOISE)


def test_every_method_is_tested_on_the_same_households(data: AdoptionData, rows: pd.DataFrame) -> None:
    assert tuple(rows.columns) == COLUMNS
    counts = rows.groupby(["method", rows.epsilon.fillna(0)]).size()
    assert counts["alone"].tolist() == [3 * 4]
    assert counts.drop("alone").tolist() == [4] * (len(counts) - 1)
    assert set(counts.index.get_level_values(0)) == {
        "night share", "high hours", "alone", "pooled", "least squares", "federated averaging", "private descent",
        "private least squares",
    }  # fmt: skip
    on_all = rows[rows.tested_on == "all"]
    assert (on_all.n_test == data.test.sum()).all()
    assert on_all.auc.between(0, 1).all()
    assert rows.simulated.all()


def test_least_squares_of_one_secure_sum_are_those_of_pooled_rows(data: AdoptionData, rows: pd.DataFrame) -> None:
    features, owns = data.training()
    held_out, truth = data.held_out()
    scores = LinearRegression().fit(features, owns).predict(held_out)
    found = rows[(rows.method == "least squares") & (rows.tested_on == "all")].iloc[0]
    assert found.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    assert found.rounds == 1


def test_averaging_orders_households_as_pooled_training_does(rows: pd.DataFrame) -> None:
    auc = rows[rows.tested_on == "all"].groupby("method").auc.first()
    assert auc["federated averaging"] == pytest.approx(auc["pooled"], abs=0.01)
    assert auc["pooled"] > 0.8


def test_next_to_no_noise_costs_next_to_nothing(rows: pd.DataFrame) -> None:
    # At so large an ε what is left of the difference are clipping, few rounds, and the public scaling.
    private = rows[(rows.epsilon == 1e4) & (rows.tested_on == "all")].set_index("method").auc
    assert private["private least squares"] > 0.8
    assert private["private descent"] > 0.7


def test_private_methods_spend_no_more_than_promised_whoever_drops_out(data: AdoptionData, rows: pd.DataFrame) -> None:
    private = rows.dropna(subset=["epsilon"])
    assert (private.spent <= private.epsilon).all()
    # Nobody dropped out, and noise was sized for two of three.
    assert (private.spent < 0.95 * private.epsilon).all()
    assert (rows[rows.epsilon.isna()].spent.isna()).all()
    dropped = AdoptionOptions(epsilons=(3.0,), descent=PrivateDescent(rounds=6), dropping=0.2)
    told = measure_adoption(data, dropped, seed=1, noise=NOISE).dropna(subset=["epsilon"])
    descent = told[told.method == "private descent"].iloc[0]
    assert descent.spent <= 3.0
    assert 0 < descent.rounds <= 6


def test_a_training_without_a_result_is_told_and_costs_nothing(data: AdoptionData) -> None:
    options = AdoptionOptions(epsilons=(3.0,), descent=PrivateDescent(rounds=2), dropping=0.99, least_members=3)
    told = measure_adoption(data, options, noise=NOISE).dropna(subset=["epsilon"])
    assert told.auc.isna().all()
    assert (told.spent == 0).all()
    assert (told.rounds == 0).all()


def test_noise_from_a_seed_repeats_and_is_for_simulated_readings_alone(data: AdoptionData, rows: pd.DataFrame) -> None:
    pd.testing.assert_series_equal(measure_adoption(data, OPTIONS, noise=NOISE).auc, rows.auc)
    real = replace(data, features=data.features.copy())
    with pytest.raises(InputError, match='expected "os"'):
        measure_adoption(real, OPTIONS, noise=NOISE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons": (1.0, 1.0)}, "epsilons: expected each once"),
        ({"epsilons": (0.0,)}, "epsilons: expected a number above 0"),
        ({"dropping": 1.0}, "dropping: expected a chance below 1"),
        ({"radius": 0.0}, "radius"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdoptionOptions(**settings)


def test_a_delta_that_promises_nothing_is_refused(data: AdoptionData) -> None:
    with pytest.raises(InputError, match="delta: expected less than 1/N"):
        measure_adoption(data, AdoptionOptions(delta=0.1), noise=NOISE)
    with pytest.raises(InputError, match="at most the 3 of the roster, got 4"):
        measure_adoption(data, AdoptionOptions(epsilons=(1.0,), least_members=4), noise=NOISE)
