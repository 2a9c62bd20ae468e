"""Errors of found rows: the match against all permutations, and guesses by hand."""

from itertools import permutations

import numpy as np
import pytest

from unlearn.attacks import guesses_from, inversion_error
from unlearn.errors import InputError


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.gamma(2.0, 1.0, (n, 4, 2)), random.gamma(2.0, 1.0, (n, 4))


@pytest.mark.parametrize("seed", range(6))
def test_the_match_is_the_best_of_all(seed: int) -> None:
    found, truth = rows(5, seed), rows(5, seed + 100)
    flat = [np.concatenate([side[0].reshape(5, -1), side[1]], axis=1) for side in (found, truth)]
    best = min(permutations(range(5)), key=lambda order: ((flat[0][list(order)] - flat[1]) ** 2).sum())
    error = inversion_error(found, truth)
    assert error.match.tolist() == list(best)
    expected = [np.linalg.norm(found[0][b] - truth[0][i]) / np.linalg.norm(truth[0][i]) for i, b in enumerate(best)]
    np.testing.assert_allclose(error.windows, expected)
    a, b = flat[0][list(best)], flat[1]
    np.testing.assert_allclose(error.correlation, [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(error.smape, (2 * np.abs(a - b) / (np.abs(a) + np.abs(b))).mean(axis=1))


def test_exact_rows_in_another_order_have_no_error() -> None:
    truth = rows(4, 0)
    error = inversion_error((truth[0][::-1], truth[1][::-1]), truth, guesses_from(rows(9, 1), truth))
    assert error.windows.max() == error.targets.max() == error.smape.max() == 0.0
    assert error.better_than("mean") == (1.0, 1.0)
    with pytest.raises(InputError, match="expected one of"):
        error.better_than("median")


def test_guesses_are_what_their_names_say() -> None:
    public, truth = rows(9, 1), rows(3, 0)
    guesses = guesses_from(public, truth)
    np.testing.assert_allclose(guesses["mean"][0], np.broadcast_to(public[0].mean(axis=0), (3, 4, 2)))
    np.testing.assert_array_equal(guesses["persistence"][1], truth[0][..., -1])
    np.testing.assert_array_equal(np.asarray(guesses["persistence"][0])[..., 1], truth[0][..., 0])
    same = guesses_from(truth, truth)["lookalike"]
    np.testing.assert_array_equal(same[0], truth[0])
    error = inversion_error(guesses["mean"], truth, guesses)
    assert error.guesses["mean"] == pytest.approx((error.windows.mean(), error.targets.mean()))
    assert "persistence" not in guesses_from((public[0], public[1][:, :2]), (truth[0], truth[1][:, :2]))


def test_a_window_without_load_has_a_finite_error() -> None:
    truth = rows(2, 0)
    truth[0][0], truth[1][0] = 0.0, 0.0
    error = inversion_error(rows(2, 1), truth)
    assert np.isfinite([*error.windows, *error.targets, *error.smape, *error.correlation]).all()


def test_rows_that_do_not_fit_are_refused() -> None:
    truth = rows(3, 0)
    for found in ((truth[0][:2], truth[1][:2]), (truth[0][:, :2], truth[1]), (truth[0] * np.nan, truth[1])):
        with pytest.raises(InputError, match="found"):
            inversion_error(found, truth)
    with pytest.raises(InputError, match="public"):
        guesses_from((np.ones((3, 2, 2)), np.ones((3, 4))), truth)
    with pytest.raises(InputError, match="truth"):
        inversion_error(truth, (np.ones(3), np.ones(3)))
