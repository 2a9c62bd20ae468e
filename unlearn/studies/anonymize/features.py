"""Features of households that a release of records tells, and the risk that attacks on them have.

The release is of a random half of the households. What it tells of that half is compared with what it tells of the
other half, which is nothing but what holds of everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unlearn.attacks.inference import inference_risk
from unlearn.attacks.linkability import linkability_risk
from unlearn.attacks.risk import Risk
from unlearn.attacks.singling_out import singling_out_risk
from unlearn.checks import FloatArray
from unlearn.records import RecordTable
from unlearn.studies.anonymize.options import EXTREMES, PSEUDONYMS, RAW, ROTATED
from unlearn.studies.anonymize.releases import Records, records_of
from unlearn.studies.anonymize.setting import Readings, Setting
from unlearn.studies.anonymize.table import COPY, INDEPENDENT

#: The class of a household, and its share of energy in the evening: what is inferred.
CLASS, EVENING = "class", "evening_share"
#: What an attacker knows in one of two tables that it links; the other table has the rest.
_FIRST = ("mean_day", "largest", "night_share", CLASS)
#: Purpose of chance.
HALVES = 4


def measure_risks(setting: Setting, step: str, table: RecordTable) -> None:
    """Add the risk of attacks on features that the records of a step tell.

    Args:
        setting: households.
        step: of a release of records; or `COPY` or `INDEPENDENT`, the controls of the attacks.
        table: gets the records.
    """
    if step in (RAW, ROTATED):  # the same numbers as under pseudonyms for all time
        return
    readings, rounding = setting.readings, setting.options.rounding_kwh
    order = setting.random(HALVES).permutation(len(readings))
    half = len(order) // 2
    inside, outside = (readings.take(np.sort(own)) for own in (order[:half], order[half : 2 * half]))
    source = inside if step != INDEPENDENT else setting.standard.take(np.arange(min(half, len(setting.standard))))
    made = records_of(PSEUDONYMS if step in (COPY, INDEPENDENT) else step, source, rounding)
    release = features_of(made, source)
    exact = [
        features_of(records_of(EXTREMES if step == EXTREMES else PSEUDONYMS, own, rounding), own)[list(release)]
        for own in (inside, outside)
    ]
    for name, risk in _attacked(release, exact[0], exact[1], setting):
        for metric, found in risk.metrics().items():
            if not np.isfinite(found.value):  # nothing could be tried, which is logged
                continue
            own = {"part": "risk", "step": step, "attack": name, "low": found.low, "high": found.high}
            table.add(metric, found.value, "", **own, why=risk.reason)


def _attacked(
    release: pd.DataFrame, original: pd.DataFrame, control: pd.DataFrame, setting: Setting
) -> list[tuple[str, Risk]]:
    how = {"n_attacks": setting.options.attacks, "seed": setting.seed}
    three = (release, original, control)
    found = [
        (f"singling_out_{mode}", singling_out_risk(*three, mode=mode, n_columns=min(3, len(release.columns)), **how))
        for mode in ("univariate", "multivariate")
    ]
    first = [own for own in release if own in _FIRST]
    second = [own for own in release if own not in _FIRST]
    if first and second:
        found.append(("linkability", linkability_risk(*three, first, second, **how)))  # type: ignore[arg-type]
    for secret, name in ((CLASS, "inference_class"), (EVENING, "inference_evening")):
        known = [own for own in release if own != secret]
        if secret in release and original[secret].nunique() > 1 and known:
            found.append((name, inference_risk(*three, known, secret, **how)))  # type: ignore[arg-type]
    return found


def features_of(records: Records, readings: Readings) -> pd.DataFrame:
    """Features of each household, a row each, as far as the records' steps tell them.

    Args:
        records: of the households.
        readings: of the same; their times and classes are used, not their energies.
    """
    days = pd.DatetimeIndex(readings.days)
    weekend, winter = np.asarray(days.day_of_week >= 5), np.isin(days.month, (11, 12, 1, 2))
    found: dict[str, FloatArray] = {}
    if len(records.series) > 1:
        low, high = (own.values for own in records.series)
        found["mean_low"], found["mean_high"] = low.mean(axis=1), high.mean(axis=1)
        found["largest"] = high.max(axis=1)
        _add_ratio(found, "winter_ratio", high, winter)
        _add_ratio(found, "weekend_ratio", high, weekend)
    else:
        series = records.series[0]
        per_step = int(series.readings_per_step().max())
        covered = series.step_of >= 0
        found["mean_day"] = series.values.sum(axis=1) * readings.per_day / covered.sum()
        per_day = readings.per_day // per_step
        if per_day:
            by_day = series.values.reshape(len(series.values), len(days), per_day)
            total = by_day.sum(axis=2)
            if per_step <= 2:
                found["largest"] = series.values.max(axis=1) / per_step
            if per_day >= 4:
                energy = np.maximum(total.sum(axis=1), 1e-9)
                found["night_share"] = by_day[:, :, : per_day // 4].sum(axis=(1, 2)) / energy
                found[EVENING] = by_day[:, :, 3 * per_day // 4 :].sum(axis=(1, 2)) / energy
            _add_ratio(found, "weekend_ratio", total, weekend)
            _add_ratio(found, "winter_ratio", total, winter)
        else:
            first = series.step_of[:: readings.per_day]
            cold = np.bincount(first[first >= 0], winter[first >= 0], minlength=series.values.shape[1]) > 3
            _add_ratio(found, "winter_ratio", series.values, cold)
    return pd.DataFrame(found).assign(**{CLASS: readings.segment.to_numpy()})


def _add_ratio(
    found: dict[str, FloatArray], name: str, by_day: FloatArray, chosen: Sequence[bool] | np.ndarray
) -> None:
    """Add the mean of some days over that of the others, where there are both."""
    inside = np.asarray(chosen, dtype=bool)
    if inside.any() and not inside.all():
        others = by_day[:, ~inside].mean(axis=1)
        found[name] = by_day[:, inside].mean(axis=1) / np.maximum(others, 1e-9)
