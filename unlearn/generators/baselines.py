"""Generators that copy too much or know too little: what a real generator is measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.errors import InputError
from unlearn.households.profiles import DailyProfiles, EnergyArray

#: Fewer rows than this give a label cell no mean and deviation of its own.
MIN_CELL_ROWS = 30


def resampled(train: DailyProfiles, n: int, seed: int = 0) -> DailyProfiles:
    """Copy training profiles drawn with replacement: perfect fidelity, no privacy.

    Args:
        train: profiles to draw from.
        n: profiles to return.
        seed: of the draw.

    Returns:
        n profiles with their labels.

    Raises:
        InputError: no training profiles, or n below 1.
    """
    rows = _drawn_rows(train, n, np.random.default_rng(seed))
    return _release("resampled", train, rows, train.kwh[rows])


def shuffled_hours(train: DailyProfiles, n: int, seed: int = 0) -> DailyProfiles:
    """Permute the steps of each drawn training profile: the right level at the wrong times.

    Args, returns and errors are those of `resampled`.
    """
    random = np.random.default_rng(seed)
    rows = _drawn_rows(train, n, random)
    return _release("shuffled hours", train, rows, random.permuted(train.kwh[rows], axis=1))


def independent_gaussian(train: DailyProfiles, n: int, seed: int = 0) -> DailyProfiles:
    """Draw each step by itself from a normal distribution, clipped at 0.

    Mean and standard deviation are those of the step among training profiles of the same month, day of the week and
    segment, or among all of them where that cell has fewer than `MIN_CELL_ROWS`. Labels are drawn from training
    profiles. Args, returns and errors are those of `resampled`.
    """
    random = np.random.default_rng(seed)
    rows = _drawn_rows(train, n, random)
    cell, mean, deviation = _moments_by_cell(train)
    drawn = mean[cell[rows]] + deviation[cell[rows]] * random.standard_normal((n, train.n_steps))
    return _release("independent Gaussian", train, rows, np.maximum(drawn, 0.0).astype(np.float32))


def _drawn_rows(train: DailyProfiles, n: int, random: np.random.Generator) -> IntArray:
    require_count("n", n)
    if not len(train):
        raise InputError(f"train: expected profiles to draw from, got none in {train.name}.")
    return random.integers(len(train), size=n)


def _release(name: str, train: DailyProfiles, rows: IntArray, kwh: EnergyArray) -> DailyProfiles:
    labels = (train.month[rows], train.day_of_week[rows], train.segment[rows])
    return DailyProfiles(name, kwh, *labels, train.segments)


def _moments_by_cell(train: DailyProfiles) -> tuple[IntArray, FloatArray, FloatArray]:
    """The label cell of each profile, shape (N,), and mean and deviation in kWh of each cell, shape (cells, S)."""
    code = np.ravel_multi_index(
        (train.month - 1, train.day_of_week, train.segment), (12, 7, max(len(train.segments), 1))
    )
    _, cell, count = np.unique(code, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    energy = train.kwh.astype(np.float64)
    ordered = energy[np.argsort(cell, kind="stable")]
    mean = np.add.reduceat(ordered, starts) / count[:, None]
    # Two passes: the difference of squares would lose digits.
    centred = ordered - np.repeat(mean, count, axis=0)
    deviation = np.sqrt(np.add.reduceat(centred**2, starts) / count[:, None])
    sparse = count < MIN_CELL_ROWS
    mean[sparse], deviation[sparse] = energy.mean(axis=0), energy.std(axis=0)
    return cell, mean, deviation


#: By the names that configurations call them: `baseline(train, n, seed)`.
BASELINES: dict[str, Callable[[DailyProfiles, int, int], DailyProfiles]] = {
    "resampled": resampled,
    "shuffled_hours": shuffled_hours,
    "independent_gaussian": independent_gaussian,
}
