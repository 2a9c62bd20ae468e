"""Tables of numbers and categories in one coding, and nearest records by Gower's distance.

The distance of two records is the mean over columns of: the difference over the column's range in the release for
numbers, at most 1; 0 or 1 for categories (Gower 1971, "A general coefficient of similarity and some of its
properties"). Missing is a value of its own: at distance 0 from missing, 1 from any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import BoolArray, FloatArray, IntArray, require_count, require_each_once
from unlearn.errors import InputError

#: Entries of a block of distances, which bounds memory (32 MB).
_BLOCK = 4_000_000

#: What tables may be given as.
TableLike = pd.DataFrame | ArrayLike


@dataclass(frozen=True, eq=False)
class Tables:
    """Release, originals and controls in one coding.

    Attributes:
        columns: names of the F columns.
        numeric: which columns hold numbers; the others hold codes of categories, shape (F,).
        release: released records, NaN where missing, shape (R, F).
        original: records that the release was made from, shape (n, F).
        control: records of others, shape (m, F).
    """

    columns: tuple[str, ...]
    numeric: BoolArray
    release: FloatArray
    original: FloatArray
    control: FloatArray

    def positions(self, name: str, columns: Sequence[str]) -> IntArray:
        """Positions of columns by name.

        Raises:
            InputError: none, one twice, or one that the tables do not have.
        """
        wanted = [str(column) for column in columns]
        require_each_once(name, wanted)
        if unknown := [column for column in wanted if column not in self.columns]:
            raise InputError(f"{name}: expected columns among {', '.join(self.columns)}; got {', '.join(unknown)}.")
        return np.array([self.columns.index(column) for column in wanted], dtype=np.int64)

    def draw(self, n: int, random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """At most n originals and at most n controls, drawn without replacement."""
        require_count("n_attacks", n)
        first, second = (side[random.permutation(len(side))[:n]] for side in (self.original, self.control))
        return first, second

    def nearest(self, asked: FloatArray, columns: IntArray, k: int, random: np.random.Generator) -> IntArray:
        """The k nearest released records by some columns, ties broken at random, shape (len(asked), k)."""
        # A copy in random order, so that the first of those that tie is any of them.
        order = random.permutation(len(self.release))
        known, wanted = self.release[order][:, columns], asked[:, columns]
        numeric = self.numeric[columns]
        low, high = (
            choose(known, axis=0, initial=bound, where=~np.isnan(known))
            for choose, bound in ((np.min, np.inf), (np.max, -np.inf))
        )
        width = np.where(numeric & (high > low), high - low, np.nan)
        found = np.empty((len(asked), k), dtype=np.int64)
        size = max(1, _BLOCK // len(known))
        for start in tqdm(range(0, len(asked), size), desc="nearest records", leave=False, delay=2):
            total = np.zeros((len(wanted[start : start + size]), len(known)))
            for own, other, span in zip(wanted[start : start + size].T, known.T, width, strict=True):
                total += _differences(own[:, None], other, span)
            found[start : start + size] = (
                order[np.argsort(total, axis=1, kind="stable")[:, :k]]
                if k > 1
                else order[total.argmin(axis=1)][:, None]
            )
        return found


def _differences(own: FloatArray, other: FloatArray, width: float) -> FloatArray:
    """Differences of a column's values, shape (b, R); a width of NaN says that values are equal or not."""
    unlike = (own != other) & ~(np.isnan(own) & np.isnan(other))
    if np.isnan(width):
        return unlike.astype(np.float64)
    # Missing against a number is NaN here, which counts as 1.
    return np.fmin(np.abs(own - other) / width, 1.0) * unlike


def as_tables(release: TableLike, original: TableLike, control: TableLike) -> Tables:
    """Code three tables alike. Numbers are numeric columns; text, flags and categories are categories.

    Args:
        release: released records, a data frame or an array of numbers, R rows.
        original: records that the release was made from, with the same columns in any order, n rows.
        control: records of others, with the same columns, m rows.

    Raises:
        InputError: no rows, other columns, infinite numbers, or a column that holds numbers in one table and not in
            another.
    """
    frames = {
        name: _as_frame(name, table)
        for name, table in (("release", release), ("original", original), ("control", control))
    }
    columns = list(frames["release"].columns)
    for name, frame in frames.items():
        if sorted(frame.columns) != sorted(columns):
            raise InputError(
                f"{name}: expected the {len(columns)} columns of the release, {', '.join(columns)}; got "
                f"{', '.join(frame.columns)}."
            )
        if not len(frame) or not columns:
            raise InputError(f"{name}: expected at least one row and one column, got shape {frame.shape}.")
    coded = {name: np.empty(frame.shape) for name, frame in frames.items()}
    numeric = np.zeros(len(columns), dtype=bool)
    for j, column in enumerate(columns):
        series = {name: frame[column] for name, frame in frames.items()}
        kinds = {name: _is_numeric(own) for name, own in series.items()}
        if len(set(kinds.values())) > 1:
            which = ", ".join(f"{'numbers' if kind else 'categories'} in {name}" for name, kind in kinds.items())
            raise InputError(f"column {column}: expected numbers in all tables, or in none; got {which}.")
        numeric[j] = kinds["release"]
        codes = _numbers(column, series) if numeric[j] else _categories(series)
        for name, values in codes.items():
            coded[name][:, j] = values
    return Tables(tuple(columns), numeric, **coded)


def _as_frame(name: str, table: TableLike) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        frame = table.copy(deep=False)
    else:
        array = np.asarray(table)
        if array.ndim != 2:
            raise InputError(f"{name}: expected a data frame or an array of 2 axes, got shape {array.shape}.")
        frame = pd.DataFrame(array)
    frame.columns = pd.Index([str(column) for column in frame.columns])
    require_each_once(f"{name}: columns", list(frame.columns), some=False)
    return frame


def _is_numeric(series: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)


def _numbers(column: str, series: dict[str, pd.Series]) -> dict[str, FloatArray]:
    found = {name: own.to_numpy(dtype=np.float64, na_value=np.nan) for name, own in series.items()}
    if any(np.isinf(own).any() for own in found.values()):
        raise InputError(f"column {column}: expected finite numbers, or missing ones, got infinite ones.")
    return found


def _categories(series: dict[str, pd.Series]) -> dict[str, FloatArray]:
    codes = pd.factorize(pd.concat([own.astype(object) for own in series.values()], ignore_index=True))[0]
    edges = np.cumsum([len(own) for own in series.values()])[:-1]
    parts = np.split(np.where(codes < 0, np.nan, codes.astype(np.float64)), edges)
    return dict(zip(series, parts, strict=True))
