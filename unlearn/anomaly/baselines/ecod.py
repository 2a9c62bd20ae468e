"""ECOD: how far each hour of a window lies in the tails of that hour of the training windows.

Li et al., "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions", TKDE 2022. PyOD's
implementation ranks new windows among themselves, too, so that a score depends on what else is scored; here the
training windows alone are the yardstick. On those, both agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.anomaly.base import WindowScores
from unlearn.anomaly.windows import Windows
from unlearn.checks import FloatArray, short_repr


@short_repr
@dataclass(frozen=True, eq=False)
class EcodDetector:
    """Scores an hour by `max(−log F(x), −log F̄(x))`, or by both tails together where the hour has no skew.

    Attributes:
        ordered: training readings of each hour of a window, sorted, shape (W, N).
        skewness: sign of each hour's skewness, shape (W,).
    """

    ordered: FloatArray
    skewness: FloatArray
    name: str = "ecod"

    def score(self, windows: Windows) -> WindowScores:
        hour = np.empty(windows.values.shape)
        n = self.ordered.shape[1]
        for w, (known, sign) in enumerate(zip(self.ordered, self.skewness, strict=True)):
            x = windows.values[:, w].astype(np.float64)
            # A reading beyond all of training counts as the outermost one.
            left = -np.log(np.maximum(np.searchsorted(known, x, side="right"), 1) / n)
            right = -np.log(np.maximum(n - np.searchsorted(known, x, side="left"), 1) / n)
            skewed = left if sign < 0 else right if sign > 0 else left + right
            hour[:, w] = np.maximum(np.maximum(left, right), skewed)
        return WindowScores(hour.sum(axis=1), hour)

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt, for a file."""
        return {"ordered": self.ordered, "skewness": self.skewness}


def fit_ecod(windows: Windows) -> EcodDetector:
    """Fit to normal windows of training buildings."""
    values = windows.values.astype(np.float64)
    return EcodDetector(np.sort(values, axis=0).T.copy(), np.sign(((values - values.mean(axis=0)) ** 3).mean(axis=0)))
