"""What a release of daily profiles looks like, with the real profiles that it was learnt from beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray
from unlearn.data import DAYS, DailyProfiles
from unlearn.errors import InputError
from unlearn.evaluation.utility.measure import REAL
from unlearn.evaluation.utility.profile_tasks import SEASONS, season_of
from unlearn.records import RecordTable

#: Quantiles of the energy of each step.
BAND = (0.05, 0.5, 0.95)

#: Probabilities at which the energy of a day is recorded.
DAY_PROBABILITIES = np.arange(101) / 100

#: Examples are the profiles at these quantiles of the energy of a day.
EXAMPLE_PROBABILITIES = (0.1, 0.3, 0.5, 0.7, 0.9)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: Days of a month, February over the four years of a cycle.
_DAYS_OF_MONTH = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

Mask = NDArray[np.bool_]


def describe_release(
    release: DailyProfiles,
    real: DailyProfiles | None = None,
    labels: Mapping[str, object] | None = None,
    real_examples: bool = True,
) -> RecordTable:
    """Describe a release; real training data beside it where it is given.

    Where steps differ, both are described in hours.

    Args:
        release: what a generator released.
        real: what it was fitted on.
        labels: further columns of every record.
        real_examples: record days of real customers as examples; leave them out of what others will read.

    Returns:
        Records with `generator` ("real" or the name of the release), `label` and `of` (which label and value the
        number is of: `segment`, `month`, `day_of_week`, `season and day`; none for all profiles), `metric`:

        - `profiles`, `share`, `kwh_per_day`: of all and of each value of a label; `share` of 1.
        - `kwh_per_year`: the months' means, weighted by their days; only where all twelve occur.
        - `zero_share`, `largest`: share of steps of 0 kWh, largest step in kWh.
        - `mean_profile`: mean of each step in kWh, `at` its beginning in hours.
        - `quantile`: of each step at `probability`, with `at`.
        - `day_quantile`: of the energy of a day in kWh, at `probability`.
        - `example`: a whole profile, with `at`, `number`, and its labels in `of`.

    Raises:
        InputError: no profiles, or a release that is called "real".
    """
    if release.name == REAL:
        raise InputError(f"describe: expected a release with a name of its own, not {REAL!r}.")
    for part in (release, real):
        if part is not None and not len(part):
            raise InputError(f"describe: expected profiles to describe, got none in {part.name}.")
    if real is not None and real.n_steps != release.n_steps:
        release, real = release.to_hourly(), real.to_hourly()
    table = RecordTable(experiment="synthesize", **(labels or {}))
    _describe(table, release, release.name, examples=True)
    if real is not None:
        _describe(table, real, REAL, examples=real_examples)
    return table


def _describe(table: RecordTable, profiles: DailyProfiles, name: str, examples: bool) -> None:
    own = {"generator": name, "n_steps": profiles.n_steps}
    hours = 24 * np.arange(profiles.n_steps) / profiles.n_steps
    day = profiles.kwh.sum(axis=1, dtype=np.float64)
    for label, value, members in _groups(profiles):
        where = own | {"label": label, "of": value}
        n = int(members.sum())
        table.add("profiles", n, "profiles", **where)
        table.add("share", n / len(profiles), "1", **where)
        if not n:
            continue
        table.add("kwh_per_day", day[members].mean(), "kWh", **where)
        if label not in ("month", "day_of_week"):
            mean = profiles.kwh[members].mean(axis=0, dtype=np.float64)
            _add_curve(table, "mean_profile", mean, hours, where)
    if len(np.unique(profiles.month)) == 12:
        table.add("kwh_per_year", _per_year(profiles, day), "kWh", **own)
    table.add("zero_share", float((profiles.kwh == 0).mean()), "1", **own)
    table.add("largest", float(profiles.kwh.max()), "kWh", **own)
    for probability, energy in zip(BAND, np.quantile(profiles.kwh, BAND, axis=0), strict=True):
        _add_curve(table, "quantile", energy, hours, own | {"probability": probability})
    for probability, value in zip(DAY_PROBABILITIES, np.quantile(day, DAY_PROBABILITIES), strict=True):
        table.add("day_quantile", value, "kWh", probability=probability, **own)
    if examples:
        order = np.argsort(day, kind="stable")
        for number, probability in enumerate(EXAMPLE_PROBABILITIES):
            row = int(order[round(probability * (len(order) - 1))])
            what = (MONTHS[profiles.month[row] - 1], DAYS[profiles.day_of_week[row]])
            text = ", ".join((*what, profiles.segments[profiles.segment[row]]))
            more = {"number": number, "probability": probability, "of": text}
            _add_curve(table, "example", profiles.kwh[row].astype(np.float64), hours, own | more)


def _groups(profiles: DailyProfiles) -> Iterator[tuple[str | None, str | None, Mask]]:
    """Which profiles have each value of each label."""
    yield None, None, np.ones(len(profiles), dtype=bool)
    for code, name in enumerate(profiles.segments):
        yield "segment", name, profiles.segment == code
    for month, name in enumerate(MONTHS, start=1):
        yield "month", name, profiles.month == month
    for code, name in enumerate(DAYS):
        yield "day_of_week", name, profiles.day_of_week == code
    season, weekend = season_of(profiles.month), profiles.day_of_week >= 5
    for code, name in enumerate(SEASONS):
        for is_weekend, day in ((False, "weekday"), (True, "weekend")):
            yield "season and day", f"{name} {day}", (season == code) & (weekend == is_weekend)


def _add_curve(
    table: RecordTable, metric: str, values: FloatArray, hours: FloatArray, where: Mapping[str, Any]
) -> None:
    for at, value in zip(hours, values, strict=True):
        table.add(metric, value, "kWh", at=at, **where)


def _per_year(profiles: DailyProfiles, day: FloatArray) -> float:
    """Energy of a year of days, whatever the mix of months, all of which occur."""
    count = np.bincount(profiles.month - 1, minlength=12)
    return float((np.bincount(profiles.month - 1, weights=day, minlength=12) / count) @ _DAYS_OF_MONTH)
