"""What attackers find in releases of records: with known readings, over months, by habits, and in features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks.linkage import link_by_distance, link_by_match
from unlearn.attacks.published import PublishedSeries, known_readings
from unlearn.attacks.relinking import relink, usage_features
from unlearn.checks import IntArray
from unlearn.records import RecordTable
from unlearn.studies.anonymize.options import ONE_DAY, RAW, ROTATED
from unlearn.studies.anonymize.releases import Records, months
from unlearn.studies.anonymize.setting import Readings, Setting

#: Share of the households that stand out: the highest night use, the largest energy.
TOP = 0.05
#: Purposes of chance.
KNOWN, MONTHS, SOLAR = 1, 2, 3


def measure_linkage(setting: Setting, records: Records, table: RecordTable) -> None:
    """Add who is found in the records of a step by some known readings."""
    if records.step == RAW:  # a name needs no attack
        return
    readings, series = setting.readings, records.series
    kwh = readings.kwh
    if records.step == ROTATED:
        month = months(readings)
        inside = month == setting.random(MONTHS).choice(np.unique(month))
        kwh = kwh[:, inside]
        series = (PublishedSeries(kwh, np.arange(kwh.shape[1])),)
    owner = np.arange(len(readings))
    for known in tqdm(setting.options.known, desc=f"linkage, {records.step}", leave=False, delay=2):
        if known > kwh.shape[1]:
            continue
        steps = _known(setting, kwh.shape[1], known)
        own = {"part": "linkage", "step": records.step, "known": known}
        matched = link_by_match(series, owner, kwh, steps)
        found = matched.metrics(setting.seed)
        names = {"unique": "unique_right", "included": "included", "chance": "right_guess"}
        for name, metric in names.items():
            table.add(metric, found[name].value, "share", low=found[name].low, high=found[name].high, **own)
        table.add("matches", float(matched.matches.mean()), "", **own)
        ranked = link_by_distance(series, owner, kwh, steps).metrics(setting.seed)
        for metric in ("top_1", "top_10"):
            table.add(metric, ranked[metric].value, "share", low=ranked[metric].low, high=ranked[metric].high, **own)


def _known(setting: Setting, n_steps: int, known: int) -> IntArray:
    """Steps that are known of each household: scattered ones, or a whole day from midnight."""
    n, per_day = len(setting.readings), setting.readings.per_day
    if known == ONE_DAY and per_day <= n_steps:
        day = setting.random(KNOWN).integers(n_steps // per_day, size=n)
        return per_day * day[:, None] + np.arange(per_day)
    return known_readings(n, n_steps, known, seed=setting.seed)


def measure_relinking(setting: Setting, table: RecordTable) -> None:
    """Add how many pseudonyms of a month are relinked with those of the next one."""
    readings = setting.readings
    month = months(readings)
    names = np.unique(month)
    if len(names) < 2:
        return
    first = setting.random(MONTHS).permutation(len(names) - 1)[: setting.options.relinked]
    days = readings.times.dayofweek.to_numpy() >= 5
    slot = readings.per_day * days + np.tile(np.arange(readings.per_day), len(readings.days))
    for i in np.sort(first):
        before, after = (month == names[j] for j in (i, i + 1))
        if len(np.unique(slot[before])) < 2 * readings.per_day or len(np.unique(slot[after])) < 2 * readings.per_day:
            continue  # a month that was cut has no weekend, or no workday
        features = [usage_features(readings.kwh[:, own], slot[own]) for own in (before, after)]
        found = relink(*features, np.arange(len(readings)), setting.seed)
        own = {"part": "relinking", "step": ROTATED, "months": f"{names[i]}, {names[i + 1]}"}
        for name, method in (("assigned", "assignment"), ("nearest", "nearest")):
            value = found.metrics()[name]
            table.add("right", value.value, "share", method=method, low=value.low, high=value.high, **own)
        table.add("right", found.guessing, "share", method="guessing", **own)


def measure_patterns(setting: Setting, table: RecordTable) -> None:
    """Add who is found by a midday dip, and by the night use."""
    solar = setting.solar
    owns = solar.profiles.households["solar"].to_numpy(dtype=bool)
    if owns.any():
        deepest = np.argsort(-midday_dip(solar), kind="stable")[: int(owns.sum())]
        table.add("precision", float(owns[deepest].mean()), "share", part="patterns", pattern="midday_dip")
        table.add("base_rate", float(owns.mean()), "share", part="patterns", pattern="midday_dip")
    night = night_use(setting.readings)
    half = night.shape[1] // 2
    if half:
        before, after = night[:, :half].mean(axis=1), night[:, half:].mean(axis=1)
        nearest = np.abs(before[:, None] - after).argmin(axis=1)
        right = nearest == np.arange(len(night))
        top = np.argsort(-before, kind="stable")[: max(1, round(TOP * len(night)))]
        table.add("right_top", float(right[top].mean()), "share", part="patterns", pattern="night_use")
        table.add("right_all", float(right.mean()), "share", part="patterns", pattern="night_use")


def midday_dip(readings: Readings) -> np.ndarray:
    """How much less a household uses from 10 to 15 o'clock (UTC) in summer than in winter, as a share, shape (C,).

    From May to August, against the months from November to February; against its mornings where the data have no such
    winter.
    """
    by_day = readings.hourly().reshape(len(readings), len(readings.days), 24)
    month = pd.DatetimeIndex(readings.days).month
    summer, winter = np.isin(month, (5, 6, 7, 8)), np.isin(month, (11, 12, 1, 2))
    midday = by_day[:, :, 10:15].mean(axis=2)
    if summer.any() and winter.any():
        sunny, dark = midday[:, summer].mean(axis=1), midday[:, winter].mean(axis=1)
    else:
        sunny, dark = midday.mean(axis=1), by_day[:, :, 6:9].mean(axis=(1, 2))
    return np.asarray(1 - sunny / np.maximum(dark, 1e-9))


def night_use(readings: Readings) -> np.ndarray:
    """Energy from midnight to 5 o'clock (UTC) of each day, shape (C, D)."""
    return np.asarray(readings.hourly().reshape(len(readings), len(readings.days), 24)[:, :, :5].sum(axis=2))
