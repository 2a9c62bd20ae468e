"""Validators: what each one lets pass and what it refuses, by message."""

import numpy as np
import pytest

from unlearn import checks, errors
from unlearn.errors import InputError, UnlearnError


def test_every_error_is_an_unlearn_error_and_the_builtin_one_expects():
    for name, builtin in {
        "InputError": ValueError, "DataError": ValueError, "MismatchError": ValueError, "SolverError": RuntimeError,
        "ConvergenceError": RuntimeError, "SingularHessianError": RuntimeError, "DownloadError": OSError,
    }.items():  # fmt: skip
        assert issubclass(getattr(errors, name), UnlearnError)
        assert issubclass(getattr(errors, name), builtin)


def test_as_floats_returns_float64():
    array = checks.as_floats("x", [[1, 2], [3, 4]], ndim=2)
    assert array.dtype == np.float64
    assert array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("value", [["a"], object(), [[1], [2, 3]]])
def test_as_floats_refuses_what_is_no_number(value):
    with pytest.raises(InputError, match="x: expected numbers, got"):
        checks.as_floats("x", value)


def test_as_floats_refuses_the_wrong_rank():
    with pytest.raises(InputError, match=r"x: expected 2 axes, got 1 \(shape \(3,\)\)"):
        checks.as_floats("x", [1, 2, 3], ndim=2)


def test_require_shape_lets_any_length_stand_for_none():
    checks.require_shape("x", np.zeros((5, 2)), (None, 2))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (4, 2)])
def test_require_shape_names_both_shapes(shape):
    with pytest.raises(InputError, match=r"x: expected shape \(any, 5\), got \("):
        checks.require_shape("x", np.zeros(shape), (None, 5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_require_finite_names_the_first_place_and_the_count(value):
    array = np.zeros((3, 4))
    array[1, 2] = array[2, 0] = value
    with pytest.raises(InputError, match=r"x: expected finite values, got 2 NaN or infinite, first at \(1, 2\)"):
        checks.require_finite("x", array)
    checks.require_finite("x", np.zeros(3))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "many", None, True])
def test_require_positive_refuses(value):
    with pytest.raises(InputError, match="x: expected a number above 0, got"):
        checks.require_positive("x", value)


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "many", None])
def test_require_not_negative_refuses(value):
    with pytest.raises(InputError, match="x: expected a number of at least 0, got"):
        checks.require_not_negative("x", value)


@pytest.mark.parametrize("value", [0, 1, -0.5, 2, float("nan"), "half", None])
def test_require_fraction_refuses(value):
    with pytest.raises(InputError, match="x: expected a share between 0 and 1"):
        checks.require_fraction("x", value)


def test_numbers_of_any_kind_pass():
    assert checks.require_positive("x", np.float32(2)) == 2.0
    assert checks.require_not_negative("x", np.int64(0)) == 0.0
    assert checks.require_fraction("x", 0.25) == 0.25


def test_require_choice_lists_the_choices():
    assert checks.require_choice("x", "b", ("b", "a")) == "b"
    with pytest.raises(InputError, match="x: expected one of a, b; got 'c'"):
        checks.require_choice("x", "c", ("b", "a"))


@pytest.mark.parametrize("rows", [[4, 1, 2], range(3), np.array([0, 3], dtype=np.uint8), []])
def test_require_rows_returns_sorted_int64(rows):
    found = checks.require_rows("rows", rows, 5)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(rows)


def test_require_rows_accepts_a_mask():
    assert checks.require_rows("rows", [True, False, True], 3).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1]], r"expected a 1-D list of rows or a boolean mask, got shape \(1, 2\)"),
        ({0, 1}, "expected a 1-D list of rows"),
        ([True, False], r"\(boolean mask\): expected shape \(5\), got \(2,\)"),
        ([0.0, 1.0], "expected integer rows or a boolean mask, got float64"),
        (["0"], "expected integer rows"),
        ([0, 5, 7], "expected rows from 0 to 4, got 2 outside, first 5"),
        ([-1], "expected rows from 0 to 4, got 1 outside, first -1"),
        ([3, 3, 1, 1], r"expected each row once, got 2 duplicated, first 1. Pass numpy.unique\(rows\)"),
    ],
)
def test_require_rows_refuses(rows, message):
    with pytest.raises(InputError, match=f"rows.*{message}"):
        checks.require_rows("rows", rows, 5)


def test_require_count():
    assert checks.require_count("n", np.int64(3)) == 3
    for value in (0, -1, 1.0, True, "2", None):
        with pytest.raises(InputError, match="n: expected a whole number of at least 1, got"):
            checks.require_count("n", value)
