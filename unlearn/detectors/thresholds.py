"""Thresholds, chosen on validation scores. A row is flagged where `score >= threshold`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import as_floats, require_choice, require_finite
from unlearn.detectors.metrics import Ranking
from unlearn.errors import InputError

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
