"""What is measured: what each step publishes and what is made of it, attackers against known answers, kept parts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.studies.anonymize.made import OPTIONS, cost, setting
from tests.studies.households import made_households
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.reporting.verdict import select
from unlearn.store import Store
from unlearn.studies.anonymize import AnonymizeOptions, releases, study_anonymize, summarise, sums
from unlearn.studies.anonymize.attackers import measure_linkage, measure_patterns, measure_relinking, midday_dip
from unlearn.studies.anonymize.attributes import labels_of, measure_crowds, measure_labels
from unlearn.studies.anonymize.features import features_of, measure_risks
from unlearn.studies.anonymize.measure import total_mape
from unlearn.studies.anonymize.options import OF_SUMS, STEPS
from unlearn.studies.anonymize.releases import RECORD_STEPS, information_left, rebuilt, records_of, spread_over_hours
from unlearn.studies.anonymize.setting import meters_of, smoothed
from unlearn.studies.anonymize.table import COPY, INDEPENDENT, TWO_WAYS


def records(measure: object, *arguments: object) -> pd.DataFrame:
    table = RecordTable(seed=0, step=None)
    measure(*arguments, table)  # type: ignore[operator]
    return table.to_frame()


def made(step: str) -> releases.Records:
    return records_of(step, setting().readings, 0.1)


def test_readings_are_those_of_the_feeders_households() -> None:
    own = setting()
    inside = np.arange(len(own.feeders.names))[:, None] == own.feeders.feeder_of
    np.testing.assert_allclose(own.feeders.by_day(inside @ own.readings.hourly()), own.feeders.kwh, atol=1e-4)
    assert own.readings.ids == own.feeders.meters.customer_ids
    assert len(own.readings.times) == own.readings.kwh.shape[1]
    part = own.readings.take(np.array([3, 7]))
    np.testing.assert_array_equal(part.kwh, own.readings.kwh[[3, 7]])
    assert part.ids == (own.readings.ids[3], own.readings.ids[7])


def test_names_are_in_the_raw_release_alone_and_months_share_no_pseudonym() -> None:
    names = set(setting().readings.ids)
    for step in RECORD_STEPS:
        columns = {str(column) for table in made(step).tables for column in table}
        assert (columns == names) == (step == "raw"), step
        assert step == "raw" or not columns & names
    months = [set(table) for table in made("rotated").tables]
    assert len(months) == 3
    assert sum(map(len, months)) == len(set.union(*months))


def test_coarser_steps_tell_less_and_keep_what_they_sum() -> None:
    own = setting()
    told = {step: information_left(own.readings.kwh, rebuilt(made(step), own)) for step in RECORD_STEPS}
    assert told["raw"] == told["pseudonyms"] == 1
    assert 1 > told["rounded"] > 0.9
    assert told["pseudonyms"] > told["hourly"] > told["six_hourly"] > told["daily"] > told["weekly"]
    assert told["hourly"] > told["micro_5"] > told["micro_15"]
    daily = made("daily").series[0]
    total = np.add.reduceat(own.readings.kwh, np.arange(0, own.readings.kwh.shape[1], 48), axis=1)
    np.testing.assert_allclose(daily.values, total, rtol=1e-6)
    weekly = made("weekly").series[0]
    assert set(np.bincount(weekly.step_of[weekly.step_of >= 0])) == {336}
    low, high = made("extremes").series
    assert (low.values <= high.values).all()


def test_loads_of_feeders_are_exact_where_hours_are_and_keep_totals_elsewhere() -> None:
    own = setting()
    for step in ("raw", "rotated", "hourly"):
        np.testing.assert_allclose(releases.load_of_records(made(step), own), own.feeders.kwh, atol=1e-4)
    daily = releases.load_of_records(made("daily"), own)
    np.testing.assert_allclose(daily.sum(axis=2), own.feeders.kwh.sum(axis=2), rtol=1e-5)
    crowd = releases.load_of_records(made("micro_5"), own)
    np.testing.assert_allclose(crowd.sum(axis=1), own.feeders.kwh.sum(axis=1), rtol=1e-5)
    between = releases.load_of_records(made("extremes"), own)
    assert between.shape == own.feeders.kwh.shape
    assert 0.3 < between.mean() / own.feeders.kwh.mean() < 3


def test_totals_are_spread_as_the_standard_profile_is() -> None:
    step_of, standard = np.array([-1, 0, 0, 1, 1, -1]), np.array([1.0, 1, 3, 2, 2, 4])
    found = spread_over_hours(np.array([[8.0, 2.0]]), step_of, standard)
    np.testing.assert_allclose(found, [[2, 2, 6, 1, 1, 2]])
    days = np.arange("2013-01-04", "2013-01-08", dtype="datetime64[D]")
    means = smoothed(np.repeat([1.0, 3.0, 5.0, 7.0], 24), days)
    np.testing.assert_array_equal(means.reshape(4, 24)[:, 0], [4, 4, 4, 4])  # Friday and Monday, the weekend


def test_known_readings_find_records_and_not_those_of_a_crowd() -> None:
    found = {step: records(measure_linkage, setting(), made(step)) for step in ("pseudonyms", "micro_15", "raw")}
    few = {step: select(own, known=4, metric="top_1")["value"] for step, own in found.items()}
    assert few["pseudonyms"].item() > 0.9
    assert few["micro_15"].item() < 0.2  # a guess among 15 or more
    assert found["raw"].empty
    day = select(found["pseudonyms"], known=48, metric="unique_right")["value"].item()
    assert day == 1
    inside = select(found["pseudonyms"], metric="right_guess_in_feeder")["value"].item()
    assert inside >= select(found["pseudonyms"], known=4, metric="right_guess")["value"].item() - 1e-9


def test_a_whole_day_gives_its_total_away() -> None:
    found = records(measure_linkage, setting(), made("daily"))
    assert select(found, known=48, metric="unique_right")["value"].item() > 0.9
    assert select(found, known=4, metric="unique_right")["value"].item() < 0.2


def test_months_are_relinked_beyond_guessing() -> None:
    found = records(measure_relinking, setting())
    right = {method: own["value"].mean() for method, own in found.groupby("method")}
    assert right["guessing"] == pytest.approx(1 / 60)
    assert right["assignment"] > 0.3


def test_a_dip_at_midday_is_that_of_solar_cells() -> None:
    own = setting()
    solar = own.standard.profiles.households["solar"].to_numpy(dtype=bool)
    dip = midday_dip(own.standard)
    assert np.median(dip[solar]) > np.median(dip[~solar])
    found = records(measure_patterns, own)
    assert set(found["pattern"]) == {"midday_dip", "night_use"}
    assert found["value"].between(0, 1).all()


def test_features_are_the_same_from_whatever_step_tells_them() -> None:
    own = setting().readings
    fine, daily, six = (features_of(made(step), own) for step in ("pseudonyms", "daily", "six_hourly"))
    assert list(daily) == ["mean_day", "weekend_ratio", "winter_ratio", "class"]
    for column in ("mean_day", "weekend_ratio", "winter_ratio"):
        np.testing.assert_allclose(daily[column], fine[column], rtol=1e-5)
    np.testing.assert_allclose(six["night_share"], fine["night_share"], rtol=1e-5)
    assert list(features_of(made("extremes"), own)) == [
        "mean_low", "mean_high", "largest", "winter_ratio", "weekend_ratio", "class",
    ]  # fmt: skip
    assert fine["mean_day"].mean() == pytest.approx(own.kwh.sum() / len(own) / len(own.days))


def test_attacks_on_features_find_copies_and_not_others() -> None:
    found = {step: select(records(measure_risks, setting(), step), metric="risk") for step in (COPY, INDEPENDENT)}
    assert {"singling_out_multivariate", "linkability", "inference_class"} <= set(found[COPY]["attack"])
    link = {step: select(own, attack="linkability")["value"].item() for step, own in found.items()}
    assert link[COPY] > 0.7
    assert link[INDEPENDENT] < 0.3
    assert records(measure_risks, setting(), "rotated").empty


def test_sums_are_exact_and_suppression_leaves_no_difference() -> None:
    own = setting()
    every = sums.publish(own, "sums")
    assert every.published.all()
    assert every.largest_difference == 0
    np.testing.assert_allclose(sums.load_of_sums(every, own), own.feeders.kwh, atol=1e-9)
    for step in OF_SUMS:
        found = records(sums.measure_differences, own, step)
        breaking = select(found, metric="breaking")["value"]
        assert step != "suppressed" or (breaking == 0).all()
        assert set(found["publication"]) == {"feeders, substations, area", TWO_WAYS}


def test_withheld_feeders_take_what_their_parent_has_beyond_the_others() -> None:
    own = setting()
    every = sums.publish(own, "sums")
    hidden = replace(every.made, reasons=every.made.reasons.copy(), kwh=every.made.kwh.copy())
    hidden.reasons[:2], hidden.kwh[:2] = 1, np.nan  # two of the three feeders
    load = sums.load_of_sums(sums.Sums(hidden, every.readings, 0.0), own)
    np.testing.assert_allclose(load.sum(axis=1), own.feeders.kwh.sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(load[:, 2], own.feeders.kwh[:, 2], atol=1e-9)
    np.testing.assert_allclose(load[:, 0] / load[:, 1], 1, rtol=0.2)  # as many customers, or one more
    hidden.reasons[:], hidden.kwh[:] = 1, np.nan
    nothing = sums.load_of_sums(sums.Sums(hidden, every.readings, 0.0), own)
    np.testing.assert_allclose(nothing[:, 0].ravel(), 20 * own.standard_hourly, rtol=0.2)


def test_two_releases_single_out_whoever_is_alone_until_they_are_suppressed_together() -> None:
    own = replace(setting(), options=replace(OPTIONS, districts=10))
    found = records(sums.measure_composition, own)
    before, after = (select(found, stage=stage).set_index("metric")["value"] for stage in ("before", "after"))
    assert before["recovered"] == before["one_solar"]
    assert after["recovered"] == after["breaking"] == 0


def test_membership_in_sums_falls_with_their_size() -> None:
    found = select(records(sums.measure_membership, setting()), target="all", span="year").set_index("group_size")
    assert found.loc[1, "value"] == 1
    assert found.loc[15, "value"] < 1


def test_labels_are_shared_by_as_many_as_asked() -> None:
    found = select(records(measure_labels, setting()), part="labels").set_index("metric")["value"]
    assert found["k"] >= 5
    assert found["l"] >= 2
    assert found["unique_after"] == 0
    assert found["suppressed"] <= 0.05
    given, hierarchies = labels_of(setting())
    assert set(hierarchies) == {"feeder", "annual_kwh"}
    assert len(given) == 60


def test_larger_crowds_lose_more() -> None:
    found = select(records(measure_crowds, setting()), of="year").set_index("class_size")["value"]
    assert 0 < found[2] < found[5] < 1


def test_the_total_is_forecast_alike_from_true_loads_and_worse_from_flat_ones() -> None:
    own = setting()
    flat = np.broadcast_to(own.feeders.kwh.mean(axis=(0, 2))[:, None], own.feeders.kwh.shape)
    assert total_mape(own.feeders.kwh, own) < total_mape(flat, own)


@pytest.mark.slow
def test_finished_parts_are_kept_and_steps_measure_no_other_anew(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = replace(OPTIONS, steps=("raw", "pseudonyms"), group_sizes=(1,), known=(4,))
    store = Store(tmp_path, confidential=True)
    profiles = made_households(45, 40)
    first = study_anonymize(profiles, cost(), options, store)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    more = study_anonymize(profiles, cost(), replace(options, steps=("raw", "pseudonyms", "suppressed")), store)
    again = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    assert files.items() <= again.items()
    assert set(more["step"].dropna()) - set(first["step"].dropna()) == {"suppressed"}
    assert "Anonymisation alone" in "".join(summarise(first))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "seeds: expected at least one"),
        ({"steps": ("pseudonyms",)}, "expected raw among them"),
        ({"steps": ("raw", "nothing")}, "steps"),
        ({"main_known": 3}, "main_known: expected one of the numbers known"),
        ({"trials": 20}, "trials: expected at least 100"),
        ({"test_every": 1}, "test_every: expected at least 2"),
        ({"hours": -1}, "hours: expected at least 0"),
        ({"rounding_kwh": 0.0}, "rounding_kwh"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AnonymizeOptions(**changes)  # type: ignore[arg-type]


def test_readings_that_are_not_half_hourly_are_refused() -> None:
    with pytest.raises(InputError, match="expected 48 half-hourly readings a day"):
        meters_of(made_households(3, 10).to_hourly())


def test_every_step_has_what_makes_it() -> None:
    assert set(STEPS) == {*RECORD_STEPS, *OF_SUMS, "labels"}
