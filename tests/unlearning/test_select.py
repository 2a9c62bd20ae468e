"""Which rows are chosen."""

import numpy as np
import pandas as pd
import pytest

import unlearn
from unlearn.data.hours import rows_between
from unlearn.errors import InputError
from unlearn.studies._shared.study import Study
from unlearn.unlearning import select

HOURS = pd.date_range("2007-01-01", periods=48, freq="h")


def test_helpful_rows_have_the_largest_influence_and_harmful_the_smallest():
    influence = np.array([0.1, 5.0, -3.0, 2.0, 0.0, -1.0, 1.0, 0.2, 0.3, 0.4])
    assert select.extreme(influence, 0.2).tolist() == [1, 3]
    assert select.extreme(influence, 0.2, "harmful").tolist() == [2, 5]


def test_random_rows_are_a_seeded_share_without_repeats():
    known = np.arange(7, 107)
    rows = select.at_random(known, 0.25, seed=3)
    assert len(set(rows.tolist()) & set(known.tolist())) == 25
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == select.at_random(known, 0.25, seed=3).tolist()
    assert rows.tolist() != select.at_random(known, 0.25, seed=4).tolist()


def test_a_time_range_holds_its_start_and_not_its_end():
    assert rows_between("hours", HOURS, "2007-01-01 05:00", "2007-01-01 08:00").tolist() == [5, 6, 7]
    assert len(rows_between("hours", HOURS, "2007-01-02", "2007-01-03")) == 24


def test_a_mask_marks_rows():
    assert select.by_mask([False, True, False, True], 4).tolist() == [1, 3]


def test_a_share_is_rounded_and_at_least_one_row():
    assert [select.count(share, 10) for share in (0.01, 0.26, 0.34, 0.99)] == [1, 3, 3, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select.extreme([1.0], 0.5, "good"), "kind: expected one of harmful, helpful"),
        (lambda: select.extreme([1.0, np.nan], 0.5), "influence: expected finite values"),
        (lambda: select.extreme([[1.0]], 0.5), "influence: expected 1 axes"),
        (lambda: select.extreme([1.0, 2.0], 1.0), "share: expected a share between 0 and 1"),
        (lambda: select.at_random(range(10), 0.0), "share: expected a share between 0 and 1"),
        (lambda: select.at_random(10, 0.1), "rows: expected row numbers to pick from"),
        (lambda: rows_between("hours", HOURS, "yesterday", "2008"), "start: expected a date .* got 'yesterday'"),
        (lambda: rows_between("hours", HOURS, "2008-01-01", "2008-02-01"), "no row between .* runs from 2007"),
        (lambda: rows_between("hours", HOURS, "2007-01-01T00:00Z", "2007-02-01"), "time zone"),
        (lambda: select.by_mask([0, 1], 2), "mask: expected booleans, got int"),
        (lambda: select.by_mask([True], 2), r"mask: expected shape \(2\), got \(1,\)"),
    ],
)
def test_unusable_choices_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("criterion", ["mse", "cost"])
def test_rows_by_influence_come_from_model_data_and_criterion_alone(cnn, dataset, cost, criterion):
    rows = select.by_influence(cnn, dataset, criterion, 0.1, "harmful", grid=cost, evaluate_on=range(980, 1004))
    own = cnn.training_rows(dataset)
    assert len(rows) == round(0.1 * len(own))
    study = Study(cnn, dataset, cost)
    seen = np.arange(980, 1004)
    slope = unlearn.criterion_gradient(cnn, study.criteria[criterion], dataset.features[seen], dataset.load_pu[seen])
    influence = unlearn.influence_scores(study.objective, cnn.theta, slope.gradient).numpy()
    # Ties aside: no row left out is more harmful than one that was taken.
    taken = np.isin(own, rows)
    assert influence[taken].max() <= influence[~taken].min() + 1e-9 * np.abs(influence).max()


def test_rows_by_influence_leave_out_what_is_forgotten(linear, dataset):
    once = unlearn.forget(linear, dataset, range(400)).model
    rows = select.by_influence(once, dataset, share=0.5)
    assert len(rows) == 290
    assert rows.min() >= 400
    with pytest.raises(InputError, match='criterion "cost" needs a grid'):
        select.by_influence(linear, dataset, "cost")
    with pytest.raises(InputError, match="kind: expected one of harmful, helpful"):
        select.by_influence(linear, dataset, kind="best")
