"""From scores of hours to the score of their window: the same choices for every detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unlearn.checks import require_choice
from unlearn.detectors.base import WindowScores

#: "own" is what the detector says of the window, "mean" and "max" are taken over its hours.
REDUCTIONS = ("own", "mean", "max")


def reduced(scores: WindowScores, how: str) -> WindowScores:
    """Scores whose windows are scored by all of their hours in the same way.

    Args:
        scores: of a detector.
        how: one of `REDUCTIONS`.

    Raises:
        InputError: another way.
    """
    require_choice("reduction", how, REDUCTIONS)
    if how == "own":
        return scores
    return replace(scores, window=scores.hour.mean(axis=1) if how == "mean" else scores.hour.max(axis=1))


def reductions_of(scores: WindowScores) -> tuple[str, ...]:
    """Ways that make a difference: only "own" where every hour repeats its window's score."""
    return REDUCTIONS if np.ptp(scores.hour, axis=1).any() else REDUCTIONS[:1]
