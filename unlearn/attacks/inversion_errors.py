"""How close rows that an attacker found are to the true ones, next to what he would guess without any update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from unlearn.attacks.inversion_prior import public_rows
from unlearn.attacks.member_update import WindowShapes
from unlearn.checks import FloatArray, IntArray, as_floats
from unlearn.errors import InputError

#: Windows and their targets, shapes (n, *window) and (n, *target).
Rows = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True, eq=False)
class InversionError:
    """Errors of found rows, each against the true row that it was matched with.

    Attributes:
        match: found row of each true one, shape (n,).
        windows: root mean squared error over root mean squared load of each true window, shape (n,).
        targets: the same of the targets, shape (n,).
        smape: symmetric mean absolute percentage error of window and target, 0 to 2, shape (n,).
        correlation: of each true row with the found one over its hours, 0 where one does not vary, shape (n,).
        guesses: mean relative error of windows and targets by name of a guess; see `inversion_error`.
    """

    match: IntArray
    windows: FloatArray
    targets: FloatArray
    smape: FloatArray
    correlation: FloatArray
    guesses: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def better_than(self, guess: str = "mean") -> tuple[float, float]:
        """Share of a guess's error that the attack removes, of windows and targets; 1 is exact, 0 or less no better.

        Raises:
            InputError: no guess of that name.
        """
        if guess not in self.guesses:
            raise InputError(f"guess: expected one of {', '.join(sorted(self.guesses))}; got {guess!r}.")
        window, target = self.guesses[guess]
        return 1 - float(self.windows.mean()) / window, 1 - float(self.targets.mean()) / target


def inversion_error(found: Rows, truth: Rows, baselines: Mapping[str, Rows] | None = None) -> InversionError:
    """Measure found rows against the true ones, in the order that fits best.

    An update does not depend on the order of rows. The match is the one with the least sum of squared errors over
    windows and targets (Hungarian method). Guesses are matched in the same way.

    >>> windows, targets = np.arange(8.0).reshape(2, 2, 2), np.ones((2, 2))
    >>> inversion_error((windows[::-1], targets[::-1]), (windows, targets)).match.tolist()
    [1, 0]

    Args:
        found: windows and targets, shapes (n, *window) and (n, *target).
        truth: of the same shapes.
        baselines: guesses of the same shapes by name; see `guesses_from`.

    Raises:
        InputError: other shapes, NaN.
    """
    true_windows, true_targets = as_floats("truth windows", truth[0]), as_floats("truth targets", truth[1])
    if min(true_windows.ndim, true_targets.ndim) < 2 or len(true_windows) < 1:
        raise InputError(f"truth: expected rows of windows and targets, got shape {true_windows.shape}.")
    shapes = WindowShapes(len(true_windows), true_windows.shape[1:], true_targets.shape[1:])
    true = public_rows(true_windows, true_targets, shapes, "truth")
    match, rows = _matched(found, true, shapes, "found")
    errors = _relative(rows, true, shapes)
    size = np.abs(rows) + np.abs(true)
    smape = (2 * np.abs(rows - true) / np.where(size > 0, size, 1.0)).mean(axis=1)
    guesses = {}
    for name, rows_guessed in (baselines or {}).items():
        window, target = _relative(_matched(rows_guessed, true, shapes, name)[1], true, shapes)
        guesses[name] = (float(window.mean()), float(target.mean()))
    return InversionError(match, *errors, smape, _correlation(rows, true), guesses)


def guesses_from(public: Rows, truth: Rows, seed: int = 0) -> dict[str, Rows]:
    """What may be guessed of true rows without an update.

    "mean" is the mean public row, which any attacker can take. "random" draws public rows. Two are yardsticks, for they
    look at the truth: "lookalike" is the public row nearest to each true one; "persistence" repeats each true row's day
    before, with the last axis of windows as days, and knows the first day.

    Args:
        public: windows and targets of other households, shapes (R, *window) and (R, *target).
        truth: shapes (n, *window) and (n, *target).
        seed: of the random rows.

    Raises:
        InputError: other shapes, NaN.
    """
    windows, targets = as_floats("truth windows", truth[0]), as_floats("truth targets", truth[1])
    shapes = WindowShapes(max(1, len(windows)), windows.shape[1:], targets.shape[1:])
    others, true = public_rows(*public, shapes), public_rows(windows, targets, shapes, "truth")
    mean = np.broadcast_to(others.mean(axis=0), true.shape)
    drawn = others[np.random.default_rng(seed).integers(len(others), size=len(true))]
    nearest = others[_squared(others, true).argmin(axis=0)]
    guesses = {name: _rows(rows, shapes) for name, rows in (("mean", mean), ("random", drawn), ("lookalike", nearest))}
    if shapes.target == shapes.window[:-1]:
        before = np.concatenate([windows[..., :1], windows[..., :-1]], axis=-1)
        guesses["persistence"] = (before, windows[..., -1])
    return guesses


def _rows(rows: FloatArray, shapes: WindowShapes) -> Rows:
    inputs, outputs = np.split(rows, [shapes.n_window], axis=1)
    return inputs.reshape(len(rows), *shapes.window), outputs.reshape(len(rows), *shapes.target)


def _matched(found: Rows, true: FloatArray, shapes: WindowShapes, name: str) -> tuple[IntArray, FloatArray]:
    rows = public_rows(*found, shapes, name)
    if len(rows) != len(true):
        raise InputError(f"{name}: expected {len(true)} rows, one for each true one, got {len(rows)}.")
    which, order = linear_sum_assignment(_squared(rows, true))
    match = which[np.argsort(order)]
    return match, rows[match]


def _squared(rows: FloatArray, true: FloatArray) -> FloatArray:
    squared = (rows**2).sum(axis=1)[:, None] + (true**2).sum(axis=1) - 2 * rows @ true.T
    return np.asarray(np.maximum(squared, 0.0))


def _relative(rows: FloatArray, true: FloatArray, shapes: WindowShapes) -> tuple[FloatArray, FloatArray]:
    parts = []
    for part in (slice(None, shapes.n_window), slice(shapes.n_window, None)):
        size = np.linalg.norm(true[:, part], axis=1)
        # A window without any load has no size to relate to: it counts as one of the mean size of all.
        size = np.where(size > 0, size, size.mean() or 1.0)
        parts.append(np.linalg.norm(rows[:, part] - true[:, part], axis=1) / size)
    return parts[0], parts[1]


def _correlation(rows: FloatArray, true: FloatArray) -> FloatArray:
    a, b = (side - side.mean(axis=1, keepdims=True) for side in (rows, true))
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(norm > 0, norm, 1.0))
