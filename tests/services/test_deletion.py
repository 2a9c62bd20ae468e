"""`DeletionRequest`: what a request names, in whatever order and form, and what it means for a data set."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.small import LOADS, NAME, raw
from unlearn.errors import InputError
from unlearn.services import DeletionRequest, RegistryKey
from unlearn.services.base import CUSTOMERS, HOURS
from unlearn.services.base import LOADS as WITHDRAWN
from unlearn.services.deletion import changed, holds

KEY = RegistryKey(bytes(range(32)))
DAY = ("2013-03-06", "2013-03-07")
HOURS_OF_2013 = pd.date_range("2013-01-01", periods=24 * 60, freq="h")


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({}, "expected customers, loads or hours to forget, got none"),
        ({"customers": "C7"}, r"expected a list of names, got .C7.; write"),
        ({"loads": "bus_1"}, r"expected a list of names, got .bus_1."),
        ({"customers": ("C7",), "loads": ("bus_1",)}, "expected customers or loads, got both"),
        ({"customers": ("C7", "C8", "C7")}, "customers: expected each once, got .*C7"),
        ({"customers": ("C7",), "case": "dies"}, "case: expected one of leaves, objects"),
        ({"customers": ("C7",), "case": "objects", "replacement": "mean"}, "replacement: expected one of class_mean"),
        ({"loads": ("bus_1",), "case": "objects"}, "case: expected none without customers"),
        ({"hours": (DAY,), "replacement": "rescale"}, "case: expected none without customers"),
        ({"hours": "2013"}, r"hours: expected ranges \(start, end\), got .2013"),
        ({"hours": ("2013", "2014")}, "hours: expected ranges .* of times, got .2013"),
        ({"hours": (("2013-01-01",),)}, "hours: expected ranges .* of times"),
        ({"hours": (DAY[::-1],)}, "hours: expected a start before the end"),
        ({"hours": ((DAY[0], DAY[0]),)}, "hours: expected a start before the end"),
        ({"hours": (("soon", "later"),)}, "hours: .*soon"),
    ],
)
def test_what_means_nothing_is_refused(given_: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        DeletionRequest(**given_)


def test_what_it_names_is_its_subject() -> None:
    assert DeletionRequest(customers=("C7",), hours=(DAY,)).subject == CUSTOMERS
    assert DeletionRequest(loads=("bus_1",)).subject == WITHDRAWN
    assert DeletionRequest(loads=("bus_1",), hours=(DAY,)).subject == DeletionRequest(hours=(DAY,)).subject == HOURS


def test_nobody_is_named_in_words() -> None:
    asked = DeletionRequest(customers=("C7", "C8"), hours=(DAY,))
    assert asked.in_words() == "2 customers in 2013-03-06T00:00:00 to 2013-03-07T00:00:00"
    assert DeletionRequest(customers=("C7",)).in_words() == "1 customer"
    assert DeletionRequest(loads=("bus_1",)).in_words() == "bus_1"
    assert DeletionRequest(loads=("bus_1",), hours=(DAY,)).in_words().startswith("measurements of bus_1 in")
    assert DeletionRequest(hours=(DAY,)).in_words().startswith("all loads in")


ranges = st.lists(
    st.tuples(st.integers(0, 1370), st.integers(1, 60)).map(lambda own: (own[0], own[0] + own[1])),
    min_size=1,
    max_size=6,
)


@given(found=ranges, order=st.randoms())
def test_ranges_are_the_hours_that_are_in_any_of_them(found: list[tuple[int, int]], order: Any) -> None:
    pairs = [(HOURS_OF_2013[low], HOURS_OF_2013[high]) for low, high in found]
    asked = DeletionRequest(hours=tuple(pairs))
    expected = sorted({row for low, high in found for row in range(low, high)})
    assert asked.rows(HOURS_OF_2013).tolist() == expected
    order.shuffle(pairs)
    texts = tuple((start.isoformat(), str(end)) for start, end in pairs)
    other = DeletionRequest(hours=texts)
    assert other == asked
    assert other.hashes(KEY) == asked.hashes(KEY)
    assert DeletionRequest.flagged(HOURS_OF_2013[expected]) == asked
    # In order, and apart by an hour at least.
    ends = [pd.Timestamp(own) for pair in asked.hours for own in pair]
    assert ends == sorted(set(ends))


@given(
    customers=st.lists(st.text(min_size=1), unique=True, max_size=4),
    hours=st.booleans(),
    case=st.sampled_from([("leaves", None), ("objects", None), ("objects", "class_mean"), ("objects", "rescale")]),
    data=st.none() | st.text(max_size=5),
)
def test_it_comes_back_from_json(
    customers: list[str], hours: bool, case: tuple[str, str | None], data: str | None
) -> None:
    if not customers:
        asked = DeletionRequest(loads=("a", "b"), hours=(DAY,) if hours else (), data=data)
    else:
        asked = DeletionRequest(tuple(customers), (), (DAY,) if hours else (), case[0], case[1], data)
    back = DeletionRequest.from_dict(json.loads(json.dumps(asked.to_dict())))
    assert back.to_dict() == asked.to_dict()
    assert back.hashes(KEY) == asked.hashes(KEY)
    assert set(back.customers) == set(asked.customers)


def test_hashes_tell_nothing_without_the_key() -> None:
    asked = DeletionRequest(customers=("C7", "C8"))
    assert asked.hashes(KEY) == DeletionRequest(customers=("C8", "C7")).hashes(KEY)
    assert not set(asked.hashes(KEY)) & set(asked.hashes(RegistryKey(bytes(32))))
    # Of a customer in some hours it is another one, and so is a load of that name.
    others = [
        DeletionRequest(customers=("C7",), hours=(DAY,)),
        DeletionRequest(loads=("C7",)),
        DeletionRequest(customers=("C7" + DAY[0],)),
    ]
    found = [own for request in (asked, *others) for own in request.hashes(KEY)]
    assert len(set(found)) == len(found) == 5


def test_what_is_changed_in_the_data() -> None:
    now = raw(2, n_days=15)
    kept = now.data()
    for asked in (
        DeletionRequest(customers=(NAME.format(3),)),
        DeletionRequest(customers=(NAME.format(3),), case="objects"),
        DeletionRequest(loads=LOADS[1:2]),
        DeletionRequest(loads=LOADS[:1], hours=(("2013-03-16", "2013-03-17"),)),
        DeletionRequest(hours=(("2013-03-16", "2013-03-17"),)),
    ):
        assert holds(asked, kept.dataset)
        expected = raw(2, n_days=15)
        expected.changed(asked)
        change, after = changed(asked, kept)
        assert change.before is kept.dataset
        assert change.after is after.dataset
        np.testing.assert_allclose(
            after.dataset.load_mw[now.train()], expected.load_mw()[now.train()][:, expected.left], rtol=1e-14
        )
        np.testing.assert_array_equal(after.left_out, expected.blank[:, expected.left])
        np.testing.assert_array_equal(change.left_out, after.left_out)
    for asked in (
        DeletionRequest(customers=("C7",)),
        DeletionRequest(loads=("bus_9",)),
        DeletionRequest(hours=(("2012-01-01", "2012-01-02"),)),
        DeletionRequest(customers=(NAME.format(3),), hours=(("2012-01-01", "2012-01-02"),)),
    ):
        assert not holds(asked, kept.dataset)
