"""Features of hours: the calendar, lags of loads, which columns are distinct, and the scale of columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from unlearn.checks import FloatArray, IntArray, require_finite
from unlearn.errors import InputError


class StandardScaler(nn.Module):
    """Subtract a mean and divide by a standard deviation, elementwise over the trailing axes.

    The two are buffers, so they travel with a model's weights and never receive a gradient. A
    column that does not vary is only centred.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        if mean.shape != std.shape:
            raise InputError(f"scaler: expected mean and std of one shape, got {mean.shape} and {std.shape}.")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def fit(cls, values: FloatArray, skip: int = 0) -> StandardScaler:
        """Fit on training rows.

        Args:
            values: shape (N, ..., F); pass training rows only.
            skip: leading columns of the last axis left as they are (the calendar).
        """
        require_finite("values to scale", values)
        mean = torch.from_numpy(values.mean(axis=0))
        std = torch.from_numpy(values.std(axis=0))
        mean[..., :skip] = 0.0
        std[..., :skip] = 1.0
        # A constant column gets std 0 up to rounding of its mean.
        std[std <= 1e-12 * mean.abs()] = 1.0
        std[std == 0] = 1.0
        return cls(mean, std)

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std

    def inverse(self, scaled: Tensor) -> Tensor:
        """Undo the scaling."""
        return scaled * self.std + self.mean


CALENDAR_NAMES = ("weekday_sin", "weekday_cos", "hour_sin", "hour_cos")
#: Weather of a load in climate data sets (TX-123BT and the synthetic source), with units.
WEATHER_NAMES = (
    "temperature_k",
    "shortwave_w_m2",
    "longwave_w_m2",
    "wind_zonal_m_s",
    "wind_meridional_m_s",
    "wind_total_m_s",
)


def calendar_features(timestamps: pd.DatetimeIndex) -> FloatArray:
    """Sine and cosine of the weekday over 7 and of the hour over 24, shape (N, 4)."""
    weekday = 2 * np.pi * timestamps.day_of_week.to_numpy() / 7
    hour = 2 * np.pi * timestamps.hour.to_numpy() / 24
    return np.stack([np.sin(weekday), np.cos(weekday), np.sin(hour), np.cos(hour)], axis=1)


def stack_features(timestamps: pd.DatetimeIndex, weather: FloatArray) -> FloatArray:
    """Put the calendar in front of the weather of each load.

    Args:
        timestamps: N hours.
        weather: weather of each load's location, shape (N, B, F - 4).

    Returns:
        Features of shape (N, B, F).
    """
    n_loads = weather.shape[1]
    calendar = np.repeat(calendar_features(timestamps)[:, None, :], n_loads, axis=1)
    return np.concatenate([calendar, weather], axis=2)


#: Columns repeat each other where their correlation is that close to 1 or -1: a millionth of their variation is left.
_REPEATS = 1e-12


