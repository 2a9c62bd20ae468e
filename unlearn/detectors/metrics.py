"""What scores are worth: thresholds chosen on validation scores, rankings, confusion at a threshold, events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_count,
    require_finite,
    require_shape,
    short_repr,
)
from unlearn.errors import InputError

#: Labelled hours of one building and kind that are no further apart belong to one event: a bypass at night has days
#: between its nights.
JOIN_H = 24


@short_repr
@dataclass(frozen=True, eq=False)
class Events:
    """E events, by building and time.

    Attributes:
        building: shape (E,).
        start: position of the first labelled hour, shape (E,).
        end: position of the last one, shape (E,).
        kind: code of the anomaly, shape (E,).
    """

    building: IntArray
    start: IntArray
    end: IntArray
    kind: IntArray

    def __len__(self) -> int:
        return len(self.start)


def find_events(building: IntArray, hour: IntArray, labels: BoolArray, kind: IntArray) -> Events:
    """Join labelled hours to events.

    Args:
        building: of each hour, shape (N,).
        hour: its position in the series, shape (N,).
        labels: whether it is anomalous, shape (N,).
        kind: what was injected, shape (N,).
    """
    who, when, what = building[labels], hour[labels], kind[labels]
    order = np.lexsort((when, what, who))
    who, when, what = who[order], when[order], what[order]
    new = np.ones(len(when), dtype=bool)
    new[1:] = (np.diff(who) != 0) | (np.diff(what) != 0) | (np.diff(when) > JOIN_H)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(when)) - 1 if len(first) else first
    return Events(who[first], when[first], when[last], what[first])


def delays_h(events: Events, building: IntArray, hour: IntArray, flagged: BoolArray) -> FloatArray:
    """Hours from the start of each event to its first flagged hour; infinite where none is flagged, shape (E,).

    Hours count in the data's time: the score of an hour may rest on windows that reach past it.

    Args:
        events: of the same buildings.
        building: of each scored hour, shape (N,).
        hour: its position in the series, shape (N,).
        flagged: shape (N,).
    """
    span = 1 + max(int(hour.max(initial=0)), int(events.end.max(initial=0)))
    keys = np.append(np.sort(building[flagged] * span + hour[flagged]), np.iinfo(np.int64).max)
    begin = events.building * span + events.start
    found = keys[np.searchsorted(keys, begin)]
    return np.where(found <= events.building * span + events.end, found - begin, np.inf).astype(np.float64)


#: What a confusion matrix gives.
AT_THRESHOLD = ("accuracy", "precision", "recall", "f1", "specificity")


@short_repr
@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of true and false positives and negatives, any shape; a ratio without a case is NaN.

    Attributes:
        tp: anomalous and flagged.
        fp: normal and flagged.
        fn: anomalous and not flagged.
        tn: normal and not flagged.
    """

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray

    @property
    def accuracy(self) -> FloatArray:
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def precision(self) -> FloatArray:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> FloatArray:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> FloatArray:
        """`2 TP / (2 TP + FP + FN)`: 0 where nothing is flagged."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def specificity(self) -> FloatArray:
        return _ratio(self.tn, self.tn + self.fp)


def confusion(labels: ArrayLike, flagged: ArrayLike, group: IntArray | None = None, n_groups: int = 1) -> Confusion:
    """Count rows of each kind, in each group.

    Args:
        labels: whether a row is anomalous, shape (N,).
        flagged: whether it is flagged, shape (N,).
        group: of each row, such as its building, from 0; None counts all together.
        n_groups: number of groups.

    Returns:
        Counts of shape (n_groups,), or scalars without groups.
    """
    is_anomalous, is_flagged = np.asarray(labels, dtype=bool), np.asarray(flagged, dtype=bool)
    require_shape("flagged", is_flagged, is_anomalous.shape)
    own = np.zeros(len(is_anomalous), dtype=np.int64) if group is None else group
    counts = np.bincount(4 * own + 2 * is_anomalous + is_flagged, minlength=4 * n_groups).reshape(n_groups, 4)
    tn, fp, fn, tp = (counts[0] if group is None else counts.T).astype(np.float64)
    return Confusion(tp, fp, fn, tn)


class Ranking:
    """Rows sorted by score; rows of the same score are flagged together.

    Args:
        labels: whether a row is anomalous, shape (N,).
        scores: the larger, the more anomalous, shape (N,).

    Attributes:
        thresholds: distinct scores, from the highest, shape (K,). At each, rows with `score >= threshold` are flagged.

    Raises:
        InputError: no row, shapes that differ, or scores that are not finite.
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike) -> None:
        values = as_floats("scores", scores, ndim=1)
        is_anomalous = np.asarray(labels, dtype=bool)
        require_shape("labels", is_anomalous, values.shape)
        require_finite("scores", values)
        if not len(values):
            raise InputError("scores: expected at least one, got none.")
        self._order = np.argsort(-values, kind="stable")
        ordered = values[self._order]
        self._last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self._labels = is_anomalous[self._order]
        self.thresholds = ordered[self._last]

    def counts(self, weights: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Flagged anomalous and flagged normal rows at each threshold, each of shape (K,).

        Args:
            weights: of the rows, shape (N,); None counts each once.
        """
        own = np.ones(len(self._order)) if weights is None else weights[self._order]
        tp = np.cumsum(np.where(self._labels, own, 0.0))[self._last]
        return tp, np.cumsum(own)[self._last] - tp

    def confusion(self) -> Confusion:
        """At each threshold, shape (K,)."""
        tp, fp = self.counts()
        return Confusion(tp, fp, tp[-1] - tp, fp[-1] - fp)

    def areas(self, weights: FloatArray | None = None) -> tuple[float, float]:
        """Areas under the ROC curve and under the precision-recall curve.

        The first is the chance that an anomalous row scores above a normal one, ties counted half; NaN without one of
        each. The second is the average precision: precision at each threshold, weighted by the recall that it adds; NaN
        without anomalies.

        Args:
            weights: of the rows, shape (N,); None counts each once.
        """
        tp, fp = self.counts(weights)
        under_roc = np.trapezoid(np.append(0.0, tp), np.append(0.0, fp))
        precision = np.where(tp > 0, tp / np.maximum(tp + fp, np.finfo(float).tiny), 0.0)
        under_pr = np.sum(np.diff(tp, prepend=0.0) * precision)
        return float(_ratio(under_roc, tp[-1] * fp[-1])), float(_ratio(under_pr, tp[-1]))

    def roc_auc(self, weights: FloatArray | None = None) -> float:
        """The first of `areas`."""
        return self.areas(weights)[0]

    def pr_auc(self, weights: FloatArray | None = None) -> float:
        """The second of `areas`."""
        return self.areas(weights)[1]


def building_draws(n_buildings: int, draws: int, seed: int = 0) -> FloatArray:
    """How often each building is in each of some redraws of all buildings, shape (draws, n_buildings)."""
    require_count("n_buildings", n_buildings)
    require_count("draws", draws)
    random = np.random.default_rng(seed)
    return random.multinomial(n_buildings, np.full(n_buildings, 1 / n_buildings), draws).astype(np.float64)


def interval(values: FloatArray) -> tuple[float, float]:
    """Middle 95 % of redrawn values, without NaN; NaN where nothing is left."""
    there = values[np.isfinite(values)]
    if not there.size:
        return np.nan, np.nan
    low, high = np.quantile(there, [0.025, 0.975])
    return float(low), float(high)


def _ratio(above: FloatArray | float, below: FloatArray | float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(above, below), dtype=np.float64)


RULES = ("percentile", "value", "best_f1")


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen.

    Attributes:
        kind: "percentile" of the normal validation scores, so that 100 − `at` % of the normal rows are flagged, or more
            where scores are equal; "value" takes `at` itself; "best_f1" takes the threshold of the highest F1 on
            validation.
        at: percentile from 0 to 100, or the value; without a meaning for "best_f1".
    """

    kind: str = "best_f1"
    at: float | None = None

    def __post_init__(self) -> None:
        require_choice("threshold.rule", self.kind, RULES)
        if self.kind == "best_f1":
            if self.at is not None:
                raise InputError(f"threshold: expected no number for the rule best_f1, got {self.at!r}.")
            return
        if isinstance(self.at, bool) or not isinstance(self.at, int | float) or not np.isfinite(self.at):
            raise InputError(f"threshold: expected a number for the rule {self.kind}, got {self.at!r}.")
        if self.kind == "percentile" and not 0 <= self.at <= 100:
            raise InputError(f"threshold: expected a percentile from 0 to 100, got {self.at!r}.")

    def __str__(self) -> str:
        return self.kind if self.at is None else f"{self.kind} {self.at:g}"


@dataclass(frozen=True)
class Threshold:
    """A threshold, and the rule that chose it."""

    value: float
    rule: ThresholdRule


def choose_threshold(scores: ArrayLike, labels: ArrayLike | None, rule: ThresholdRule) -> Threshold:
    """Choose a threshold.

    Args:
        scores: of validation rows, shape (N,); never those that are reported on.
        labels: whether each is anomalous, shape (N,); None where nothing is labelled, and all count as normal.
        rule: how.

    Raises:
        InputError: no scores, none of a normal row for a percentile, or no anomalous row for the best F1.
    """
    values = as_floats("scores", scores, ndim=1)
    require_finite("scores", values)
    anomalous = np.zeros(len(values), dtype=bool) if labels is None else np.asarray(labels, dtype=bool)
    if rule.kind == "value" and rule.at is not None:
        return Threshold(float(rule.at), rule)
    if rule.kind == "percentile" and rule.at is not None:
        normal = values[~anomalous]
        if not normal.size:
            raise InputError("threshold: expected normal validation rows for a percentile, got none.")
        return Threshold(float(np.percentile(normal, rule.at)), rule)
    if not anomalous.any():
        raise InputError(
            "threshold: expected anomalous validation rows for the best F1, got none. Choose a percentile, or validate "
            "on more buildings."
        )
    ranking = Ranking(anomalous, values)
    return Threshold(float(ranking.thresholds[np.argmax(ranking.confusion().f1)]), rule)
