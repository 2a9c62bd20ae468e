"""A deletion forgets what was asked, in the data set's own rows, whatever the model; and says what it left."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import unlearn
from tests.forecasters.test_checkpoint import rewrite
from unlearn.data import dataset_from_frames
from unlearn.errors import InputError
from unlearn.forecasters.checkpoint import WEIGHTS
from unlearn.unlearning import relative_distance

WEEK = ("2019-01-14", "2019-01-21")


def week_rows(dataset):
    hours = dataset.timestamps
    return np.flatnonzero((hours >= WEEK[0]) & (hours < WEEK[1]))


def test_the_same_week_is_forgotten_by_every_model_or_said_to_stay(model, dataset):
    """What the head saw goes, exactly; what only the extractor saw is listed, and the result is not complete."""
    week = week_rows(dataset)
    result = unlearn.forget(model, dataset, WEEK, compare_retrained=True)
    frozen = dataset.split.core if model.card.kind != "linear" else np.array([], dtype=int)
    assert result.unlearn_rows.tolist() == np.setdiff1d(week, frozen).tolist()
    assert result.not_forgotten.tolist() == np.intersect1d(week, frozen).tolist()
    assert sorted([*result.unlearn_rows, *result.not_forgotten]) == week.tolist()
    assert result.distance_to_retrained <= 1e-8
    assert result.complete == result.complete_as_given == (model.card.kind == "linear")
    said = [s for s in result.limitations if "of the 168 rows asked for" in s]
    assert len(said) == (model.card.kind != "linear")
    if said:
        assert f"{len(result.not_forgotten)} of the 168 rows asked for (the first is 2019-01-14" in said[0]
        assert "trained the extractor" in said[0]
        assert "Fit the network anew" in said[0]
    # A refit of what can be refitted, with data of its own making.
    kept = np.setdiff1d(model.training_rows(dataset), week)
    head = np.linalg.lstsq(model.design_of(dataset, kept).numpy(), dataset.load_pu[kept], rcond=None)[0].T
    np.testing.assert_allclose(result.model.head.numpy(), head, rtol=0, atol=1e-8 * np.abs(head).max())
    assert result.model.card.forgotten[0]["hours"] == result.hours
    assert result.hours[0][0] >= "2019-01-14T00:00:00"
    assert result.hours[-1][1] <= "2019-01-20T23:00:00"


def test_rows_hours_dates_and_masks_mean_the_same(model, dataset):
    week = week_rows(dataset)
    mask = np.isin(np.arange(len(dataset.timestamps)), week)
    hours = dataset.timestamps[week]
    forms = [
        week,
        list(week[::-1]),
        mask,
        pd.Series(mask, index=dataset.timestamps),
        hours,
        hours[::-1],
        list(hours),
        hours.to_numpy(),
        WEEK,
        (pd.Timestamp(WEEK[0]), pd.Timestamp(WEEK[1]).date()),
    ]
    results = [unlearn.forget(model, dataset, rows) for rows in forms]
    for result in results:
        assert result.unlearn_rows.tolist() == results[0].unlearn_rows.tolist()
        assert torch.equal(result.model.theta, results[0].model.theta)


def test_rows_that_nothing_was_fitted_on_are_said_to_need_no_forgetting(linear, dataset):
    result = unlearn.forget(linear, dataset, range(970, 990))
    assert result.unlearn_rows.tolist() == list(range(970, 980))
    assert result.complete
    assert any(s.startswith("10 of the 20 rows asked for are validation or test rows") for s in result.limitations)


def test_hours_that_only_the_extractor_saw_cannot_be_forgotten(cnn, dataset):
    with pytest.raises(InputError, match=r"3 of them trained the extractor, which is frozen.*Fit the network anew"):
        unlearn.forget(cnn, dataset, dataset.split.core[:3])


def test_a_customer_who_leaves_is_a_load_with_all_rows(linear, dataset):
    left = unlearn.forget(linear, dataset, range(1400), loads=["load_3"], compare_retrained=True)
    assert left.complete
    assert left.distance_to_retrained <= 1e-12
    assert any(s.startswith("All measurements of load_3 are forgotten: its forecast is 0") for s in left.limitations)
    forecast = left.model.forecast(dataset.features[:5])
    assert (forecast[:, 2] == 0).all()
    # The others' outputs are those of a model that never had the load, to the last bit those of before.
    others = [b for b in range(14) if b != 2]
    assert torch.equal(left.model.head[others], linear.head[others])
    # Another load of other data, forgotten: the same model, so nothing of it is left.
    loads = dataset.load_mw.copy()
    loads[:, 2] = 7.0 + np.random.default_rng(0).uniform(size=1400)
    other = replace(dataset, load_mw=loads)
    again = unlearn.forget(unlearn.fit_linear(other), other, range(1400), loads=["load_3"])
    assert relative_distance(again.model.theta, left.model.theta) <= 1e-12


def test_after_a_customer_has_left_hours_can_still_be_forgotten(linear, dataset):
    left = unlearn.forget(linear, dataset, range(1400), loads=["load_3"]).model
    later = unlearn.forget(left, dataset, range(100), compare_retrained=True)
    assert later.complete
    assert later.distance_to_retrained <= 1e-8
    by_rows = unlearn.forget_rows(left, range(100), dataset.features[:100], dataset.load_pu[:100])
    assert relative_distance(by_rows.model.theta, later.model.theta) <= 1e-9
    assert (by_rows.model.forecast(dataset.features[:5])[:, 2] == 0).all()
    expected = unlearn.forget(linear, dataset, range(100)).model.head.clone()
    expected[2] = 0
    assert relative_distance(later.model.head, expected) <= 1e-9
    with pytest.raises(InputError, match="were forgotten before"):
        unlearn.forget(later.model, dataset, range(200), loads=["load_3"])
    with pytest.raises(InputError, match="nothing would remain"):
        unlearn.forget(linear, dataset, range(980), loads=list(dataset.load_names))


def test_a_customer_who_leaves_a_network_stays_in_its_extractor(cnn, dataset):
    left = unlearn.forget(cnn, dataset, range(980), loads=["load_3"])
    assert not left.complete
    assert left.not_forgotten.tolist() == dataset.split.core.tolist()
    assert (left.model.forecast(dataset.features[:5])[:, 2] == 0).all()


@pytest.mark.parametrize("rows", [range(50), range(980)], ids=["some rows", "all rows"])
def test_what_a_load_has_forgotten_is_in_no_statistics(linear, dataset, rows):
    """Sums of outputs that keep the rows hold nothing of the load that forgot them, also after further removals."""
    first = unlearn.forget(linear, dataset, rows, loads=["load_3"]).model
    second = unlearn.forget_rows(first, range(60, 90), dataset.features[60:90], dataset.load_pu[60:90]).model
    for forgetful, gone in ((first, []), (second, range(60, 90))):
        kept = np.setdiff1d(np.arange(980), [*rows, *gone])
        design, load = linear.design_of(dataset, np.arange(980)).numpy(), dataset.load_pu[:980, 2]
        allowed = np.zeros(design.shape[1]) if not kept.size else design[kept].T @ load[kept]
        column = design.shape[1] + 2
        for group in forgetful.statistics.groups:
            sums = group.moments.sum(dim=0)[: design.shape[1], column].numpy()
            assert not sums.any() or np.allclose(sums, allowed, rtol=1e-9)


def test_a_model_saved_under_the_earlier_word_is_still_complete_as_given(linear, dataset):
    model = unlearn.forget_rows(linear, range(40), dataset.features[:40], dataset.load_pu[:40]).model
    event = model.card.forgotten[-1]
    event["complete_as_declared"] = event.pop("complete_as_given")
    again = unlearn.forget_rows(model, [50], dataset.features[[50]], dataset.load_pu[[50]])
    assert (again.complete, again.complete_as_given) == (False, True)


def test_data_taken_as_given_is_never_called_complete_and_the_data_set_settles_it(linear, dataset):
    true = unlearn.forget_rows(linear, range(40), dataset.features[:40], dataset.load_pu[:40])
    assert (true.complete, true.complete_as_given) == (False, True)
    other = unlearn.forget_rows(linear, range(40), dataset.features[100:140], dataset.load_pu[100:140])
    assert (other.complete, other.complete_as_given) == (False, True)
    again = unlearn.forget_rows(true.model, [50], dataset.features[[50]], dataset.load_pu[[50]])
    assert (again.complete, again.complete_as_given) == (False, True)
    # With the data set, the next step checks what was given before it.
    settled = unlearn.forget(true.model, dataset, range(40, 80), compare_retrained=True)
    assert settled.complete
    assert settled.distance_to_retrained <= 1e-8
    found_out = unlearn.forget(other.model, dataset, range(40, 80))
    assert not found_out.complete_as_given
    assert any("away from the minimum of their training problem" in s for s in found_out.limitations)
    mended = unlearn.forget(other.model, dataset, range(40, 80), form="remain_gradient", compare_retrained=True)
    assert mended.complete
    assert mended.distance_to_retrained <= 1e-8


def frames(lagged):
    """Two loads with their temperature, and features that hold loads of a day before."""
    hours = pd.date_range("2019-01-01", periods=800, freq="h")
    random = np.random.default_rng(0)
    day = 3 + np.sin(np.arange(800) / 24 * 2 * np.pi)[:, None] + random.normal(0, 0.2, (800, 2))
    load = pd.DataFrame(day, index=hours, columns=["a", "b"])
    weather = {"temperature": pd.DataFrame(random.normal(size=(800, 2)), index=hours, columns=["a", "b"])}
    return load, {**weather, **{name: make(load) for name, make in lagged.items()}}


def yesterday(load):
    return load.shift(24).bfill()


def mean_of_a_day(load):
    return load.rolling(24).mean().shift(1).bfill()


@pytest.mark.parametrize(
    ("lagged", "lags", "sentence"),
    [
        ({"before": yesterday}, None, r"before holds loads of 24 hours before, .* features of 24 other training rows"),
        ({"mean": mean_of_a_day}, {"mean": range(1, 25)}, "mean holds loads of 1 hours before, .* and 21 more"),
        ({"of_a": lambda load: yesterday(load)[["a"]]}, None, "of_a holds a of 24 hours before, .* features of 24"),
    ],
    ids=["found", "declared", "one load's"],
)
def test_loads_that_live_on_as_features_of_other_hours_are_listed(lagged, lags, sentence, tmp_path):
    load, weather = frames(lagged)
    weather = {name: table.iloc[24:] for name, table in weather.items()}
    data = dataset_from_frames(load.iloc[24:], weather, declared_lags=lags)
    result = unlearn.forget(unlearn.fit_linear(data), data, range(48, 72))
    assert (result.complete, result.complete_as_given) == (False, False)
    (said,) = [s for s in result.limitations if "are still features of" in s]
    assert re.search(sentence, said), said
    kept = unlearn.load_forecaster(unlearn.save_forecaster(result.model, tmp_path))
    given = unlearn.forget_rows(kept, range(100, 110), data.features[100:110], data.load_pu[100:110])
    assert not given.complete_as_given


def test_loads_of_others_among_the_features_do_not_hold_what_one_load_forgets():
    load, weather = frames({"of_a": lambda load: yesterday(load)[["a"]]})
    data = dataset_from_frames(load.iloc[24:], {name: table.iloc[24:] for name, table in weather.items()})
    model = unlearn.fit_linear(data)
    assert unlearn.forget(model, data, range(50), loads=["b"]).complete
    assert not unlearn.forget(model, data, range(50), loads=["a"]).complete


def test_a_model_of_an_earlier_version_learns_its_hours_from_the_data(linear, dataset, tmp_path):
    unlearn.save_forecaster(unlearn.forget(linear, dataset, range(40)).model, tmp_path)
    tensors = {k: v for k, v in load_file(tmp_path / WEIGHTS).items() if k not in ("parts", "forgotten")}
    rewrite(tmp_path, tensors)
    old = unlearn.load_forecaster(tmp_path)
    given = dataset.features[40:80], dataset.load_pu[40:80]
    with pytest.raises(InputError, match=r"knows the hours it was fitted on.*with_statistics\(dataset\)"):
        unlearn.forget_rows(old, range(40, 80), *given)
    with pytest.raises(InputError, match="all 40 were forgotten before"):
        unlearn.forget(old, dataset, range(40))
    expected = unlearn.forget(linear, dataset, range(80)).model.theta
    assert relative_distance(unlearn.forget(old, dataset, range(40, 80)).model.theta, expected) <= 1e-9
    renewed = unlearn.forget_rows(old.with_statistics(dataset), range(40, 80), *given).model.theta
    assert relative_distance(renewed, expected) <= 1e-9


def test_a_result_is_shown_in_a_line(cnn, dataset):
    text = repr(unlearn.forget(cnn, dataset, WEEK))
    expected = r"Forgotten\(NetworkForecaster, rows removed: \d+, rows not forgotten: \d+, not complete\)"
    assert re.fullmatch(expected, text)
