"""Lags: loads of earlier hours among the features, such that a forecast knows no load that is measured after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.data.features import Lag
from unlearn.data.splits import Split
from unlearn.errors import DataError, InputError

#: Relative difference up to which a lag is the load of the hour that it stands for: the rounding of a mean of a month.
_SAME = 1e-9


@dataclass(frozen=True)
class Lags:
    """Which loads of earlier hours become features, beside each load its own.

    A forecast that is made `horizon` hours ahead knows no later load: every lag is at least that long, and every
    rolling mean ends that long before. The feature of hour h is `load[h − lag]` in MW, or the mean of the `w` hours
    from `h − horizon − w + 1` to `h − horizon`.

    Attributes:
        hours: lags in hours, such as 24 for the same hour of the day before.
        means: lengths of the windows of rolling means, in hours.
        horizon: how many hours ahead forecasts are made; 24 is day-ahead.

    Raises:
        InputError: no lag at all, one twice, one below the horizon, or numbers that are not whole and above 0.

    >>> Lags(hours=(24,), means=(168,)).names
    ('load_lag_24h_mw', 'load_mean_168h_mw')
    """

    hours: tuple[int, ...] = (24, 168)
    means: tuple[int, ...] = ()
    horizon: int = 24

    def __post_init__(self) -> None:
        require_count("lags: horizon", self.horizon)
        for name in ("hours", "means"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
                raise InputError(f"lags: {name}: expected whole numbers of hours such as (24, 168), got {given!r}.")
            values = tuple(require_count(f"lags: {name}", own) for own in given)
            if len(set(values)) < len(values):
                raise InputError(f"lags: {name}: expected each once, got {list(values)}.")
            object.__setattr__(self, name, values)
        if not self.hours and not self.means:
            raise InputError("lags: expected at least one lag or rolling mean, got none.")
        early = [own for own in self.hours if own < self.horizon]
        if early:
            raise InputError(
                f"lags: hours: expected at least {self.horizon}, the hours ahead that forecasts are made (a day-ahead "
                f"forecast does not know later loads), got {early[0]}. Take a longer lag, or a shorter horizon."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the L features."""
        return tuple(lag.feature for lag in self.made())

    def made(self) -> tuple[Lag, ...]:
        """The L features, each with the hours that it holds; they are made from the loads, and can be made again."""
        plain = [Lag(f"load_lag_{own}h_mw", None, (own,), made=True) for own in self.hours]
        means = [
            Lag(f"load_mean_{own}h_mw", None, tuple(range(self.horizon, self.horizon + own)), made=True)
            for own in self.means
        ]
        return (*plain, *means)


def as_lags(lags: Lags | Sequence[int]) -> Lags:
    """Lags as they are, or plain hours as lags for a day-ahead horizon.

    >>> as_lags([24, 168]) == Lags()
    True
    """
    return lags if isinstance(lags, Lags) else Lags(hours=lags)  # type: ignore[arg-type]


def longest(lags: Sequence[Lag]) -> int:
    """Hours that must be known before the first row, K; 0 without lags that are made from the loads."""
    return max((max(lag.hours) for lag in lags if lag.made), default=0)


def lag_features(lags: Sequence[Lag], load_mw: FloatArray, n_rows: int) -> FloatArray:
    """Features of rows from the loads of the hours before them.

    A value depends on the hours that it stands for and on no other, to the last bit.

    Args:
        lags: L lags that are made from the loads.
        load_mw: loads in MW of K hours before the first row and of the N rows, shape (K + N, B).
        n_rows: N.

    Returns:
        In MW, shape (N, B, L).

    Raises:
        DataError: fewer hours before the first row than the longest lag needs.
    """
    before = len(load_mw) - n_rows
    if before < longest(lags):
        raise DataError(
            f"lags: expected loads of {longest(lags)} hours before the first row, got {before}. A value that is not "
            "measured is not invented: let with_lags drop these rows, or pass history_mw."
        )
    found = np.empty((n_rows, load_mw.shape[1], len(lags)))
    for place, lag in enumerate(lags):
        total = np.zeros((n_rows, load_mw.shape[1]))
        for hours in lag.hours:
            total += load_mw[before - hours : before - hours + n_rows]
        found[:, :, place] = total / len(lag.hours)
    return found


def require_made(
    where: str, lags: Sequence[Lag], features: FloatArray, feature_names: Sequence[str], load_mw: FloatArray
) -> None:
    """Refuse lags that are said to be made from the loads and are not.

    Args:
        where: name of the data set, for messages.
        lags: declared ones, of which those with `made` are compared.
        features: shape (N, B, F).
        feature_names: F names.
        load_mw: loads of the hours before and of the rows, shape (K + N, B).

    Raises:
        DataError: a feature differs from the loads that it stands for; names it and the row.
    """
    own = [lag for lag in lags if lag.made]
    if not own:
        return
    expected = lag_features(own, load_mw, len(features))
    for place, lag in enumerate(own):
        value = features[:, :, list(feature_names).index(lag.feature)]
        wrong = ~np.isclose(value, expected[:, :, place], rtol=_SAME, atol=_SAME)
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            raise DataError(
                f"{where} {lag.feature}: expected the loads that it is made from, {expected[row, column, place]:g} at "
                f"row {row}, got {value[row, column]:g}. Exchange loads with dataset.with_loads(load_mw), which makes "
                "the lags again."
            )


def split_without_first(split: Split, dropped: int, n_rows: int) -> Split:
    """The split of what is left after the first rows are dropped.

    Args:
        split: of the rows before.
        dropped: how many rows are dropped.
        n_rows: how many are left.

    Returns:
        By the same shares where it was made by shares; else the same hours in the same parts.

    Raises:
        InputError: a part that held rows would hold none.
    """
    if split.spec is not None:
        return split.spec.rows(n_rows)

    def left(name: str) -> IntArray:
        rows: IntArray = getattr(split, name)
        kept = rows[rows >= dropped] - dropped
        if len(rows) and not len(kept):
            raise InputError(
                f"lags: the first {dropped} rows go, for their lags are not known, and no {name} row would be left. "
                "Take shorter lags, or more hours."
            )
        return kept

    return Split(left("train"), left("validation"), left("test"), left("core"), left("sensitive"))
