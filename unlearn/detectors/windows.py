"""Windows of readings: each building on one scale, and who is seen when.

Scales are fitted on a building's training time only; training, validation and test differ in building and in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    require_count,
    require_finite,
    require_fraction,
    require_not_negative,
    require_shape,
    short_repr,
)
from unlearn.errors import DataError, InputError

if TYPE_CHECKING:
    from unlearn.households.buildings import BuildingSeries, BuildingSplit


#: Quantiles of a building's training time that become −1 and 1, so that a spike in it does not press the rest flat.
QUANTILES = (0.01, 0.99)


class Usable(NamedTuple):
    """Which buildings can be scaled, and why the others cannot."""

    kept: BoolArray
    few_readings: BoolArray
    constant: BoolArray


@short_repr
@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """Readings of M buildings over T hours, each building on its own scale.

    Attributes:
        series: the readings in kWh, with names, hours and labels.
        value: `2 (kwh − low) / (high − low) − 1`, cut off at ± `limit`, NaN where there is no reading, shape (M, T),
            float32.
        low: of each building, kWh, shape (M,).
        high: of each building, kWh, shape (M,).
        fitted: the training time, hours that `low` and `high` were taken over, shape (T,).
        limit: where values are cut off.
    """

    series: BuildingSeries
    value: NDArray[np.float32]
    low: FloatArray
    high: FloatArray
    fitted: BoolArray
    limit: float


def training_time(series: BuildingSeries, share: float = 0.5) -> BoolArray:
    """The first share of the hours, in whole days, shape (T,)."""
    require_fraction("training_share", share)
    n_days = int(share * series.n_hours / 24)
    if n_days < 1:
        raise InputError(
            f"training_share: expected at least a day of training time, got {share:g} of {series.n_hours} hours."
        )
    return np.arange(series.n_hours) < 24 * n_days


def usable_buildings(series: BuildingSeries, fitted: BoolArray, least_hours: int = 168) -> Usable:
    """Tell which buildings have enough readings in training time, of more than one value.

    Args:
        series: readings.
        fitted: training time, shape (T,).
        least_hours: measured hours that a building must have in it.
    """
    require_count("least_hours", least_hours)
    there = series.measured & fitted
    few = there.sum(axis=1) < least_hours
    low, high = _range(series, fitted, ~few)
    constant = ~few & ~(high > low)
    return Usable(~few & ~constant, few, constant)


def scale(series: BuildingSeries, fitted: BoolArray, limit: float = 4.0) -> ScaledSeries:
    """Scale each building by quantiles of its own readings in training time; no other hour or building matters.

    Args:
        series: readings.
        fitted: training time, shape (T,).
        limit: scaled values beyond ± this are cut off, for a spike of a thousand times the normal use is no more
            anomalous than one of ten times.

    Raises:
        DataError: a building without two different readings in training time; see `usable_buildings`.
        InputError: a mask of another shape, or a limit not above 1.
    """
    require_shape("training time", fitted, (series.n_hours,))
    if not limit > 1:
        raise InputError(f"limit: expected a number above 1, the scaled end of the usual range, got {limit!r}.")
    low, high = _range(series, fitted, np.asarray((series.measured & fitted).any(axis=1)))
    flat = ~(high > low)
    if flat.any():
        name = series.buildings[int(np.argmax(flat))]
        raise DataError(
            f"{series.name}: expected readings of more than one value in training time, got none in {int(flat.sum())} "
            f"buildings, such as {name}. Leave them out with take(usable_buildings(...).kept)."
        )
    span = (high - low)[:, None]
    value = (2 * (series.kwh - low[:, None]) / span - 1).clip(-limit, limit)
    return ScaledSeries(series, value.astype(np.float32), low, high, fitted, limit)


def _range(series: BuildingSeries, fitted: BoolArray, asked: BoolArray) -> tuple[FloatArray, FloatArray]:
    seen = np.where(series.measured, series.kwh, np.nan)[:, fitted]
    found = np.full((2, len(series)), np.nan)
    if asked.any():
        found[:, asked] = np.nanquantile(seen[asked], QUANTILES, axis=1)
    return found[0], found[1]


#: Hours of a window, as published.
LENGTH = 60


@short_repr
@dataclass(frozen=True, eq=False)
class Windows:
    """N windows of W hours.

    Attributes:
        values: scaled readings, float32, shape (N, W).
        building: position in the series, shape (N,).
        start: position of a window's first hour in the series, shape (N,).
        hour_labels: whether each hour is anomalous, shape (N, W); None where the series has no labels.
        series: what they were cut from. Detectors may look at earlier hours of the same building there, never at
            labels.
    """

    values: NDArray[np.float32]
    building: IntArray
    start: IntArray
    hour_labels: BoolArray | None
    series: ScaledSeries

    def __len__(self) -> int:
        return len(self.values)

    @property
    def length(self) -> int:
        """Hours of a window, W."""
        return self.values.shape[1]

    @property
    def label(self) -> BoolArray:
        """Whether any hour of a window is anomalous, shape (N,).

        Raises:
            InputError: a series without labels.
        """
        if self.hour_labels is None:
            raise InputError(f"{self.series.series.name}: expected labels of the hours, got readings without any.")
        return np.asarray(self.hour_labels.any(axis=1))

    @property
    def hours(self) -> IntArray:
        """Position of each hour in the series, shape (N, W)."""
        return self.start[:, None] + np.arange(self.length)

    def take(self, rows: ArrayLike) -> Windows:
        """Keep some windows, by position or mask."""
        chosen = np.asarray(rows)
        return replace(
            self,
            values=self.values[chosen],
            building=self.building[chosen],
            start=self.start[chosen],
            hour_labels=None if self.hour_labels is None else self.hour_labels[chosen],
        )

    def normal(self) -> Windows:
        """Those without an anomalous hour; all where nothing is labelled."""
        return self if self.hour_labels is None else self.take(~self.label)

    def normal_values(self) -> NDArray[np.float32]:
        """A copy of the values, to train on, shape (N, W).

        Raises:
            InputError: labelled windows among them, fewer than two, or readings missing.
        """
        if len(self) < 2:
            raise InputError(f"windows: expected at least 2 to train on, got {len(self)}.")
        if self.hour_labels is not None and self.label.any():
            raise InputError(
                f"windows: expected normal ones to train on, got {int(self.label.sum())} of {len(self)} with an "
                "anomalous hour. Pass windows.normal()."
            )
        require_finite("windows", self.values)
        return np.array(self.values, dtype=np.float32)

    def mean_by_hour(self, values: ArrayLike) -> FloatArray:
        """Mean over all windows that an hour lies in, shape (M, T); NaN where it lies in none.

        Args:
            values: of each hour of each window, shape (N, W).
        """
        given = np.asarray(values, dtype=np.float64)
        require_shape("values", given, self.values.shape)
        shape = self.series.value.shape
        total, count = np.zeros(shape[0] * shape[1]), np.zeros(shape[0] * shape[1])
        first = self.building * shape[1] + self.start
        for hour in range(self.length):
            total += np.bincount(first + hour, given[:, hour], minlength=len(total))
            count += np.bincount(first + hour, minlength=len(count))
        with np.errstate(invalid="ignore"):
            return (total / count).reshape(shape)

    def covered_hours(self) -> BoolArray:
        """Hours that lie in any of the windows, shape (M, T)."""
        m, t = self.series.value.shape
        # One up where a window begins, one down after it ends; the running sum counts the windows over each hour.
        step = np.zeros((m, t + 1), dtype=np.int64)
        np.add.at(step, (self.building, self.start), 1)
        np.add.at(step, (self.building, self.start + self.length), -1)
        return np.asarray(step.cumsum(axis=1)[:, :t] > 0)


def cut_windows(
    scaled: ScaledSeries,
    length: int = LENGTH,
    stride: int = 1,
    within: BoolArray | None = None,
    buildings: ArrayLike | None = None,
) -> Windows:
    """Cut windows from every unbroken run of readings of every building.

    A run begins after a gap or where `within` begins. Windows start at its first hour and every `stride` hours after;
    one more ends with the run, so that every hour of a run of at least `length` hours lies in a window where `stride`
    is at most `length`.

    Args:
        scaled: scaled readings.
        length: hours of a window.
        stride: hours between the starts of windows.
        within: hours that windows may contain, shape (T,); None allows all.
        buildings: positions of the buildings to cut from; None takes all.

    Raises:
        InputError: no window fits.
    """
    require_count("length", length)
    require_count("stride", stride)
    m, t = scaled.value.shape
    there = np.isfinite(scaled.value)
    if within is not None:
        require_shape("within", within, (t,))
        there &= within
    if buildings is not None:
        chosen = np.zeros(m, dtype=bool)
        chosen[np.asarray(buildings)] = True
        there &= chosen[:, None]
    if t < length:
        raise InputError(f"windows: expected at least {length} hours, got {t}.")
    at = np.arange(t)
    # The run of each hour: the position after the last gap before it, and that of the first gap after it.
    begin = np.maximum.accumulate(np.where(there, 0, at + 1), axis=1)
    end = np.minimum.accumulate(np.where(there, t, at)[:, ::-1], axis=1)[:, ::-1]
    fits = there & (at + length <= end)
    starts = fits & (((at - begin) % stride == 0) | (at + length == end))
    building, start = np.nonzero(starts)
    if not len(start):
        raise InputError(
            f"{scaled.series.name}: expected readings of {length} hours in a row, got none in "
            f"{int(there.any(axis=1).sum())} buildings. Fill short gaps, or take shorter windows."
        )
    view = sliding_window_view(scaled.value, length, axis=1)
    labels = scaled.series.anomaly
    return Windows(
        values=view[building, start],
        building=building.astype(np.int64),
        start=start.astype(np.int64),
        hour_labels=None if labels is None else sliding_window_view(labels, length, axis=1)[building, start],
        series=scaled,
    )


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
    from unlearn.households.buildings import fill_gaps, split_buildings

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
