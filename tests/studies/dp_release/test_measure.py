"""Parts of the study, measured on simulated households with noise that repeats."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households import hourly_meters, simulate_households
from unlearn.privacy.release.base import Contribution, View
from unlearn.privacy.release.bounding import bounded_steps
from unlearn.privacy.release.queries import LoadCurve, Mean, Peak, Sum
from unlearn.privacy.release.selections import Quantile
from unlearn.records import RecordTable
from unlearn.reporting.verdict import select
from unlearn.store import Store
from unlearn.studies.dp_release.audit import asked_often, measure_audit
from unlearn.studies.dp_release.load_curves import homes_for, measure_local, project
from unlearn.studies.dp_release.measure import study_dp_release
from unlearn.studies.dp_release.noise import chances, deviation, p_value
from unlearn.studies.dp_release.options import PURE, ZCDP, DpReleaseOptions
from unlearn.studies.dp_release.questions import exact_values, measure_composition
from unlearn.studies.dp_release.setting import PLACES, Setting, delta_of, make_setting

OPTIONS = DpReleaseOptions(
    parts=("composition", "peak", "local"),
    epsilons=(1.0,),
    draws=500,
    audit_epsilons=(1.0,),
    audit_runs=200,
    spans=("hour", "week"),
    samples=50,
    answers=(1, 24),
    query_days=7,
    query_runs=10,
    peak_homes=(30,),
    noise="simulated",
)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(simulate_households(20, n_days=35), OperatingCost("ieee9"), OPTIONS)


def records(measure, setting: Setting) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    table = RecordTable(seed=0)
    measure(setting, table)
    return table.to_frame()


def test_homes_are_those_whose_total_the_noise_is_a_share_of(setting: Setting) -> None:
    assert homes_for(setting, "event", "week", 1.0, PURE, 0.01) == math.ceil(5 / 0.01 / setting.kwh_per_home)
    homes = homes_for(setting, "household", "week", 0.5, ZCDP, 0.01)
    scale = setting.scale_kwh(ZCDP, "household", "week", 0.5, delta_of(homes))
    assert scale / (homes * setting.kwh_per_home) == pytest.approx(0.01, rel=1e-3)


def test_bounded_sums_are_those_of_clipped_readings(setting: Setting) -> None:
    own = np.zeros((len(setting.feeders.names), len(setting.meters.hours)))
    np.add.at(own, setting.feeders.feeder_of, np.clip(setting.kwh, 0, 5))
    np.testing.assert_allclose(setting.bounded_kwh("event"), own, atol=1e-4)
    assert setting.at("area", own).shape == (1, own.shape[1])
    np.testing.assert_allclose(setting.at("substation", own)[0], own.sum(axis=0))


def test_projected_curves_add_up(setting: Setting) -> None:
    feeders = setting.bounded_kwh("event")[:, :20]
    truth = {place: setting.at(place, feeders) for place in PLACES}
    for place, found in project(setting, truth, non_negative=True).items():
        np.testing.assert_allclose(found, truth[place], atol=1e-9)


def test_goodness_of_fit_tells_scales_apart() -> None:
    random = np.random.default_rng(0)
    draws = {
        "laplace": random.laplace(0, 3, 20_000),
        "gaussian": random.normal(0, 3, 20_000),
        "discrete_laplace": (random.geometric(-math.expm1(-1 / 3), (2, 20_000)) * [[1], [-1]]).sum(axis=0),
        "discrete_gaussian": np.rint(random.normal(0, 300, 20_000)),
    }
    for noise, own in draws.items():
        scale = 300 if noise == "discrete_gaussian" else 3
        assert p_value(own, noise, scale) > 1e-6, noise
        assert p_value(own, noise, 1.2 * scale) < 1e-6, noise
    x = np.arange(-400, 401)
    for scale in (0.7, 5.0):
        mass = np.exp(-np.abs(x) / scale) / np.exp(-np.abs(x) / scale).sum()
        assert deviation("discrete_laplace", scale) == pytest.approx(math.sqrt((x**2 * mass).sum()))
        mass = stats.norm.pdf(x, scale=scale) / stats.norm.pdf(x, scale=scale).sum()
        assert deviation("discrete_gaussian", scale) == pytest.approx(math.sqrt((x**2 * mass).sum()))


def test_chances_of_a_choice_are_those_of_its_noise() -> None:
    # The higher score loses if the lower one's noise is larger by the difference: exp(-d / s) / 2.
    found = chances(np.array([0, -3]), 2.0)
    assert found[1] == pytest.approx(math.exp(-1.5) / 2, rel=1e-4)
    assert chances(np.array([-1, 0, -1]), 1.0).sum() == pytest.approx(1)


def test_exact_values_are_told_by_hand() -> None:
    hours = pd.date_range("2013-01-01", periods=24, freq="h")
    view, kwh = View(hours, ("all",)), np.array([[0.5] * 24, [1.0] * 24, [2.0] * 24])
    steps, group = bounded_steps(kwh, Contribution("household", 5.0, 50.0), view), np.zeros(3, dtype=np.int64)
    expected = {Sum(): 84.0, Mean("day"): 28.0, Peak(): 3.5, Quantile((1.0, 30.0), 0.5): 24.0}
    for query, value in expected.items():
        found = exact_values(query, query.summed(steps, group, view), steps, view)
        assert found == pytest.approx([value]), query.name
    assert exact_values(LoadCurve(), LoadCurve().summed(steps, group, view), steps, view) == pytest.approx([3.5] * 24)


def test_a_query_that_is_asked_often_has_noise_of_its_own_each_time(setting: Setting) -> None:
    asking = setting.asking("household", PURE, 1.0)
    for query, n_values in ((Sum(), 3), (Mean("day"), 3), (Peak(), 3)):
        totals = query.summed(setting.steps("household"), setting.feeders.feeder_of, setting.view)
        found = asked_often(query, totals, asking, 5)
        assert found.values.shape == found.low.shape == (5, n_values)
        assert len(np.unique(found.values[:, 0])) == 5


def test_noise_of_meters_is_wider_by_the_root_of_their_number(setting: Setting) -> None:
    found = records(measure_local, setting)
    ratio = select(found, metric="ratio").set_index("method")["value"]
    assert ratio["local"] > 2.5 > ratio["central"]


def test_few_answers_cost_least_added_up(setting: Setting) -> None:
    found = records(measure_composition, setting).set_index(["composition", "answers"])["value"]
    assert found["basic", 24] == 12
    assert found["zcdp", 24] > 12
    assert found["advanced", 24] <= 12


def test_broken_releases_are_audited_beside_those_as_they_are(setting: Setting) -> None:
    quick = replace(setting, options=replace(OPTIONS, audit_runs=100))
    found = select(records(measure_audit, quick), metric="epsilon_low")
    broken = found[found["method"] != "intact"]
    assert set(broken["method"]) >= {"readings not clipped", "noise for one reading", "scale divided by 2"}
    assert (found[found["method"] == "intact"]["value"] <= 1).all()
    assert broken["value"].max() > 1


def test_finished_parts_are_kept(tmp_path: Path) -> None:
    homes = simulate_households(20, n_days=35)
    store = Store(tmp_path, confidential=True)
    first = study_dp_release(homes, OperatingCost("ieee9"), OPTIONS, store)
    assert set(first["part"]) == {"setting", "composition", "peak", "local"}
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    assert len(files) == 3
    again = study_dp_release(homes, OperatingCost("ieee9"), OPTIONS, store)
    pd.testing.assert_frame_equal(first, again)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}


def test_simulated_noise_is_refused_for_meters_that_are_not() -> None:
    table = pd.DataFrame(np.ones((24 * 35, 6)), pd.date_range("2013-01-01", periods=24 * 35, freq="h"), list("abcdef"))
    with pytest.raises(InputError, match='expected "os"'):
        make_setting(hourly_meters(table), OperatingCost("ieee9"), OPTIONS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": ("poetry",)}, "parts: expected one of"),
        ({"epsilons": (0.5, 2.0)}, "main_epsilon: expected one of the epsilons"),
        ({"epsilons": (1.0, -1.0)}, "epsilons"),
        ({"peak_within": (5.0,)}, "peak_within: expected a share"),
        ({"audit_runs": 0}, "audit_runs"),
        ({"noise": "seed"}, "noise: expected one of os, simulated"),
        ({"kwh_per_hour": math.inf}, "kwh_per_hour"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(OPTIONS, **changes)  # type: ignore[arg-type]
