"""ECOD: how far each hour of a window lies in the tails of that hour of the training windows.

Li et al., "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions", TKDE 2022: a
window's score is the largest of three sums over its hours, of `−log F` (left tails), of `−log F̄` (right tails), and
of the tail that each hour's skewness names. The distributions are those of the training windows alone. PyOD differs
in both: it takes the largest of the three in each hour and adds these up, and it ranks new windows among themselves
too, so that a score depends on what else is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray, short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.windows import Windows


@short_repr
@dataclass(frozen=True, eq=False)
class EcodDetector:
    """Scores a window as the paper does, and an hour by its dimensional score `max(−log F(x), −log F̄(x))`.

    Attributes:
        ordered: training readings of each hour of a window, sorted, shape (W, N).
        skewness: sign of each hour's skewness, shape (W,); 0 counts as skewed to the right, as in the paper.
    """

    ordered: FloatArray
    skewness: FloatArray
    name: str = "ecod"

    def score(self, windows: Windows) -> WindowScores:
        left, right = np.empty(windows.values.shape), np.empty(windows.values.shape)
        n = self.ordered.shape[1]
        for w, known in enumerate(self.ordered):
            x = windows.values[:, w].astype(np.float64)
            # A reading beyond all of training counts as the outermost one.
            left[:, w] = -np.log(np.maximum(np.searchsorted(known, x, side="right"), 1) / n)
            right[:, w] = -np.log(np.maximum(n - np.searchsorted(known, x, side="left"), 1) / n)
        by_skewness = np.where(self.skewness < 0, left, right)
        sums = [part.sum(axis=1) for part in (left, right, by_skewness)]
        return WindowScores(np.max(sums, axis=0), np.maximum(left, right))

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {"ordered": self.ordered, "skewness": self.skewness}


def fit_ecod(windows: Windows) -> EcodDetector:
    """Fit to normal windows of training buildings."""
    values = windows.values.astype(np.float64)
    skewness = np.sign(((values - values.mean(axis=0)) ** 3).mean(axis=0))
    # Without spread there is none, but for rounding.
    return EcodDetector(np.sort(values, axis=0).T.copy(), np.where(np.ptp(values, axis=0) > 0, skewness, 0.0))
