"""Windows of hours: cut from one building and one unbroken run each, with the labels of their hours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import BoolArray, FloatArray, IntArray, require_count, require_shape, short_repr
from unlearn.detectors.scaling import ScaledSeries
from unlearn.errors import InputError

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


def mean_by_hour(windows: Windows, values: ArrayLike) -> FloatArray:
    """Mean over all windows that an hour lies in, shape (M, T); NaN where it lies in none.

    Args:
        windows: N windows.
        values: of each hour of each window, shape (N, W).
    """
    given = np.asarray(values, dtype=np.float64)
    require_shape("values", given, windows.values.shape)
    shape = windows.series.value.shape
    total, count = np.zeros(shape[0] * shape[1]), np.zeros(shape[0] * shape[1])
    first = windows.building * shape[1] + windows.start
    for hour in range(windows.length):
        total += np.bincount(first + hour, given[:, hour], minlength=len(total))
        count += np.bincount(first + hour, minlength=len(count))
    with np.errstate(invalid="ignore"):
        return (total / count).reshape(shape)
