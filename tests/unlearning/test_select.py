"""Which rows are chosen."""

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError
from unlearn.unlearning import select

HOURS = pd.date_range("2007-01-01", periods=48, freq="h")


def test_helpful_rows_have_the_largest_influence_and_harmful_the_smallest():
    influence = np.array([0.1, 5.0, -3.0, 2.0, 0.0, -1.0, 1.0, 0.2, 0.3, 0.4])
    assert select.by_influence(influence, 0.2).tolist() == [1, 3]
    assert select.by_influence(influence, 0.2, "harmful").tolist() == [2, 5]


def test_random_rows_are_a_seeded_share_without_repeats():
    rows = select.at_random(100, 0.25, seed=3)
    assert len(set(rows.tolist())) == 25
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == select.at_random(100, 0.25, seed=3).tolist()
    assert rows.tolist() != select.at_random(100, 0.25, seed=4).tolist()


def test_a_time_range_holds_its_start_and_not_its_end():
    assert select.in_time_range(HOURS, "2007-01-01 05:00", "2007-01-01 08:00").tolist() == [5, 6, 7]
    assert len(select.in_time_range(HOURS, "2007-01-02", "2007-01-03")) == 24


def test_a_mask_marks_rows():
    assert select.by_mask([False, True, False, True], 4).tolist() == [1, 3]


def test_a_share_is_rounded_and_at_least_one_row():
    assert [select.count(share, 10) for share in (0.01, 0.26, 0.34, 0.99)] == [1, 3, 3, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select.by_influence([1.0], 0.5, "good"), "kind: expected one of harmful, helpful"),
        (lambda: select.by_influence([1.0, np.nan], 0.5), "influence: expected finite values"),
        (lambda: select.by_influence([[1.0]], 0.5), "influence: expected 1 axes"),
        (lambda: select.by_influence([1.0, 2.0], 1.0), "share: expected a share between 0 and 1"),
        (lambda: select.at_random(10, 0.0), "share: expected a share between 0 and 1"),
        (lambda: select.in_time_range(HOURS, "yesterday-ish", "2008"), "expected times such as .* got 'yesterday-ish'"),
        (lambda: select.in_time_range(HOURS, "2008-01-01", "2008-02-01"), "no training row between .* run from 2007"),
        (lambda: select.in_time_range(HOURS, "2007-01-01T00:00Z", "2007-02-01"), "time zone"),
        (lambda: select.by_mask([0, 1], 2), "mask: expected booleans, got int"),
        (lambda: select.by_mask([True], 2), r"mask: expected shape \(2\), got \(1,\)"),
    ],
)
def test_unusable_choices_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
