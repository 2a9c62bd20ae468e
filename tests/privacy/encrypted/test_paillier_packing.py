"""Packed readings: sums in slots are those of whole numbers, at every bound, and nothing runs over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.paillier_packing import Packing, require_weights


@given(
    st.integers(-(10**6), 10**6),
    st.integers(1, 10**6),
    st.integers(1, 30),
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=5),
)
def test_sums_of_packed_readings_are_the_sums(low: int, span: int, spare: int, shares: list[list[float]]) -> None:
    slots = min(map(len, shares))
    rows = np.array([[low + round(share * span) for share in row[:slots]] for row in shares])
    packing = Packing(low, low + span, len(rows) + spare - 1, slots)
    total = sum(packing.packed(row) for row in rows)
    assert packing.unpacked(total, len(rows)) == rows.sum(axis=0).tolist()


@pytest.mark.parametrize("reading", [-7, 9])
def test_slots_hold_the_worst_case_exactly(reading: int) -> None:
    packing = Packing(-7, 9, 1000, 24)
    total = 1000 * packing.packed(np.full(24, reading))
    assert packing.unpacked(total, 1000) == [1000 * reading] * 24
    with pytest.raises(ProtocolError, match="at most 1000 addends"):
        packing.unpacked(total, 1001)


def test_what_no_readings_sum_to_is_refused() -> None:
    packing = Packing(0, 10, 3, 2)
    for total in (-1, 1 << 2 * packing.slot_bits, 11):
        with pytest.raises(ProtocolError, match="sums that readings in range can have"):
            packing.unpacked(total, 1)


def test_a_packing_that_does_not_fit_is_refused() -> None:
    packing = Packing(0, 2**20 - 1, 1, 102)
    packing.require_room(2048)
    with pytest.raises(InputError, match="at most 102 slots of 20 bits"):
        Packing(0, 2**20 - 1, 1, 103).require_room(2048)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"low": 0.5}, "whole number"),
        ({"low": 5}, "above low"),
        ({"addends": 0}, "at least 1"),
        ({"slots": True}, "at least 1"),
    ],
)
def test_a_packing_that_is_none_is_refused(options: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Packing(**{"low": 0, "high": 5, "addends": 2, "slots": 2} | options)


@pytest.mark.parametrize(
    ("readings", "match"),
    [
        (np.zeros(2, int), "expected shape"),
        (np.zeros((1, 3), int), "1 to 2 slots"),
        (np.zeros((1, 2)), "whole numbers"),
        (np.array([[0, 6]]), "some outside"),
        (np.array([[-1, 0]]), "some outside"),
        (np.array([[0, 2**63]], dtype=np.uint64), "some outside"),
    ],
)
def test_readings_that_do_not_fit_are_refused_unseen(readings: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match) as refused:
        Packing(0, 5, 2, 2).require_readings(readings)
    assert str(2**63) not in str(refused.value)


@pytest.mark.parametrize("weights", [(1,), (1, -1), (0, 0), (1, 0.5), (True, 1)])
def test_weights_are_whole_and_not_negative(weights: tuple) -> None:
    with pytest.raises(InputError, match="2 whole numbers"):
        require_weights(weights, 2)


def test_bounds_and_counts_of_numpy_are_those_of_python() -> None:
    packing = Packing(np.int64(-5), np.int16(10), np.int64(7), np.int8(2))
    assert packing == Packing(-5, 10, 7, 2)
    assert packing.slot_bits == Packing(-5, 10, 7, 2).slot_bits
    with pytest.raises(InputError, match=r"within 2\^62"):
        Packing(0, 2**63, 1)


@pytest.mark.parametrize("slots", [0, 3])
def test_slots_that_a_plaintext_does_not_have_are_refused(slots: int) -> None:
    with pytest.raises(InputError, match="slots"):
        Packing(-5, 10, 7, 2).unpacked(0, 1, slots)
