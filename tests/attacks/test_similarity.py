"""Copies: against brute force over every pair and shift, and what a limit on them does."""

import numpy as np
import pytest

from unlearn.attacks import check_copies, exact_copies, most_similar
from unlearn.errors import InputError


def days(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 0.3, (n, 24))


def test_matches_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = days(15, 0), days(20, 1)
    monkeypatch.setattr("unlearn.attacks.outliers._BLOCK", 90)
    found = most_similar(made, real, shifts=2)
    norm = np.linalg.norm(real, axis=1)
    for i, one in enumerate(made):
        every = {
            (row, shift): np.linalg.norm(one - np.roll(real[row], shift)) / norm[row]
            for row in range(20)
            for shift in range(-2, 3)
        }
        best = min(every, key=lambda key: every[key])
        assert found.distance[i] == pytest.approx(every[best], rel=1e-9)
        assert (found.row[i], found.shift[i]) == best


def test_shifted_and_noisy_copies_are_found_where_they_are_looked_for() -> None:
    real = days(50, 0)
    moved = np.roll(real[:10], 2, axis=1)
    noisy = real[10:20] * (1 + 0.02 * np.random.default_rng(1).standard_normal((10, 24)))
    made = np.concatenate([moved, noisy, days(80, 2)])
    found = most_similar(made, real, shifts=2)
    assert found.share(0.05) == 0.2
    assert found.share(0.05, shifted=False) == 0.1
    assert most_similar(made, real).share(0.05) == 0.1
    assert (found.shift[:10] == 2).all()
    np.testing.assert_array_equal(found.row[:20], np.arange(20))


def test_exact_copies_are_equal_in_every_step() -> None:
    real = days(30, 0).astype(np.float32)
    real[5] = 0
    made = np.concatenate([real[:8], real[:8] + np.float32(1e-3)])
    # A day without energy is nobody's.
    np.testing.assert_array_equal(exact_copies(made, real), [*[True] * 5, False, True, True, *[False] * 8])


def test_a_release_of_copies_fails_and_coincidences_pass() -> None:
    real, other = days(60, 0), days(60, 1)
    made = np.concatenate([real[:6], days(54, 2)])
    to_train, to_other = most_similar(made, real), most_similar(made, other)
    failed = check_copies((0.1, 0.0), to_train, to_other, 0.05, 0.02)
    assert len(failed) == 2
    assert "10.00 % of the release are exact copies of training days" in failed[0]
    assert not check_copies((0.1, 0.0), to_train, to_other, 0.05, 0.1)
    # As many copies of others: coincidence.
    assert not check_copies((0.1, 0.1), to_train, to_train, 0.05, 0.001)


def test_unusable_input_is_refused() -> None:
    made = days(4, 0)
    with pytest.raises(InputError, match="real: expected profiles with energy"):
        most_similar(made, np.zeros((2, 24)))
    with pytest.raises(InputError, match="shifts: expected 0 to less than half of the 24 steps, got 12"):
        most_similar(made, made, shifts=12)
    found = most_similar(made, made)
    with pytest.raises(InputError, match="near: expected a share"):
        check_copies((0, 0), found, found, 1.0, 0.1)
    with pytest.raises(InputError, match="max_copies"):
        check_copies((0, 0), found, found, 0.1, -1)
    with pytest.raises(InputError, match="the same release compared with both sides, got 4 and 2"):
        check_copies((0, 0), found, most_similar(made[:2], made), 0.1, 0.1)
