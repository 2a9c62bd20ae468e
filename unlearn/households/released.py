"""Loads made of a release of daily profiles, which knows no households: what an extractor may learn from instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.data.dataset import LoadDataset, dataset_from_frames
from unlearn.data.lags import Lags
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.times import DateArray, day_of_week_of, month_of
from unlearn.errors import DataError
from unlearn.households.profiles import DailyProfiles


def release_loads(
    release: DailyProfiles,
    hours: pd.DatetimeIndex,
    load_names: Sequence[str],
    weather: Mapping[str, pd.DataFrame] | None = None,
    *,
    customers: int = 100,
    split: SplitSpec = FAIR,
    lags: Lags | Sequence[int] | None = None,
    random_state: int = 0,
) -> LoadDataset:
    """Loads of customers that never were, each taking a released profile every day.

    Of each load, customers have the release's segments in its own proportions; nothing else is needed to know. Scale
    the result to a grid with `scaled_to`, and pass it to `fit_network(extractor_from=...)`: a network whose extractor
    saw the release alone. What of real customers the release itself tells is another question, see `unlearn.attacks`.

    >>> from unlearn.households import simulate_households
    >>> release = simulate_households(20, n_days=30).unlabelled()
    >>> hours = pd.date_range("2013-01-07", periods=480, freq="h")
    >>> release_loads(release, hours, ["bus_1", "bus_2"], customers=30).load_mw.shape
    (480, 2)

    Args:
        release: daily profiles with month, day of the week and segment.
        hours: full days, whose months and days of the week are drawn for.
        load_names: names of the loads, those of the data set that the extractor is to serve.
        weather: of that data set, as `dataset_from_frames` takes it; it belongs to no customer.
        customers: of each load.
        split: how to divide the hours.
        lags: loads of earlier hours that become features; see `Lags`.
        random_state: seed of the draws.

    Raises:
        DataError: hours that are not full days, or whatever `dataset_from_frames` refuses.
        InputError: fewer customers than one.
    """
    require_count("customers", customers)
    if len(hours) % 24 or (len(hours) and hours[0] != hours[0].normalize()):
        raise DataError(
            f"{release.name} hours: expected full days from midnight, got {len(hours)} hours from {hours[0]}."
        )
    days = hours[::24].to_numpy().astype("datetime64[D]")
    random = np.random.default_rng(random_state)
    names, counts = np.unique(np.array(release.segments)[release.segment], return_counts=True)
    segment = random.choice(names, size=(len(load_names), customers), p=counts / counts.sum())
    kwh = drawn_load_kwh(segment, days, release, random)
    load = pd.DataFrame(kwh.transpose(0, 2, 1).reshape(len(hours), -1) / 1000, hours, list(load_names))
    return dataset_from_frames(load, weather or {}, split=split, lags=lags, name=f"loads of {release.name}")


def drawn_load_kwh(
    segment: NDArray[np.str_], days: DateArray, release: DailyProfiles, random: np.random.Generator
) -> FloatArray:
    """Hourly energy of loads when only a release of labelled profiles is at hand, shape (D, B, 24).

    Every customer takes each day a released profile of the same month, day of the week and segment; where there is
    none, of the same month and segment, else month and day, else month, else any. That is all a release without
    households and dates allows.

    Args:
        segment: of each customer of each load, shape (B, M).
        days: shape (D,).
        release: profiles to draw from.
        random: source of chance.
    """
    hourly = release.to_hourly()
    month, day = month_of(days), day_of_week_of(days)
    # A segment that the release does not know is as good as any other.
    known = {name: code for code, name in enumerate(release.segments)}
    code = np.vectorize(lambda name: known.get(name, -1), otypes=[np.int64])(segment)
    wanted = np.stack(np.broadcast_arrays(month[:, None, None], day[:, None, None], code[None]), axis=-1).reshape(-1, 3)
    have = np.stack([release.month, release.day_of_week, release.segment], axis=1)
    chosen = np.full(len(wanted), -1)
    for columns in ((0, 1, 2), (0, 2), (0, 1), (0,), ()):
        missing = np.flatnonzero(chosen < 0)
        if not len(missing):
            break
        chosen[missing] = _draw_alike(wanted[missing][:, columns], have[:, columns], random)
    drawn = hourly.kwh[chosen].reshape(len(days), *segment.shape, 24)
    return drawn.sum(axis=2, dtype=np.float64)


def _draw_alike(wanted: IntArray, have: IntArray, random: np.random.Generator) -> IntArray:
    """For each wanted combination the position of a random row that has it; -1 where none has."""
    if not wanted.shape[1]:
        return random.integers(len(have), size=len(wanted))
    width = have.max(axis=0, initial=0) + 2
    fits = ((wanted >= 0) & (wanted < width)).all(axis=1)
    have_code = np.ravel_multi_index(tuple(have.T), tuple(width))
    code = np.ravel_multi_index(tuple(wanted.clip(0).T), tuple(width), mode="clip")
    order = np.argsort(have_code, kind="stable")
    start, end = (np.searchsorted(have_code[order], code, side=side) for side in ("left", "right"))
    place = start + (random.random(len(code)) * (end - start)).astype(np.int64)
    return np.where(fits & (end > start), order[place.clip(max=len(order) - 1)], -1)
