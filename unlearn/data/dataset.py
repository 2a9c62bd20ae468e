"""`LoadDataset`: hourly loads, the features that explain them, and how the rows are divided."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    as_floats,
    as_identifiers,
    require_choice,
    require_distinct,
    require_positive,
    require_shape,
    short_repr,
)
from unlearn.data.features import CALENDAR_NAMES, Lag, as_declared, find_lags, stack_features
from unlearn.data.hours import Rows
from unlearn.data.lags import Lags, as_lags, lag_features, longest, require_made, split_without_first
from unlearn.data.removal import blanked_rows, load_places, remaining_loads, require_not_held, without_held
from unlearn.data.splits import FAIR, Split, SplitSpec
from unlearn.data.text_tables import listed
from unlearn.data.times import check_hours
from unlearn.errors import DataError, InputError


@dataclass(frozen=True)
class FittedConstant:
    """Something learnt from rows before any model was trained, and which rows it saw.

    Complete unlearning is exact with preprocessing held fixed, so every such constant is declared
    beside the result (`fitted_on` is "train", "core" or "all").
    """

    name: str
    fitted_on: str
    description: str


@short_repr
@dataclass(frozen=True, eq=False)
class LoadDataset:
    """Hourly data of B loads.

    Attributes:
        name: source, for records and messages.
        features: raw (unscaled) features, shape (N, B, F); the first four are the calendar.
        load_mw: load in MW, shape (N, B).
        timestamps: start of each hour, shape (N,); sorted, unique, without gaps.
        load_names: B names.
        feature_names: F names.
        split: which rows are train, validation, test, core, sensitive.
        base_mva: power base; `load_pu = load_mw / base_mva`.
        fitted: constants that preprocessing learnt from rows.
        declared_lags: features that hold loads of other hours, as the caller says or as `with_lags` made them; see
            `lags`.
        history_mw: load in MW of the K hours before the first row, which lags stand for, shape (K, B); none by default.

    Raises:
        DataError: wrong shape, NaN, negative load, unsorted, duplicated or missing hours; the
            message names the column and the row. Lags that `with_lags` made and that are not those of the loads.
    """

    name: str
    features: FloatArray
    load_mw: FloatArray
    timestamps: pd.DatetimeIndex
    load_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    split: Split
    base_mva: float = 100.0
    fitted: tuple[FittedConstant, ...] = field(default=())
    declared_lags: tuple[Lag, ...] = field(default=())
    history_mw: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        if not len(self.history_mw):
            object.__setattr__(self, "history_mw", np.zeros((0, self.n_loads)))
        require_positive("base_mva", self.base_mva)
        require_shape(f"{self.name} load_mw", self.load_mw, (len(self.timestamps), len(self.load_names)))
        require_shape(f"{self.name} features", self.features, (*self.load_mw.shape, len(self.feature_names)))
        check_hours(self.name, self.timestamps)
        check_columns(f"{self.name} load", self.load_mw, self.timestamps, self.load_names, negative=False)
        for f, feature in enumerate(self.feature_names):
            check_columns(f"{self.name} {feature}", self.features[:, :, f], self.timestamps, self.load_names)
        require_shape(f"{self.name} history_mw", self.history_mw, (None, self.n_loads))
        check_columns(f"{self.name} history", self.history_mw, self._hours_before, self.load_names, negative=False)
        require_made(self.name, self.declared_lags, self.features, self.feature_names, self._load_with_history)

    @property
    def _hours_before(self) -> pd.DatetimeIndex:
        """The K hours of the history."""
        return self.timestamps[0] - pd.to_timedelta(np.arange(len(self.history_mw), 0, -1), unit="h")

    @property
    def _load_with_history(self) -> FloatArray:
        """Loads of the history and of the rows, shape (K + N, B)."""
        return np.concatenate([self.history_mw, self.load_mw])

    def _in_short(self) -> str:
        hours, split = self.timestamps, self.split
        span = f" from {hours[0]:%Y-%m-%d %H:%M} to {hours[-1]:%Y-%m-%d %H:%M}" if len(hours) else ""
        return (
            f"{self.name}: {len(hours)} hours{span}, {self.n_loads} loads, {len(self.feature_names)} features; "
            f"{len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
        )

    @property
    def load_pu(self) -> FloatArray:
        """Load in per unit, shape (N, B)."""
        return self.load_mw / self.base_mva

    @property
    def n_loads(self) -> int:
        return len(self.load_names)

    @cached_property
    def lags(self) -> tuple[Lag, ...]:
        """Features that hold loads of other hours: declared, or found because they equal a shifted load."""
        said = {lag.feature for lag in self.declared_lags}
        found = find_lags(self.features, self.load_mw, self.feature_names, self.load_names)
        return (*self.declared_lags, *(lag for lag in found if lag.feature not in said))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over features, loads, hours, split and lags; a model remembers the one it was fitted on."""
        digest = hashlib.sha256()
        for array in (self.features, self.load_mw, self.timestamps.to_numpy().astype("datetime64[s]")):
            digest.update(np.ascontiguousarray(array).tobytes())
        for rows in (self.split.train, self.split.validation, self.split.test, self.split.core):
            digest.update(rows.astype(np.int64).tobytes() + b"|")
        digest.update(repr((self.load_names, self.feature_names, self.base_mva, self.fitted)).encode())
        digest.update(repr(self.declared_lags).encode() if self.declared_lags else b"")
        if len(self.history_mw):
            made = [lag.feature for lag in self.declared_lags if lag.made]
            digest.update(np.ascontiguousarray(self.history_mw).tobytes() + repr(made).encode())
        return digest.hexdigest()

    def with_lags(self, lags: Lags | Sequence[int]) -> LoadDataset:
        """Add loads of earlier hours to the features, beside each load its own.

        The first K rows, K being the longest lag, become the history: their own lags are not known, and no value is
        invented. What is left is divided by the same shares, or keeps its parts where it was divided otherwise.

        Args:
            lags: which, such as `[24, 168]` or `Lags((24,), means=(168,))`; see `Lags`.

        Returns:
            N − K hours with L features more, the last ones; in MW, also after `scaled_to`.

        Raises:
            InputError: lags below the horizon, or so few hours that a part of the split would be empty.
            DataError: a feature of that name is there.

        >>> from unlearn.data import make_synthetic
        >>> data = make_synthetic(n_loads=2, n_hours=1000).with_lags([24])
        >>> data.load_mw.shape, data.feature_names[-1]
        ((976, 2), 'load_lag_24h_mw')
        """
        made = as_lags(lags).made()
        if clash := [lag.feature for lag in made if lag.feature in self.feature_names]:
            raise DataError(f"{self.name}: expected features of other names than the lags', got {', '.join(clash)}.")
        load_mw, dropped = self._load_with_history, max(0, longest(made) - len(self.history_mw))
        n_rows = len(self.timestamps) - dropped
        if n_rows < 1:
            raise InputError(
                f"lags: expected more hours than the longest lag, {longest(made)}, got {len(load_mw)}. Take a shorter "
                "one, or more hours."
            )
        features = lag_features(made, load_mw, n_rows)
        return replace(
            self,
            features=np.concatenate([self.features[dropped:], features], axis=2),
            load_mw=self.load_mw[dropped:],
            timestamps=self.timestamps[dropped:],
            feature_names=(*self.feature_names, *(lag.feature for lag in made)),
            split=split_without_first(self.split, dropped, n_rows) if dropped else self.split,
            declared_lags=(*self.declared_lags, *made),
            history_mw=load_mw[: len(load_mw) - n_rows],
        )

    def with_loads(self, load_mw: FloatArray, history_mw: FloatArray | None = None) -> LoadDataset:
        """The same data set with other loads; lags that `with_lags` made are made again from them.

        Args:
            load_mw: in MW, shape (N, B).
            history_mw: in MW, of the K hours before, shape (K, B); None keeps them.

        Raises:
            DataError: whatever the data set itself refuses.
        """
        history = self.history_mw if history_mw is None else history_mw
        require_shape(f"{self.name} load_mw", load_mw, self.load_mw.shape)
        require_shape(f"{self.name} history_mw", history, (None, self.n_loads))
        features = self._features_of(np.concatenate([history, load_mw]))
        return replace(self, features=features, load_mw=load_mw, history_mw=history)

    def _features_of(self, load_mw: FloatArray, given: FloatArray | None = None) -> FloatArray:
        """The features, or others, with lags made from loads of the history and the rows, shape (K + N, B)."""
        own = [lag for lag in self.declared_lags if lag.made]
        before = self.features if given is None else given
        if not own:
            return before
        features = before.copy()
        places = [self.feature_names.index(lag.feature) for lag in own]
        features[:, :, places] = lag_features(own, load_mw, len(features))
        return features

    def without_loads(self, names: Sequence[str]) -> LoadDataset:
        """The data set as if some loads had never been there: nothing of them is left in any array.

        Raises:
            InputError: unknown or repeated names, none or all; a load that stands among the features of others.

        >>> from unlearn.data import make_synthetic
        >>> data = make_synthetic(n_loads=3, n_hours=1000)
        >>> data.without_loads(data.load_names[:1]).load_mw.shape
        (1000, 2)
        """
        kept = remaining_loads(names, self.load_names)
        require_not_held(self, kept)
        return replace(
            self,
            features=self.features.take(kept, axis=1),
            load_mw=self.load_mw.take(kept, axis=1),
            load_names=tuple(self.load_names[b] for b in kept),
            history_mw=self.history_mw.take(kept, axis=1),
        )

    def blanked(self, rows: Rows, loads: Sequence[str] | None = None) -> LoadDataset:
        """The data set in which loads of some hours are 0, also where they stand as lags.

        For measurements that a model has forgotten, also as lags (`lagged="drop"`): it does not depend on their values
        any more, and `Forecaster.carried_to` takes it over. Rows of validation and test are of no use afterwards. A
        caller's own lags cannot be made again; they are 0 in each hour for which they held such a load.

        Args:
            rows: in any form that `forget` takes.
            loads: names of the loads that are meant; None means all.

        Raises:
            InputError: no rows, or rows that the data set does not have; unknown or repeated loads, or none.
        """
        asked = blanked_rows(rows, self.timestamps)
        names = self.load_names if loads is None else loads
        places, load_mw = load_places(names, self.load_names), self.load_mw.copy()
        load_mw[np.ix_(asked, places)] = 0.0
        held = [lag for lag in self.lags if not lag.made and (lag.load is None or lag.load in names)]
        features = without_held(self.features, self.feature_names, held, asked, places)
        return replace(
            self,
            features=self._features_of(np.concatenate([self.history_mw, load_mw]), features),
            load_mw=load_mw,
            # Found lags are declared from now on: they need not equal a shifted load any more.
            declared_lags=self.lags if held else self.declared_lags,
            history_mw=self.history_mw.copy(),  # not a part of what holds all loads
        )

    def scaled_to(self, nominal_mw: ArrayLike, over: str = "train", base_mva: float | None = None) -> LoadDataset:
        """Scale each load, and its lags, so that its maximum equals the nominal load of its bus.

        Args:
            nominal_mw: nominal load of each bus, shape (B,).
            over: rows that the maximum is taken over: "train", or "all" as in the published protocol.
            base_mva: power base of the grid; None keeps the data set's.

        Raises:
            InputError: wrong shape, or a nominal load or maximum that is not positive.
        """
        nominal = as_floats("nominal_mw", nominal_mw, ndim=1)
        if len(nominal) != self.n_loads:
            raise InputError(
                f"nominal_mw: expected one nominal load for each of the {self.n_loads} loads of {self.name} "
                f"({listed(self.load_names)}), got {len(nominal)}. Choose a grid with as many loads, or as many loads "
                "(in one's own tables: columns) as the grid has."
            )
        require_choice("over", over, ("train", "all"))
        seen = self.load_mw if over == "all" else self.load_mw[self.split.train]
        peak = seen.max(axis=0)
        if (nominal <= 0).any():
            raise InputError(
                f"nominal_mw: expected numbers above 0, got {nominal.min()} for "
                f"{self.load_names[int(nominal.argmin())]}."
            )
        if (peak <= 0).any():
            raise InputError(
                f"{self.name}: expected each load to be above 0 in some {'row' if over == 'all' else 'training row'}, "
                f"got nothing but 0 in column {self.load_names[int(peak.argmin())]}. Leave it out: nothing scales it "
                "to its bus."
            )
        constant = FittedConstant("load scale", over, "factor per load that puts its maximum at the bus's nominal load")
        factor = nominal / peak
        return replace(
            self.with_loads(self.load_mw * factor, self.history_mw * factor),
            base_mva=self.base_mva if base_mva is None else base_mva,
            fitted=(*self.fitted, constant),
        )


