"""Loads that stand among the features of other hours: declared by whoever made the features, or found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import FloatArray
from unlearn.errors import InputError

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
    """

    feature: str
    load: str | None
    hours: tuple[int, ...]

    def __str__(self) -> str:
        hours = [f"{abs(k)} hours {'before' if k > 0 else 'after'}" for k in self.hours[:3]]
        more = f" and {len(self.hours) - 3} more" if len(self.hours) > 3 else ""
        return f"{self.feature} holds {self.load or 'loads'} of {', '.join(hours)}{more}"


def declared_lags(lags: Mapping[str, int | Sequence[int]], feature_names: Sequence[str]) -> tuple[Lag, ...]:
    """Lags as a caller declares them: `{"load_yesterday": 24, "mean_of_last_week": range(1, 169)}`.

    Raises:
        InputError: no feature of that name, or hours that are not whole numbers other than 0.
    """
    found = []
    for feature, given in lags.items():
        hours = [given] if isinstance(given, int | np.integer) else list(given)
        if feature not in feature_names:
            raise InputError(f"lags: expected some of the features {', '.join(feature_names)}; got {feature!r}.")
        if not hours or not all(isinstance(k, int | np.integer) and k != 0 for k in hours):
            raise InputError(f"lags: expected whole hours other than 0 for {feature}, such as 24, got {given!r}.")
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
