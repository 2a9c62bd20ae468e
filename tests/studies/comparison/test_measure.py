"""Techniques on simulated homes, with noise that repeats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households import simulate_households
from unlearn.reporting.verdict import select
from unlearn.store import Store
from unlearn.studies.comparison import ComparisonOptions, study_comparison, summarise
from unlearn.studies.comparison.meter_sums import encrypted, shared
from unlearn.studies.comparison.options import FEDERATED, HE, MPC, NONE, PSEUDONYMS, SECURE, SUMS, TECHNIQUES, TOTALS
from unlearn.studies.comparison.setting import Setting, make_settings, meters_of
from unlearn.studies.comparison.table import ComparisonTable, Row
from unlearn.studies.comparison.techniques import MAKERS

WITHOUT_EXTRAS = tuple(own for own in TECHNIQUES if own != HE)
OPTIONS = ComparisonOptions(
    WITHOUT_EXTRAS, seeds=(0,), noise="simulated", hours=12, retailers=3, profiles=200, targets=2
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


def test_what_records_say_is_said(records: pd.DataFrame) -> None:
    said = "\n".join(summarise(records))
    assert "Exact results, no added noise (secure sum). Yes" in said
    assert "Accuracy loss at low ε. Yes" in said
    assert "Anonymisation by itself is weak. Yes" in said


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