def dataset_from_frames(
    load_mw: pd.DataFrame,
    weather: Mapping[str, pd.DataFrame],
    *,
    split: SplitSpec = FAIR,
    name: str = "frames",
    fitted: Sequence[FittedConstant] = (),
    declared_lags: Mapping[str, int | Sequence[int]] | None = None,
    lags: Lags | Sequence[int] | None = None,
) -> LoadDataset:
    """Build a data set from one's own tables.

    Args:
        load_mw: hourly loads in MW; a DatetimeIndex of N hours, one column per load.
        weather: one table per weather variable, with the index and columns of `load_mw` (a
            variable measured at one place for all loads may have a single column).
        split: how to divide the hours.
        name: source, for records and messages.
        fitted: constants that your own preprocessing learnt from rows.
        declared_lags: variables that hold loads of earlier hours, and how many hours back: `{"load_yesterday": 24}`, or
            `{"mean_of_last_week": range(1, 169)}`. A plain shifted load is found without; `forget` needs to know
            of both, for a forgotten load lives on in them.
        lags: loads of earlier hours that are to be features, such as `[24, 168]` or `Lags((24,), means=(168,))`. The
            first hours, whose lags are not known, are no rows then.

    Raises:
        DataError: no DatetimeIndex, differing indices or columns, or any fault that `LoadDataset` refuses.
    """
    if not isinstance(load_mw, pd.DataFrame) or not isinstance(weather, Mapping):
        raise DataError(
            f"{name}: expected a DataFrame of loads and a mapping of weather variables to DataFrames, got "
            f"{type(load_mw).__name__} and {type(weather).__name__}."
        )
    wrong = [f"{v} ({type(t).__name__})" for v, t in weather.items() if not isinstance(t, pd.DataFrame)]
    if wrong or not isinstance(split, SplitSpec):
        raise DataError(
            f"{name}: expected a DataFrame per weather variable and a SplitSpec, got {', '.join(wrong) or repr(split)}."
        )
    clash = [variable for variable in weather if variable in CALENDAR_NAMES]
    if clash:
        raise DataError(
            f"{name}: expected weather names other than the calendar's, got {', '.join(clash)}. Rename them."
        )
    require_distinct(f"{name} weather", [str(variable) for variable in weather], "variable")
    for what, table in (("load", load_mw), *weather.items()):
        require_distinct(f"{name} {what}", as_identifiers(f"{name} {what} columns", table.columns))
    hours = load_mw.index
    if not isinstance(hours, pd.DatetimeIndex):
        raise DataError(f"{name} load: expected a DatetimeIndex of hours, got {type(hours).__name__}.")
    columns = []
    for variable, table in weather.items():
        if not table.index.equals(hours):
            raise DataError(f"{name} {variable}: expected the hours of the load table, got another index.")
        if table.shape[1] == 1:
            table = pd.concat([table.iloc[:, 0]] * load_mw.shape[1], axis=1, keys=load_mw.columns)
        missing = [str(c) for c in load_mw.columns if c not in table.columns]
        if missing:
            raise DataError(f"{name} {variable}: expected a column per load, missing {', '.join(missing)}.")
        columns.append(as_floats(f"{name} {variable}", table[load_mw.columns].to_numpy()))
    n_hours, n_loads = load_mw.shape
    stacked = np.stack(columns, axis=2) if columns else np.empty((n_hours, n_loads, 0))
    dataset = LoadDataset(
        name=name,
        features=stack_features(hours, stacked),
        load_mw=as_floats(f"{name} load", load_mw.to_numpy()),
        timestamps=hours,
        load_names=tuple(as_identifiers(f"{name} load columns", load_mw.columns)),
        feature_names=(*CALENDAR_NAMES, *weather),
        split=split.rows(n_hours),
        fitted=tuple(fitted),
        declared_lags=as_declared(declared_lags or {}, list(weather)),
    )
    return dataset if lags is None else dataset.with_lags(lags)


def check_columns(
    where: str,
    table: FloatArray,
    timestamps: pd.DatetimeIndex,
    names: Sequence[str],
    negative: bool = True,
) -> None:
    """Refuse NaN or infinity, and negative values unless allowed, naming column and row."""
    bad = ~np.isfinite(table)
    fault = "a finite number"
    if not bad.any() and not negative:
        bad = table < 0
        fault = "a load of at least 0"
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: expected {fault}, got {table[row, column]} in column {names[column]} at row {row} "
            f"({timestamps[row]}); {int(bad.sum())} such values. Fill or drop them first."
        )
