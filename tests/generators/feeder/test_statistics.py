"""What the numbers are drawn from, tested at the significance ALPHA on 20,480 meters over 24 months."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.generators.feeder.builders import ALPHA, within
from unlearn.generators.feeder import CLASSES, GeneratorConfig, MeterGenerator

N = 20_480
CONFIG = GeneratorConfig(num_meters=N, num_transformers=400, num_months=24, random_seed=7)


@pytest.fixture(scope="module")
def normal() -> dict[str, np.ndarray]:
    """Meters without anomalies."""
    generator = MeterGenerator(GeneratorConfig(**{**CONFIG.to_dict(), "anomaly_rate": 0.0}))
    blocks = [generator.block(i) for i in range(generator.n_blocks)]
    names = ("customer_class", "kind", "baseline_kwh", "kwh", "kva")
    joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
    return {**joined, "season": generator.shapes.season[joined["kind"]], "shapes": generator.shapes}


@pytest.fixture(scope="module")
def anomalous() -> tuple[pd.DataFrame, pd.DataFrame]:
    return MeterGenerator(CONFIG).generate()


def test_classes_have_their_shares(normal: dict) -> None:
    counts = np.bincount(normal["customer_class"], minlength=3)
    assert stats.chisquare(counts, N * np.array([0.7, 0.2, 0.1])).pvalue > ALPHA


@pytest.mark.parametrize(
    ("name", "mean", "sd"), [("residential", 150, 450), ("commercial", 800, 300), ("industrial", 2500, 800)]
)
def test_baselines_are_lognormal_with_the_documented_moments(normal: dict, name: str, mean: float, sd: float) -> None:
    sigma = np.sqrt(np.log(1 + (sd / mean) ** 2))
    expected = stats.lognorm(s=sigma, scale=mean * np.exp(-(sigma**2) / 2))
    assert (expected.mean(), expected.std()) == (pytest.approx(mean), pytest.approx(sd))
    baseline = normal["baseline_kwh"][normal["customer_class"] == CLASSES.index(name)]
    assert stats.kstest(baseline, expected.cdf).pvalue > ALPHA
    # The sample's own deviation says too little under so heavy a tail: the deviation is tested on the logarithm.
    chi2 = (len(baseline) - 1) * np.log(baseline).var(ddof=1) / sigma**2
    assert ALPHA < stats.chi2.cdf(chi2, len(baseline) - 1) < 1 - ALPHA
    assert abs(baseline.mean() - mean) < 4.9 * sd / np.sqrt(len(baseline))


def test_months_are_the_baseline_on_average(normal: dict) -> None:
    """Over a year the season averages 1; noise has mean 1; growth of 1 % about the middle adds below 0.1 %."""
    ratio = (normal["kwh"] / normal["baseline_kwh"][:, None])[normal["baseline_kwh"] > 5]
    last_year = ratio[:, 12:].mean(axis=1)
    assert within(last_year, 1.005, 4.9 + 0.001 / (last_year.std() / np.sqrt(len(last_year))))


def test_noise_and_trend_are_what_is_said(normal: dict) -> None:
    large = normal["baseline_kwh"] > 20  # rounding to 0.01 kWh does not show
    log = np.log(normal["kwh"] / normal["season"] / normal["baseline_kwh"][:, None])[large]
    years = (np.arange(24) - 11.5) / 12
    slope = log @ years / (years @ years)
    assert within(slope, 0.01)
    expected_sd = np.hypot(0.03, 0.08 / np.sqrt(years @ years))
    n = len(slope)
    assert ALPHA < stats.chi2.cdf((n - 1) * slope.var(ddof=1) / expected_sd**2, n - 1) < 1 - ALPHA
    residual = log - np.outer(slope, years)
    residual -= residual.mean(axis=1, keepdims=True)
    assert ALPHA < stats.chi2.cdf((residual**2).sum() / 0.08**2, 22 * n) < 1 - ALPHA


def test_hot_months_use_more_most_so_at_home(normal: dict) -> None:
    """May against January, energy per day; and all months follow the temperature."""
    months = CONFIG.months
    per_day = normal["kwh"] / months.days_in_month.to_numpy()
    may, january = (months.month == 5), (months.month == 1)
    change = np.log(per_day[:, may].sum(axis=1) / per_day[:, january].sum(axis=1))
    usual = normal["baseline_kwh"] > 5
    home, plant = (change[usual & (normal["customer_class"] == c)] for c in (0, 2))
    assert stats.ttest_1samp(home, 0.05, alternative="greater").pvalue < ALPHA
    assert stats.ttest_ind(home, plant, equal_var=False, alternative="greater").pvalue < ALPHA
    temperature = pd.Series(normal["shapes"].temperature_c, normal["shapes"].timestamps)
    monthly = temperature.groupby(temperature.index.to_period("M")).mean()
    assert np.corrcoef(monthly, per_day[normal["customer_class"] == 0].sum(axis=0))[0, 1] > 0.9


def test_the_climate_is_tropical(normal: dict) -> None:
    temperature = pd.Series(normal["shapes"].temperature_c, normal["shapes"].timestamps)
    by_month = temperature.groupby(temperature.index.month).mean()
    assert 25 < by_month.min() < 27
    assert 28 < by_month.max() < 31
    assert temperature.groupby(temperature.index.hour).mean().idxmax() == 14
    assert 15 < temperature.min() < temperature.max() < 42


def test_exactly_the_rate_is_anomalous_and_evenly_so(anomalous: tuple) -> None:
    meters, labels = anomalous
    assert len(labels) == round(0.075 * N)
    position = labels["meter_id"].str[4:].astype(int) / N
    assert stats.kstest(position, "uniform").pvalue > ALPHA
    # Anomalies do not choose their class.
    flagged = meters["meter_id"].isin(labels["meter_id"])
    assert stats.chi2_contingency(pd.crosstab(flagged, meters["customer_class"])).pvalue > ALPHA


def test_low_consumption_is_about_a_third_and_declines(normal: dict, anomalous: tuple) -> None:
    meters, labels = anomalous
    flagged = meters["meter_id"].isin(labels["meter_id"]).to_numpy()
    ratio = meters[CONFIG.consumption_columns].to_numpy()[flagged] / normal["kwh"][flagged]
    large = normal["baseline_kwh"][flagged] > 20
    level = ratio[large].mean(axis=1)
    assert within(level, 0.30)
    assert stats.kstest(level, stats.uniform(0.15, 0.30).cdf).pvalue > ALPHA
    slope = ratio[large] @ (np.arange(24) - 11.5)
    assert (slope < 0).all()
    ordinary = (normal["kwh"] / normal["season"])[~flagged] @ (np.arange(24) - 11.5)
    assert 0.3 < (ordinary < 0).mean() < 0.5  # growth of 1 % a year, so a little less than half decline


def test_risk_bands_follow_the_energy_that_is_missing(normal: dict, anomalous: tuple) -> None:
    meters, labels = anomalous
    flagged = meters["meter_id"].isin(labels["meter_id"]).to_numpy()
    used = meters[CONFIG.consumption_columns].to_numpy()[flagged].sum(axis=1)
    missing = 1 - used / normal["kwh"][flagged].sum(axis=1)
    band = np.array(["Low", "Medium", "High"])[np.digitize(missing, [0.65, 0.75])]
    sure = (np.abs(missing - 0.65) > 1e-3) & (np.abs(missing - 0.75) > 1e-3)
    assert (band[sure] == labels["risk_band"].to_numpy()[sure]).all()
    # The level is uniform from 15 to 45 %, so each band holds a third.
    assert stats.chisquare(labels["risk_band"].value_counts()).pvalue > ALPHA


def test_anomalies_are_mixed_as_configured() -> None:
    mix = {"low_consumption": 0.4, "spike": 0.3, "flatline": 0.2, "night_bypass": 0.1}
    config = GeneratorConfig(num_meters=N, num_months=1, anomaly_rate=0.5, anomaly_types=mix)
    counts = MeterGenerator(config).generate()[1]["anomaly_type"].value_counts()[list(mix)]
    assert counts.sum() == N // 2
    assert stats.chisquare(counts, N // 2 * np.array(list(mix.values()))).pvalue > ALPHA


def test_ratings_carry_the_peak(normal: dict) -> None:
    mean_kva = normal["baseline_kwh"] / 730.5 / 0.9
    assert (normal["kva"] > mean_kva).all()
    assert normal["kva"].min() >= 1.15
