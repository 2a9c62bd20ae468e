"""Techniques on simulated homes, with noise that repeats."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError, MissingPackageError
from unlearn.grid import OperatingCost
from unlearn.households import simulate_households
from unlearn.reporting.verdict import select
from unlearn.store import Store
from unlearn.studies.comparison import ComparisonOptions, study_comparison, summarise
from unlearn.studies.comparison.meter_sums import encrypted, shared
from unlearn.studies.comparison.models import calendar, encrypted_forecast, private_profile, shared_fit
from unlearn.studies.comparison.options import (
    COLLECTED,
    DP_HOME,
    FEDERATED,
    HE,
    HE_FORECAST,
    MPC,
    MPC_FIT,
    NONE,
    PSEUDONYMS,
    SECURE,
    SUMS,
    TECHNIQUES,
    TOTALS,
)
from unlearn.studies.comparison.setting import Setting, make_settings, meters_of
from unlearn.studies.comparison.table import ComparisonTable, Row
from unlearn.studies.comparison.techniques import MAKERS

WITHOUT_EXTRAS = tuple(own for own in TECHNIQUES if own not in (HE, HE_FORECAST, MPC_FIT))
OPTIONS = ComparisonOptions(
    WITHOUT_EXTRAS, seeds=(0,), noise="simulated", hours=6, retailers=3, profiles=200, targets=2, sought=6
)


@pytest.fixture(scope="module")
def setting() -> Setting:
    homes = simulate_households(12, n_days=35)
    return make_settings(homes, OperatingCost("ieee9"), OPTIONS, 0, meters_of(homes))


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return study_comparison(simulate_households(12, n_days=35), OperatingCost("ieee9"), OPTIONS)


def test_exact_techniques_give_the_true_totals(setting: Setting) -> None:
    for technique in (NONE, SUMS, PSEUDONYMS, SECURE):
        made = next(MAKERS[technique](setting))
        assert made.kwh is not None
        np.testing.assert_allclose(made.kwh, setting.feeders.kwh, atol=1e-6)
    np.testing.assert_allclose(sum(setting.by_retailer), setting.feeders.kwh, atol=1e-6)


def test_half_hours_add_up_to_the_hours_of_the_same_homes(setting: Setting) -> None:
    hourly = setting.half_hourly.reshape(len(setting.kwh), -1, 2).sum(axis=2)
    np.testing.assert_allclose(hourly, setting.kwh, atol=2e-3)


def test_no_protection_loses_nothing_and_hides_nobody(records: pd.DataFrame) -> None:
    table = ComparisonTable(records)
    for row in (Row(NONE, None), Row(SUMS, None), Row(SECURE, None)):
        found = table.spread("attack", "difference", row)
        assert found is not None
        assert found.mean < 1e-6
        lost = table.lost(row, TOTALS, "mape")
        assert lost is not None
        assert abs(lost.mean) < 1e-6
    assert table.pseudonyms_found > 0.99
    assert table.noise_lost > 1
    assert select(records, technique=FEDERATED, task=TOTALS).empty


def test_readings_stand_in_messages_only_where_a_utility_collects_them(records: pd.DataFrame) -> None:
    table = ComparisonTable(records)
    for row in table.rows:
        seen = table.spread("attack", "seen", row)
        assert seen is not None, row
        assert seen.mean == (1 if row.technique in COLLECTED else 0), row


def test_two_sums_of_a_federation_tell_a_home_and_those_with_its_noise_do_not(records: pd.DataFrame) -> None:
    table = ComparisonTable(records)
    federated, home = (
        table.spread("attack", "difference", own) for own in (Row(FEDERATED, None), Row(DP_HOME, OPTIONS.main_epsilon))
    )
    assert federated is not None
    assert home is not None
    assert federated.mean < 0.9
    assert home.mean > 1


def test_the_private_profile_is_that_of_all_homes_with_little_noise(setting: Setting) -> None:
    loud, quiet = (
        replace(setting, options=replace(setting.options, main_epsilon=epsilon, kwh_per_home=50.0))
        for epsilon in (1e-3, 1e6)
    )
    rows = setting.rows + 24 * 7
    columns = calendar(setting, 2)
    training = np.repeat(setting.feeders.plan.training & (np.arange(len(setting.feeders.plan.days)) >= 7), 24)
    fitted = columns @ np.linalg.lstsq(columns[training], setting.kwh.mean(axis=0)[training])[0]
    counts = np.bincount(setting.feeders.feeder_of)
    scale = setting.feeders.factor / setting.feeders.cost.case.base_mva
    wanted = fitted[rows, None] * counts * scale
    found = {}
    for name, own in (("loud", loud), ("quiet", quiet)):
        made = next(private_profile(own))
        assert made.forecast is not None
        found[name] = np.abs(made.forecast(np.empty(0)) - wanted).max() / wanted.max()
    assert found["quiet"] < 0.05
    assert found["loud"] > 1


def test_calendar_columns_do_not_depend_on_each_other(setting: Setting) -> None:
    assert np.linalg.matrix_rank(calendar(setting, 6)) == 2 * 13 + 2
    weekend = pd.DatetimeIndex(np.repeat(setting.feeders.plan.days, 24)).day_of_week >= 5
    np.testing.assert_array_equal(calendar(setting, 6)[:, 13], weekend)


@pytest.mark.extras
@pytest.mark.slow
def test_least_squares_on_shares_are_those_in_plain(setting: Setting) -> None:
    made = next(shared_fit(setting))
    assert made.differs is not None
    assert made.differs < 1e-9
    assert made.seen == 0


@pytest.mark.extras
def test_encrypted_forecasts_are_those_in_plain(setting: Setting) -> None:
    made = next(encrypted_forecast(setting))
    assert made.differs is not None
    assert made.differs < 1e-6
    assert made.seen == 0


def test_techniques_without_their_package_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingPackageError("not here")

    monkeypatch.setattr("unlearn.studies.comparison.models.shared_fit", missing)
    homes, own = simulate_households(12, n_days=35), replace(OPTIONS, techniques=(NONE, MPC_FIT))
    found = ComparisonTable(study_comparison(homes, OperatingCost("ieee9"), own))
    assert Row(MPC_FIT, None) in found.all_rows
    assert found.spread("spent", "seconds", Row(MPC_FIT, None)) is None


@pytest.mark.slow
def test_a_missing_package_is_not_kept_and_leaves_no_half_of_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(*_: object) -> None:
        raise MissingPackageError("not here")

    homes, own = simulate_households(12, n_days=35), replace(OPTIONS, techniques=(NONE,))
    measure = partial(study_comparison, homes, OperatingCost("ieee9"), own, Store(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("unlearn.studies.comparison.measure.membership", missing)
        assert select(measure(), technique=NONE)["metric"].tolist() == ["missing"]
    assert ComparisonTable(measure()).rows == [Row(NONE, None)]


def test_what_records_say_is_said(records: pd.DataFrame) -> None:
    said = "\n".join(summarise(records))
    assert "Exact results, no added noise (secure sum). Yes" in said
    assert "Accuracy loss at low ε. Yes" in said
    assert "Anonymisation by itself is weak. Yes" in said


@pytest.mark.slow
def test_finished_techniques_are_kept(tmp_path: Path) -> None:
    homes, own = simulate_households(12, n_days=35), replace(OPTIONS, techniques=(NONE, SUMS))
    first, again = (study_comparison(homes, OperatingCost("ieee9"), own, Store(tmp_path)) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_more_retailers_than_homes_of_a_feeder_are_refused(setting: Setting) -> None:
    few = replace(setting, options=replace(OPTIONS, retailers=9))
    with pytest.raises(InputError, match="retailers: expected at most as many as each feeder has homes"):
        next(MAKERS[SECURE](few))


def test_totals_in_shares_are_exact_and_a_difference_is_refused(records: pd.DataFrame, setting: Setting) -> None:
    table = ComparisonTable(records)
    refused = table.spread("attack", "refused", Row(MPC, None))
    assert refused is not None
    assert refused.low == 1
    np.testing.assert_allclose(next(shared(setting)).kwh, setting.feeders.kwh, atol=6e-3)


@pytest.mark.extras
def test_encrypted_totals_are_exact(setting: Setting) -> None:
    np.testing.assert_allclose(next(encrypted(setting)).kwh, setting.feeders.kwh, atol=6e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"techniques": ("magic",)}, "techniques: expected one of"),
        ({"techniques": (SUMS,)}, "expected one of none"),
        ({"epsilons": (-1.0,)}, "epsilons"),
        ({"known": 0}, "known"),
        ({"noise": "seed"}, "noise: expected one of os, simulated"),
        ({"kwh_per_day": 0.0}, "kwh_per_day"),
        ({"hours": 0}, "hours"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(OPTIONS, **changes)  # type: ignore[arg-type]
