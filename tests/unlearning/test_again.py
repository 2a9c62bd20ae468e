"""A model forgets again and again, whole rows and single loads, and stays equal to retraining."""

import numpy as np
import pytest
import torch

import unlearn
from unlearn.errors import InputError
from unlearn.studies._shared.study import Study
from unlearn.unlearning import relative_distance


def refit(model, dataset, weights):
    """Least squares by scikit-learn's definition, output by output, with the weights of each."""
    objective = model.objective(dataset)
    head = [objective.fit(weights[:, b]).reshape(model.head.shape)[b] for b in range(weights.shape[1])]
    return torch.stack(head).reshape(-1)


def test_three_removals_in_a_row_equal_one_refit(model, dataset):
    rows = np.random.default_rng(0).permutation(model.training_rows(dataset))
    parts = np.array_split(rows[: len(rows) // 4], 3)
    forgetful = model
    for part in parts:
        result = unlearn.forget(forgetful, dataset, part, compare_retrained=True)
        assert result.complete
        assert result.distance_to_retrained <= 1e-8
        forgetful = result.model
    at_once = unlearn.forget(model, dataset, np.concatenate(parts)).model
    assert relative_distance(forgetful.theta, at_once.theta) <= 1e-8
    assert torch.equal(forgetful.weights, at_once.weights)
    assert [event["rows"] for event in forgetful.card.forgotten] == [len(part) for part in parts]


def test_single_loads_and_whole_rows_in_any_order(linear, dataset):
    names = list(dataset.load_names)
    first = unlearn.forget(linear, dataset, range(50), loads=names[:2], compare_retrained=True)
    second = unlearn.forget(first.model, dataset, range(30, 90), compare_retrained=True)
    third = unlearn.forget(second.model, dataset, range(200, 260), loads=names[1:4], compare_retrained=True)
    assert max(r.distance_to_retrained for r in (first, second, third)) <= 1e-8
    assert third.complete
    weights = torch.ones_like(linear.weights)
    weights[:50, :2] = 0
    weights[30:90] = 0
    weights[200:260, 1:4] = 0
    assert torch.equal(third.model.weights, weights)
    assert relative_distance(third.model.theta, refit(linear, dataset, weights)) <= 1e-8


def test_what_was_forgotten_survives_saving(linear, dataset, tmp_path):
    once = unlearn.forget(linear, dataset, range(40)).model
    unlearn.save_forecaster(once, tmp_path)
    loaded = unlearn.load_forecaster(tmp_path)
    assert loaded.card == once.card
    (event,) = loaded.card.forgotten
    assert (event["rows"], event["loads"], event["complete"]) == (40, None, True)
    assert event["hours"] == [[dataset.timestamps[row].isoformat() for row in (0, 39)]]
    assert torch.equal(loaded.forgotten, once.forgotten)
    twice = unlearn.forget(loaded, dataset, range(40, 80), compare_retrained=True)
    assert twice.distance_to_retrained <= 1e-8
    assert int((twice.weights == 0).sum()) == 80


def test_what_was_forgotten_cannot_be_forgotten_again(linear, dataset):
    once = unlearn.forget(linear, dataset, range(40)).model
    with pytest.raises(InputError, match="all 10 were forgotten before"):
        unlearn.forget(once, dataset, range(10))
    with pytest.raises(InputError, match="all that is left"):
        unlearn.forget(once, dataset, range(40, 980))


def test_after_reweighting_nothing_is_complete(linear, dataset):
    useful = unlearn.reweight(linear, dataset, range(40), criterion="mse", l1_budget=0.05)
    assert not useful.complete
    later = unlearn.forget(useful.model, dataset, range(40, 80), compare_retrained=True)
    assert not later.complete
    assert any("earlier step" in sentence for sentence in later.limitations)
    # It equals the refit with the weights that the earlier step chose.
    assert later.distance_to_retrained <= 1e-8


def test_reweighting_again_starts_from_ones_on_what_is_left(linear, dataset):
    """A row that re-weighting has switched off is not forgotten: it takes part in the next model."""
    first = unlearn.reweight(linear, dataset, range(40), criterion="mse", l1_budget=0.05).model
    off = np.flatnonzero((first.weights[:, 0] == 0).numpy() & ~first.forgotten[:, 0].numpy())
    assert off.size
    assert first.card.forgotten[0]["switched_off"] == off.size
    again = unlearn.reweight(first, dataset, range(40, 80), criterion="mape", l1_budget=0.0)
    kept = again.model.weights[:, 0]
    assert torch.equal(kept, torch.where(torch.arange(980) < 80, 0.0, 1.0).double())
    assert relative_distance(again.model.theta, linear.objective(dataset).fit(kept)) <= 1e-8


@pytest.mark.parametrize("by_rows", [False, True], ids=["forget", "forget_rows"])
def test_a_row_that_was_switched_off_can_be_forgotten(linear, dataset, by_rows):
    first = unlearn.reweight(linear, dataset, range(40), criterion="mse", l1_budget=0.05).model
    off = np.flatnonzero((first.weights[:, 0] == 0).numpy() & ~first.forgotten[:, 0].numpy())[:3]
    if by_rows:
        given = dataset.features[off], dataset.load_pu[off]
        second = unlearn.forget_rows(first, off, *given)
    else:
        second = unlearn.forget(first, dataset, off, compare_retrained=True)
        assert second.distance_to_retrained <= 1e-8
    assert second.unlearn_rows.tolist() == off.tolist()
    assert relative_distance(second.model.theta, first.theta) <= 1e-8
    assert second.model.forgotten[off].all()
    with pytest.raises(InputError, match="all 3 were forgotten before"):
        unlearn.forget(second.model, dataset, off)
    # The next model starts from ones, and without them.
    third = unlearn.reweight(second.model, dataset, [900], criterion="mse", l1_budget=0.0).model
    gone = np.isin(np.arange(980), [*range(40), *off, 900])
    assert relative_distance(third.theta, linear.objective(dataset).fit(torch.from_numpy(~gone).double())) <= 1e-8


def test_reweighting_after_single_loads_is_refused(linear, dataset):
    partial = unlearn.forget(linear, dataset, range(40), loads=[dataset.load_names[0]]).model
    with pytest.raises(InputError, match="has forgotten single loads"):
        unlearn.reweight(partial, dataset, range(40, 80), criterion="mse", l1_budget=0.05)


def test_a_head_that_is_no_minimum_is_said_to_be_none(linear, dataset):
    unfinished = linear.with_theta(linear.theta * 1.001)
    kept = unlearn.forget(unfinished, dataset, range(40))
    assert not kept.complete
    assert any("remain_gradient" in sentence for sentence in kept.limitations)
    finished = unlearn.forget(unfinished, dataset, range(40), form="remain_gradient", compare_retrained=True)
    assert finished.complete
    assert finished.distance_to_retrained <= 1e-8


def test_a_study_starts_from_a_model_that_forgot_nothing(linear, dataset, cost):
    with pytest.raises(InputError, match="forgotten nothing"):
        Study(unlearn.forget(linear, dataset, range(40)).model, dataset, cost)