def distinct_columns(features: FloatArray) -> tuple[tuple[int, int], ...]:
    """Find the (load, feature) pairs whose series vary in time and are no earlier one, not in another unit either.

    The calendar repeats over loads and loads that share a weather station repeat its columns; a linear model that uses
    every copy has a singular Hessian. So has one with a temperature and its heating degrees where it never gets warm:
    they are the same but for a factor and a constant. A constant column repeats the intercept and is left out for the
    same reason.

    Args:
        features: shape (N, B, F); pass training rows only.
    """
    n_hours, n_loads, n_features = features.shape
    flat = features.reshape(n_hours, n_loads * n_features)
    varies = flat.max(axis=0) > flat.min(axis=0)
    _, first = np.unique(flat, axis=1, return_index=True)
    candidates = np.array([i for i in np.sort(first) if varies[i]], dtype=np.int64)
    scaled = _standardised(flat[:, candidates].T)
    repeats = np.triu(np.abs(scaled @ scaled.T) >= 1 - _REPEATS, k=1).any(axis=0)
    return tuple((int(i) // n_features, int(i) % n_features) for i in candidates[~repeats])


#: Hours of the piece of a feature that is looked for in the loads.
_PIECE = 24
#: Share of a series' variation up to which a fit counts as exact: the rounding of printed numbers stays below.
_EXACT = 1e-3
#: Places of a day that are tried on the whole series, those most alike first.
_TRIED = 16


@dataclass(frozen=True)
class Lag:
    """A feature that holds loads of other hours.

    Attributes:
        feature: its name.
        load: the load that it holds, at whichever loads' features it stands; None if it holds, beside each load, that
            load itself.
        hours: how many hours before; negative means after.
        made: whether it is the mean over `hours` of the load beside which it stands, in MW, so that it can be made
            again from other loads; see `Lags`.
    """

    feature: str
    load: str | None
    hours: tuple[int, ...]
    made: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        hours = [f"{abs(k)} hours {'before' if k > 0 else 'after'}" for k in self.hours[:3]]
        more = f" and {len(self.hours) - 3} more" if len(self.hours) > 3 else ""
        return f"{self.feature} holds {self.load or 'loads'} of {', '.join(hours)}{more}"


def as_declared(lags: Mapping[str, int | Sequence[int]], feature_names: Sequence[str]) -> tuple[Lag, ...]:
    """Lags as a caller declares them: `{"load_yesterday": 24, "mean_of_last_week": range(1, 169)}`.

    Raises:
        InputError: no feature of that name, or hours that are not whole numbers other than 0.
    """
    found = []
    for feature, given in lags.items():
        hours = [given] if isinstance(given, int | np.integer) else list(given)
        if feature not in feature_names:
            raise InputError(
                f"declared_lags: expected some of the features {', '.join(feature_names)}; got {feature!r}."
            )
        if not hours or not all(isinstance(k, int | np.integer) and k != 0 for k in hours):
            raise InputError(
                f"declared_lags: expected whole hours other than 0 for {feature}, such as 24, got {given!r}."
            )
        found.append(Lag(feature, None, tuple(int(k) for k in hours)))
    return tuple(found)


def find_lags(
    features: FloatArray, load: FloatArray, feature_names: Sequence[str], load_names: Sequence[str]
) -> tuple[Lag, ...]:
    """Find features that are a shifted load, up to a factor and a constant.

    A day of each feature is looked for in every load; what matches is compared over the whole series. Means over
    several hours and sums of loads are not found: declare them.

    Args:
        features: shape (N, B, F).
        load: shape (N, B), in any unit.
        feature_names: F names.
        load_names: B names.
    """
    n_hours, n_loads, n_features = features.shape
    if n_hours < 4 * _PIECE:
        return ()
    columns, places = _each_once(np.ascontiguousarray(features.reshape(n_hours, -1).T))
    starts = _liveliest(columns)
    pieces = _standardised(columns[np.arange(len(columns))[:, None], starts[:, None] + np.arange(_PIECE)])
    shifts: dict[tuple[int, int], dict[int, int]] = {}  # (feature, hours) -> {load where it stands: load it holds}
    for source in range(n_loads):
        alike = pieces @ _standardised(sliding_window_view(load[:, source], _PIECE)).T  # (columns, N − 23)
        for column in np.flatnonzero(alike.max(axis=1) > 1 - _EXACT):
            hours = starts[column] - np.argsort(-alike[column], kind="stable")[:_TRIED]
            exact = next((int(k) for k in hours if k and _is_shifted(columns[column], load[:, source], int(k))), None)
            if exact is None:
                continue
            for place in places[column]:
                slot, feature = divmod(place, n_features)
                shifts.setdefault((feature, exact), {})[slot] = source
    return tuple(lag for key, slots in shifts.items() for lag in _named(key, slots, feature_names, load_names))


def _named(
    key: tuple[int, int], slots: dict[int, int], feature_names: Sequence[str], load_names: Sequence[str]
) -> list[Lag]:
    feature, hours = feature_names[key[0]], (key[1],)
    if all(slot == source for slot, source in slots.items()):
        return [Lag(feature, None, hours)]
    return [Lag(feature, load_names[source], hours) for source in sorted(set(slots.values()))]


def _each_once(columns: FloatArray) -> tuple[FloatArray, list[list[int]]]:
    """Distinct series, and where each stands: calendar and weather are often the same beside many loads."""
    places: dict[bytes, list[int]] = {}
    for place, column in enumerate(columns):
        places.setdefault(hashlib.sha256(column.tobytes()).digest(), []).append(place)
    return columns[[own[0] for own in places.values()]], list(places.values())


def _liveliest(columns: FloatArray) -> np.ndarray:
    """Start of the piece of each series with the most variation, of nine evenly spread ones."""
    starts = np.linspace(0, columns.shape[1] - _PIECE, 9).astype(np.int64)
    spreads = np.stack([columns[:, start : start + _PIECE].std(axis=1) for start in starts])
    return starts[spreads.argmax(axis=0)]


def _standardised(windows: FloatArray) -> FloatArray:
    """Rows with mean 0 and norm 1; rows without variation are 0."""
    centred = windows - windows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norm > 0, norm, np.inf)


def _is_shifted(feature: FloatArray, load: FloatArray, lag: int) -> bool:
    later, earlier = (feature[lag:], load[:-lag]) if lag > 0 else (feature[:lag], load[-lag:])
    if len(later) < 2 * _PIECE:
        return False
    x, y = later - later.mean(), earlier - earlier.mean()
    scale = float(y @ y)
    return scale > 0 and float(np.linalg.norm(x - (x @ y / scale) * y)) <= _EXACT * float(np.linalg.norm(x))


def least_correlated(load: FloatArray, count: int) -> IntArray:
    """Choose `count` columns whose mutual correlations are small.

    The choice starts with the pair of the smallest |correlation| and adds, one by one, the column whose largest
    |correlation| with those chosen is smallest. Columns that do not vary are never chosen.

    Args:
        load: shape (N, B); pass training rows only.
        count: number of columns, from 1 to those that vary.

    Returns:
        Sorted positions, shape (count,).

    Raises:
        InputError: fewer than `count` columns vary, or `count` is below 1.
    """
    usable = np.flatnonzero(load.max(axis=0) > load.min(axis=0))
    if not 1 <= count <= usable.size:
        raise InputError(
            f"least_correlated: expected a number of loads from 1 to {usable.size} "
            f"(loads that vary, of {load.shape[1]}), got {count}."
        )
    if usable.size == 1:
        return usable.astype(np.int64)
    closeness = np.abs(np.corrcoef(load[:, usable], rowvar=False))
    # A load is not a partner of itself, nor may it be chosen twice.
    np.fill_diagonal(closeness, np.inf)
    first, second = np.unravel_index(closeness.argmin(), closeness.shape)
    chosen = [int(first), int(second)][:count]
    while len(chosen) < count:
        chosen.append(int(closeness[chosen].max(axis=0).argmin()))
    return np.sort(usable[chosen]).astype(np.int64)
