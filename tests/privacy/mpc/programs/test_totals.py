"""Totals, means and joint curves against whole numbers of Python, for random inputs and the worst ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.programs.totals import load_curve, mean, total

pytestmark = pytest.mark.extras


@settings(max_examples=proof_count(1000), deadline=None)
@given(
    st.integers(3, 6).flatmap(
        lambda n: st.lists(st.lists(st.integers(-(10**9), 10**9), min_size=4, max_size=4), min_size=n, max_size=n)
    )
)
def test_totals_are_exact(rows: list[list[int]]) -> None:
    inputs = {f"party {at}": {"values": np.array(row) / 1000} for at, row in enumerate(rows)}
    found = rehearse(total, inputs, {"step": 0.001, "largest": 10**6})["total"]
    assert found.tolist() == [float(Fraction(sum(column), 1000)) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_values_of_all_do_not_overflow(sign: int) -> None:
    inputs = {f"party {at}": {"values": np.full((2, 3), sign * 2.0**52)} for at in range(7)}
    found = rehearse(total, inputs, {"largest": 2**52})["total"]
    np.testing.assert_array_equal(found, np.full((2, 3), sign * 7 * 2.0**52))


def test_a_value_beyond_the_largest_is_refused_without_being_told() -> None:
    inputs = {name: {"values": np.array([4711.0])} for name in "abc"}
    with pytest.raises(InputError, match="at most 100 steps of 1 each") as told:
        rehearse(total, inputs, {"largest": 100})
    assert "4711" not in str(told.value)


@pytest.mark.parametrize(
    ("shapes", "message"), [([(2,), (2,)], "at least 3 parties, got 2"), ([(2,), (2,), (3,)], "values of one shape")]
)
def test_what_cannot_be_added_is_refused(shapes: list[tuple[int, ...]], message: str) -> None:
    inputs = {f"party {at}": {"values": np.ones(shape)} for at, shape in enumerate(shapes)} | {"helper": {}}
    with pytest.raises(ProtocolError, match=message):
        rehearse(total, inputs)


@pytest.mark.parametrize("public", [{"step": 0}, {"step": -1}, {"step": 5, "largest": 1}])
def test_steps_that_are_none_are_refused(public: dict) -> None:
    with pytest.raises(InputError, match="0 < step <= largest"):
        rehearse(total, {name: {"values": np.ones(1)} for name in "abc"}, public)


def test_a_mean_is_weighted_by_secret_counts() -> None:
    sums, counts = np.array([[10.0, 20.0], [1.0, 3.0], [4.0, 1.0]]), [5, 1, 4]
    inputs = {f"{at}": {"values": sums[at], "counts": np.array([counts[at]])} for at in range(3)}
    found = rehearse(mean, inputs)
    np.testing.assert_array_equal(found["mean"], sums.sum(axis=0) / 10)
    assert found["count"] == 10
    plain = rehearse(mean, {key: {"values": value["values"]} for key, value in inputs.items()})
    np.testing.assert_array_equal(plain["mean"], sums.sum(axis=0) / 3)


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([1.5, 1, 1], InputError, "whole numbers from 0"),
        ([0, 0, 0], ProtocolError, "a positive count"),
        ([1, 1, None], ProtocolError, "counts of every party"),
    ],
)
def test_counts_that_are_none_are_refused(counts: list, error: type, message: str) -> None:
    inputs = {str(at): {"values": np.ones(2)} for at in range(3)}
    for at, count in enumerate(counts):
        if count is not None:
            inputs[str(at)]["counts"] = np.array([count])
    with pytest.raises(error, match=message):
        rehearse(mean, inputs)


def test_the_joint_curve_peaks_where_the_sum_does() -> None:
    curves = np.random.default_rng(3).integers(0, 10**6, size=(4, 24)) / 1000
    found = rehearse(load_curve, {str(at): {"values": one} for at, one in enumerate(curves)}, {"step": 0.001})
    np.testing.assert_allclose(found["curve"], curves.sum(axis=0), rtol=1e-15)
    assert found["peak_hour"] == curves.sum(axis=0).argmax()
    assert found["peak"] == found["curve"].max()
    with pytest.raises(ProtocolError, match="shape \\(hours,\\)"):
        rehearse(load_curve, {name: {"values": np.ones((2, 2))} for name in "abc"})


@pytest.mark.parametrize("step", [float("nan"), "x", "1/0", float("inf")])
def test_steps_that_are_no_numbers_are_refused(step: object) -> None:
    with pytest.raises(InputError, match="step, largest"):
        rehearse(total, {name: {"values": np.ones(1)} for name in "abc"}, {"step": step})


def test_curves_without_hours_and_complex_numbers_are_refused() -> None:
    with pytest.raises(ProtocolError, match="expected curves with shape"):
        rehearse(load_curve, {name: {"values": np.zeros(0)} for name in "abc"})
    with pytest.raises(InputError, match="expected finite numbers"):
        rehearse(total, {name: {"values": np.array([1j])} for name in "abc"})
