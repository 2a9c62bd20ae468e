"""Quantiles of households by private choices among public numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_choice, require_fraction
from unlearn.households.meters import RESOLUTION_KWH
from unlearn.privacy.release.base import Asked, Contribution, Noisy, Query, Sensitivity, View
from unlearn.privacy.release.queries import Histogram, public_numbers

_MEASURES = ("total", "mean_day", "peak")


@dataclass(frozen=True)
class Quantile(Query):
    """A quantile of the households of each group: half of them are below the median.

    The candidates cut the line into intervals. Three of them are chosen, each at a third of the cost: the one that
    holds the rank of the quantile, one below it and one above it. An interval's score is minus the number of households
    that its ranks are away from the rank that is looked for, 0 for the interval that holds it; the choice is OpenDP's
    noisy maximum. The value is the middle of the first interval.

    A chosen interval is more than s log(m / β) short of the best score, which is 0, with a chance below β, with s the
    scale of the choice and m the number of intervals. So the other two are looked for that many ranks below and above
    the quantile's: the lower end of the one and the upper end of the other enclose the quantile. Beyond the candidates
    the ends are 0 and what a household can have at most, which is public.

    Attributes:
        candidates_kwh: public numbers, rising, chosen without looking at the data.
        q: share of households below, in (0, 1), to three digits.
        of: what of a household: "total", "mean_day" or "peak".
    """

    plain: ClassVar[bool] = False
    candidates_kwh: tuple[float, ...] = ()
    q: float = 0.5
    of: str = "mean_day"
    name: str = field(default="quantile", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=RESOLUTION_KWH, init=False)

    def __post_init__(self) -> None:
        require_fraction("q", self.q)
        require_choice("of", self.of, _MEASURES)
        object.__setattr__(self, "candidates_kwh", public_numbers("candidates_kwh", self.candidates_kwh, "quantile"))

    @property
    def share(self) -> Fraction:
        """q as a fraction of small whole numbers, by which scores are whole."""
        return max(Fraction(1, 1000), min(Fraction(999, 1000), Fraction(str(self.q)).limit_denominator(1000)))

    def cells(self, view: View) -> pd.DataFrame:
        return pd.DataFrame({"group": list(view.groups), "q": self.q})

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        """Households between candidates, of each group."""
        return Histogram(self.candidates_kwh, self.of).summed(steps, group, view)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """Of scores, in households times the denominator of q: each is moved by linf at most.

        With n households of which L are below a candidate, and q = a / b, the score is made of b L - a n. One more
        household adds b - a or -a to it. One that has only changed adds b or -b, or nothing.
        """
        below, whole = self.share.numerator, self.share.denominator
        most = max(below, whole - below) if contribution.level == "household" else whole
        n = len(self.candidates_kwh) + 1
        return Sensitivity(n * most, math.isqrt(n * most**2) + 1, most)

    def answered(self, totals: IntArray, asked: Asked) -> Noisy:
        linf, n_bins = self.sensitivity(asked.contribution, asked.view).linf, len(self.candidates_kwh) + 1
        scale = asked.selection_scale(linf, 1 / 3)
        # Each of the two outer choices fails with at most half of the chance.
        away = math.ceil(scale * math.log(2 * n_bins / (1 - asked.confidence))) + 1
        ends = np.array([0.0, *self.candidates_kwh, self._most(asked.contribution, asked.view)])
        ends[-1] = max(ends[-1], ends[-2])
        chosen = np.array(
            [
                [asked.selected(self.scores(counts, shift), linf, 1 / 3) for shift in (0, -away, away)]
                for counts in totals.reshape(-1, n_bins)
            ]
        )
        low, high = ends[chosen[:, 1]], ends[chosen[:, 2] + 1]
        low, high = np.minimum(low, high), np.maximum(low, high)
        values = np.clip((ends[chosen[:, 0]] + ends[chosen[:, 0] + 1]) / 2, low, high)
        return Noisy(values, low, high, "noisy_max", scale / self.share.denominator)

    def scores(self, counts: IntArray, shift: int) -> IntArray:
        """Score of each interval for a rank, shape (m,).

        Args:
            counts: households in each interval, shape (m,).
            shift: how far the rank is above the quantile's, in households times the denominator of q.
        """
        below, whole = self.share.numerator, self.share.denominator
        rank = whole * np.concatenate([[0], np.cumsum(counts)]) - below * int(counts.sum()) - shift
        # What lies below all candidates, or above, holds all ranks beyond.
        over, under = rank[:-1].copy(), -rank[1:]
        over[0] = under[-1] = 0
        return -np.maximum(0, np.maximum(over, under))

    def _most(self, contribution: Contribution, view: View) -> float:
        hours = int(np.bincount(view.day).max())
        hour = min(contribution.steps_per_hour, contribution.steps_per_day)
        day = min(contribution.steps_per_day, contribution.steps_per_hour * hours)
        return {"peak": hour, "mean_day": day, "total": day * view.n_days}[self.of] * RESOLUTION_KWH
