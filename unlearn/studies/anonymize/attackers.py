"""What attackers find in releases of records: with known readings, over months, by habits, and in features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks.linkage import link_by_distance, link_by_match
from unlearn.attacks.published import PublishedSeries, known_readings
from unlearn.attacks.relinking import relink, usage_features
from unlearn.checks import FloatArray, IntArray
from unlearn.data.times import day_of_week_of
from unlearn.records import RecordTable
from unlearn.studies.anonymize.options import ONE_DAY, ONE_WEEK, RAW, ROTATED
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
    kwh, days = readings.kwh, readings.days
    if records.step == ROTATED:
        month = months(readings)
        inside = month == setting.random(MONTHS).choice(np.unique(month))
        kwh, days = kwh[:, inside], days[inside[:: readings.per_day]]
        series = (PublishedSeries(kwh, np.arange(kwh.shape[1])),)
    owner = np.arange(len(readings))
    for known in tqdm(setting.options.known, desc=f"linkage, {records.step}", leave=False, delay=2):
        steps = _known(setting, days, known)
        if steps is None:
            continue
        own = {"part": "linkage", "step": records.step, "known": known}
        if known == setting.options.main_known:
            shares = _within_feeders(setting, series, kwh, steps)
            for metric, share in shares.items():
                table.add(metric, share, "share", **own)
        matched = link_by_match(series, owner, kwh, steps)
        found = matched.metrics(setting.seed)
        names = {"unique": "unique_right", "included": "included", "chance": "right_guess"}
        for name, metric in names.items():
            table.add(metric, found[name].value, "share", low=found[name].low, high=found[name].high, **own)
        table.add("matches", float(matched.matches.mean()), "", **own)
        ranked = link_by_distance(series, owner, kwh, steps).metrics(setting.seed)
        for metric in ("top_1", "top_10"):
            table.add(metric, ranked[metric].value, "share", low=ranked[metric].low, high=ranked[metric].high, **own)


def _within_feeders(
    setting: Setting, series: tuple[PublishedSeries, ...], kwh: FloatArray, steps: IntArray
) -> dict[str, float]:
    """Shares found by the same readings if the feeder of the household is known, too, and that of each record."""
    found = {"right_guess_in_feeder": 0.0, "top_1_in_feeder": 0.0}
    for b in range(len(setting.feeders.names)):
        here = np.flatnonzero(setting.feeders.feeder_of == b)
        own = tuple(replace(part, values=part.values[here]) for part in series)
        owner = np.arange(len(here))
        found["right_guess_in_feeder"] += float(link_by_match(own, owner, kwh[here], steps[here]).chance.sum())
        found["top_1_in_feeder"] += float(link_by_distance(own, owner, kwh[here], steps[here]).top(1).sum())
    return {name: value / len(kwh) for name, value in found.items()}


def _known(setting: Setting, days: np.ndarray, known: int) -> IntArray | None:
    """Steps that are known of each household: scattered ones, a whole day from midnight, or a whole week from Monday.

    None where the days have not so many.
    """
    n, per_day = len(setting.readings), setting.readings.per_day
    if known not in (ONE_DAY, ONE_WEEK):
        return (
            known_readings(n, per_day * len(days), known, seed=setting.seed) if known <= per_day * len(days) else None
        )
    first = np.arange(len(days) - known // per_day + 1)
    if known == ONE_WEEK:
        first = first[day_of_week_of(days[first]) == 0]
    if not len(first):
        return None
    day = setting.random(KNOWN).choice(first, size=n)
    return np.asarray(per_day * day[:, None] + np.arange(known), dtype=np.int64)


def measure_relinking(setting: Setting, table: RecordTable) -> None:
    """Add how many pseudonyms of a month are relinked with those of the next one."""
    readings = setting.readings
    month = months(readings)
    names = np.unique(month)
    if len(names) < 2:
        return
    first = setting.random(MONTHS).permutation(len(names) - 1)[: setting.options.relinked]
    days = readings.times.day_of_week.to_numpy() >= 5
    slot = readings.per_day * days + np.tile(np.arange(readings.per_day), len(readings.days))
    for i in np.sort(first):
        before, after = (month == names[j] for j in (i, i + 1))
        if len(np.unique(slot[before])) < 2 * readings.per_day or len(np.unique(slot[after])) < 2 * readings.per_day:
            continue  # a month that was cut has no weekend, or no workday
        first_month, second_month = (usage_features(readings.kwh[:, own], slot[own]) for own in (before, after))
        found = relink(first_month, second_month, np.arange(len(readings)), setting.seed)
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
