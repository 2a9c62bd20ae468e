"""Who is seen when: buildings to train on, to choose thresholds with, to report on; and the hours of each.

A scaler sees its own building's training time. Models see training buildings in training time. Thresholds are chosen
on validation buildings after training time, and reported on test buildings after training time. No reading of a test
building after training time can change a model, a scaler or a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import require_count, require_fraction, require_not_negative, short_repr
from unlearn.detectors.scaling import ScaledSeries, scale, training_time, usable_buildings
from unlearn.detectors.windows import LENGTH, Windows, cut_windows
from unlearn.errors import InputError
from unlearn.households.buildings.series import BuildingSeries, fill_gaps
from unlearn.households.buildings.splits import BuildingSplit, split_buildings


@dataclass(frozen=True)
class DivisionOptions:
    """How buildings and hours are divided, and windows cut.

    Attributes:
        validation: share of the buildings whose labels choose thresholds.
        test: share of the buildings that results are reported on.
        training_share: first share of the hours, which scalers and models see.
        length: hours of a window.
        training_stride: hours between the starts of windows that models are fitted on.
        scoring_stride: hours between the starts of windows that are scored, at most `length`.
        longest_gap_h: longer gaps are not filled, and no window crosses them.
        least_hours: readings of training time that a building needs.
        limit: where scaled values are cut off.
    """

    validation: float = 0.2
    test: float = 0.3
    training_share: float = 0.5
    length: int = LENGTH
    training_stride: int = 6
    scoring_stride: int = 12
    longest_gap_h: int = 3
    least_hours: int = 168
    limit: float = 4.0

    def __post_init__(self) -> None:
        for name in ("validation", "test", "training_share"):
            require_fraction(f"division.{name}", getattr(self, name))
        for name in ("length", "training_stride", "scoring_stride", "least_hours"):
            require_count(f"division.{name}", getattr(self, name))
        require_not_negative("division.longest_gap_h", self.longest_gap_h)
        if self.scoring_stride > self.length:
            raise InputError(
                f"division.scoring_stride: expected at most the {self.length} hours of a window, so that every hour is "
                f"scored, got {self.scoring_stride}."
            )
        if not self.limit > 1:
            raise InputError(
                f"division.limit: expected a number above 1, the scaled end of the usual range, got {self.limit!r}."
            )


@short_repr
@dataclass(frozen=True, eq=False)
class Division:
    """Windows of each part; all are cut from one scaled series.

    Attributes:
        scaled: readings of all buildings that can be scaled.
        split: their division.
        train: normal windows of training buildings in training time.
        validation: all windows of validation buildings after training time.
        test: all windows of test buildings after training time.
        few_readings: buildings left out for too few readings in training time.
        constant: buildings left out because nearly all readings of training time are one value: both quantiles are.
    """

    scaled: ScaledSeries
    split: BuildingSplit
    train: Windows
    validation: Windows
    test: Windows
    few_readings: int
    constant: int


def divide(series: BuildingSeries, options: DivisionOptions | None = None, seed: int = 0) -> Division:
    """Divide buildings and hours, scale, and cut windows.

    Args:
        series: readings; where they are labelled, labels of training buildings choose normal windows to train on.
        options: shares and windows.
        seed: of the division of buildings.

    Raises:
        InputError: too few buildings for the shares, no window fits into a part, or none to train on is normal.
    """
    options = options or DivisionOptions()
    fitted = training_time(series, options.training_share)
    usable = usable_buildings(series, fitted, options.least_hours)
    kept = fill_gaps(series.take(usable.kept), options.longest_gap_h)
    scaled = scale(kept, fitted, options.limit)
    split = split_buildings(len(kept), options.validation, options.test, seed)
    seen = cut_windows(scaled, options.length, options.training_stride, fitted, split.train)
    train = seen.normal()
    if not len(train):
        raise InputError(
            f"{series.name}: expected normal windows of training buildings, got {len(seen)} that are all anomalous. "
            "Take shorter windows or more training buildings."
        )
    validation, test = (
        cut_windows(scaled, options.length, options.scoring_stride, ~fitted, part)
        for part in (split.validation, split.test)
    )
    return Division(
        scaled, split, train, validation, test, int(np.sum(usable.few_readings)), int(np.sum(usable.constant))
    )
