"""What of a data set goes with loads that are withdrawn, or with hours that are blanked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray
from unlearn.data.features import Lag, find_lags
from unlearn.data.hours import Rows, rows_of
from unlearn.data.text_tables import listed
from unlearn.errors import InputError

if TYPE_CHECKING:
    from unlearn.data.dataset import LoadDataset


def load_places(names: Sequence[str], load_names: Sequence[str]) -> IntArray:
    """Positions of loads by name, sorted.

    Raises:
        InputError: no list, an empty one, or names that are unknown or repeated.
    """
    if isinstance(names, str):
        raise InputError(f"loads: expected a list of names, got {names!r}; write [{names!r}].")
    asked = [str(name) for name in names]
    unknown = [name for name in asked if name not in load_names]
    if unknown or not asked:
        raise InputError(f"loads: expected some of {listed(load_names)}; got {listed(unknown) if unknown else 'none'}.")
    if len(set(asked)) < len(asked):
        twice = sorted({name for name in asked if asked.count(name) > 1})
        raise InputError(f"loads: expected each load once, got {listed(twice)} more than once. Drop repeats.")
    return np.sort(np.array([list(load_names).index(name) for name in asked], dtype=np.int64))


def remaining_loads(names: Sequence[str], load_names: Sequence[str]) -> IntArray:
    """Positions of the loads that remain without some, sorted.

    Raises:
        InputError: whatever `load_places` refuses, or all loads.
    """
    kept = np.setdiff1d(np.arange(len(load_names)), load_places(names, load_names))
    if not len(kept):
        raise InputError(
            f"loads: got all {len(load_names)} of the data set; nothing would remain. Keep some of them, or discard "
            "the data set and its models."
        )
    return kept


def require_not_held(dataset: LoadDataset, kept: IntArray) -> None:
    """Refuse to withdraw loads that stand, as lags, among the features of loads that remain.

    Args:
        dataset: with all loads.
        kept: positions of the loads that remain.

    Raises:
        InputError: names the feature.
    """
    stay = {dataset.load_names[b] for b in kept}
    seen = np.zeros_like(dataset.features)  # what does not vary is no lag
    seen[:, kept] = dataset.features[:, kept]
    found = find_lags(seen, dataset.load_mw, dataset.feature_names, dataset.load_names)
    for lag in (*dataset.declared_lags, *found):
        if lag.load is not None and lag.load not in stay:
            raise InputError(
                f"loads: {lag}, and this feature stands beside loads that remain. Build the data set without it, or "
                "withdraw those loads, too."
            )


def blanked_rows(rows: Rows, timestamps: pd.DatetimeIndex) -> IntArray:
    """Rows of a data set that are to be blanked.

    Raises:
        InputError: none, or whatever `rows_of` refuses.
    """
    asked = rows_of("rows to blank", rows, timestamps)
    if not len(asked):
        raise InputError("rows to blank: expected at least one, got none.")
    return asked


def without_held(
    features: FloatArray, feature_names: Sequence[str], lags: Sequence[Lag], rows: IntArray, places: IntArray
) -> FloatArray:
    """Features in which a caller's own lags do not hold loads of some rows: they are 0 where they would.

    Args:
        features: shape (N, B, F).
        feature_names: F names.
        lags: lags that cannot be made again.
        rows: whose loads are blanked.
        places: of these loads.

    Returns:
        A new array, shape (N, B, F).
    """
    found = features.copy()
    for lag in lags:
        holders = np.unique(rows[:, None] + np.array(lag.hours))
        holders = holders[(holders >= 0) & (holders < len(found))]
        beside = places if lag.load is None else np.arange(found.shape[1])
        found[np.ix_(holders, beside, np.array([list(feature_names).index(lag.feature)]))] = 0.0
    return found
