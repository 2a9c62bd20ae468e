"""The study of a release: a generator's profiles, described alone, beside public ones, and beside the real ones.

Real profiles are described so that no number is of fewer than `MIN_HOUSEHOLDS` households.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.generators.base import Generator
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.profiles import DAYS, DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.releases import Releases
from unlearn.studies._shared.utility import REAL, SEASONS, season_of


@dataclass(frozen=True, eq=False)
class Released:
    """A release and what is said of it.

    Attributes:
        profiles: what was released.
        folder: where profiles and model are kept.
        card: what the generator says of itself.
        records: description of the release, beside a private one its public start; to be handed over with it.
        comparison: description beside the real households, for their owner alone; None where they are too few for any
            number not to be about single ones.
    """

    profiles: DailyProfiles
    folder: Path
    card: dict[str, Any]
    records: pd.DataFrame
    comparison: pd.DataFrame | None


def study_release(releases: Releases, generator: Generator, seed: int = 0) -> Released:
    """Make a release and describe it.

    Args:
        releases: households, and how they are divided.
        generator: by which profiles are released.
        seed: of division and generator.

    Raises:
        InputError: whatever the generator refuses.
    """
    division = releases.divide(seed)
    profiles = releases.release(generator, division, seed)
    labels = {"data": releases.households.name, "seed": seed}
    public = generator.public(division.train, releases.options.profiles, seed, releases.folder)
    comparison = describe_release(profiles, division.train, labels).to_frame()
    return Released(
        profiles,
        releases.folder_of(generator, division, seed),
        releases.card(generator, division, seed),
        describe_release(profiles, None, labels, public).to_frame(),
        comparison if REAL in set(comparison["generator"]) else None,
    )


#: What a private release is described beside: a sample of what was known before any household was looked at.
PUBLIC = "public start"

#: Fewer real households than this are never described together, nor is what a difference would leave of them.
MIN_HOUSEHOLDS = 10

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

#: Label, value of it, and the profiles that have it; None and None for all.
Group = tuple[str | None, str | None, Mask]


def describe_release(
    release: DailyProfiles,
    real: HouseholdProfiles | None = None,
    labels: Mapping[str, object] | None = None,
    public: DailyProfiles | None = None,
) -> RecordTable:
    """Describe a release; real training data or public data beside it where they are given.

    Where steps differ, both are described in hours. Of real data is left out: groups of fewer than `MIN_HOUSEHOLDS`
    households, and further ones where a difference would give them away; quantiles that fewer households lie below
    or above; the smallest and the largest values; examples.

    Args:
        release: what a generator released.
        real: what it was fitted on. Records of it are for its owner, not for those who get the release.
        labels: further columns of every record.
        public: what anybody may see, such as a sample of the public start of a private release.

    Returns:
        Records with `generator` ("real", "public start" or the name of the release), `label` and `of` (which label and
        value the number is of: `segment`, `month`, `day_of_week`, `season and day`; none for all profiles), `metric`:

        - `profiles`, `share`, `kwh_per_day`: of all and of each value of a label; `share` of 1.
        - `kwh_per_year`: the months' means, weighted by their days; only where all twelve occur.
        - `zero_share`, `largest`: share of steps of 0 kWh, largest step in kWh.
        - `mean_profile`: mean of each step in kWh, `at` its beginning in hours.
        - `quantile`: of each step at `probability`, with `at`.
        - `day_quantile`: of the energy of a day in kWh, at `probability`.
        - `example`: a whole profile, with `at`, `number`, and its labels in `of`.

    Raises:
        InputError: no profiles, a release that is called "real" or "public start", real profiles without households,
            or both real and public ones.
    """
    if release.name in (REAL, PUBLIC):
        raise InputError(f"describe: expected a release with a name of its own, not {release.name!r}.")
    if real is not None and public is not None:
        raise InputError("describe: expected real or public profiles beside a release, got both. Describe it twice.")
    if real is not None and not isinstance(real, HouseholdProfiles):
        raise InputError(f"describe: expected real profiles with their households, got {real.name} without.")
    for part in (release, real, public):
        if part is not None and not len(part):
            raise InputError(f"describe: expected profiles to describe, got none in {part.name}.")
    beside = real if real is not None else public
    if beside is not None and beside.n_steps != release.n_steps:
        release, beside = release.to_hourly(), beside.to_hourly()
    table = RecordTable(experiment="release", **(labels or {}))
    _describe(table, release, release.name)
    if isinstance(beside, HouseholdProfiles) and real is not None:
        _describe_real(table, beside)
    elif beside is not None:
        _describe(table, beside, PUBLIC)
    return table


def _describe(table: RecordTable, profiles: DailyProfiles, name: str) -> None:
    """All that is known of profiles that anybody may see."""
    own, hours, day = _add_groups(table, profiles, name, _groups(profiles))
    table.add("largest", float(profiles.kwh.max()), "kWh", **own)
    for probability, energy in zip(BAND, np.quantile(profiles.kwh, BAND, axis=0), strict=True):
        _add_curve(table, "quantile", energy, hours, own | {"probability": probability})
    for probability, value in zip(DAY_PROBABILITIES, np.quantile(day, DAY_PROBABILITIES), strict=True):
        table.add("day_quantile", value, "kWh", probability=probability, **own)
    order = np.argsort(day, kind="stable")
    for number, probability in enumerate(EXAMPLE_PROBABILITIES):
        row = int(order[round(probability * (len(order) - 1))])
        what = (MONTHS[profiles.month[row] - 1], DAYS[profiles.day_of_week[row]])
        text = ", ".join((*what, profiles.segments[profiles.segment[row]]))
        more = {"number": number, "probability": probability, "of": text}
        _add_curve(table, "example", profiles.kwh[row].astype(np.float64), hours, own | more)


def _describe_real(table: RecordTable, profiles: HouseholdProfiles) -> None:
    """What is said of real households: nothing that fewer than `MIN_HOUSEHOLDS` of them stand behind."""
    kept = _large_enough(list(_groups(profiles)), profiles.household)
    if not kept:
        return
    own, hours, day = _add_groups(table, profiles, REAL, kept)
    kwh = profiles.kwh.astype(np.float64)
    energy = np.quantile(kwh, BAND, axis=0)
    shared = _are_shared(energy, kwh, profiles.household)
    for i, probability in enumerate(BAND):
        steps = shared[i]
        _add_curve(table, "quantile", energy[i, steps], hours[steps], own | {"probability": probability})
    inner = DAY_PROBABILITIES[1:-1]
    values = np.quantile(day, inner)
    shared = _are_shared(values[:, None], day[:, None], profiles.household)[:, 0]
    for probability, value in zip(inner[shared], values[shared], strict=True):
        table.add("day_quantile", value, "kWh", probability=probability, **own)


def _add_groups(
    table: RecordTable, profiles: DailyProfiles, name: str, groups: Iterable[Group]
) -> tuple[dict[str, Any], FloatArray, FloatArray]:
    """Add numbers and means of groups; return the columns of all records, hours of steps, energy of days."""
    own: dict[str, Any] = {"generator": name, "n_steps": profiles.n_steps}
    hours = 24 * np.arange(profiles.n_steps) / profiles.n_steps
    day = profiles.kwh.sum(axis=1, dtype=np.float64)
    described = set()
    for label, value, members in groups:
        described.add(label)
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
    if "month" in described and len(np.unique(profiles.month)) == 12:
        # Energy of a year of days, whatever the mix of months.
        count, total = (np.bincount(profiles.month - 1, weights, minlength=12) for weights in (None, day))
        table.add("kwh_per_year", float((total / count) @ _DAYS_OF_MONTH), "kWh", **own)
    table.add("zero_share", float((profiles.kwh == 0).mean()), "1", **own)
    return own, hours, day


def _large_enough(groups: Sequence[Group], household: IntArray) -> list[Group]:
    """Groups of at least `MIN_HOUSEHOLDS` households, and so that what is left out is of as many together.

    Otherwise the whole minus what is described would be what is left out. Days of a household lie in one segment, but
    in many months, seasons and days of the week, which overlap: of these a label is described as a whole or not at all.
    """
    kept: list[Group] = []
    for label in dict.fromkeys(label for label, _, _ in groups):
        own = [group for group in groups if group[0] == label]
        sizes = [len(np.unique(household[members])) for _, _, members in own]
        out = {i for i, size in enumerate(sizes) if 0 < size < MIN_HOUSEHOLDS}
        if out and label is None:
            return []
        if out and label != "segment":
            continue
        for i in map(int, np.argsort(sizes, kind="stable")):
            if sizes[i] and 0 < sum(sizes[j] for j in out) < MIN_HOUSEHOLDS:
                out.add(i)
        kept += [group for i, group in enumerate(own) if i not in out]
    return kept


def _are_shared(quantiles: FloatArray, values: FloatArray, household: IntArray) -> Mask:
    """Which quantiles, shape (Q, S), have values of `MIN_HOUSEHOLDS` households on either side; values are (n, S)."""
    owner = np.unique(household, return_inverse=True)[1]
    lowest = np.full((owner.max() + 1, values.shape[1]), np.inf)
    highest = -lowest
    np.minimum.at(lowest, owner, values)
    np.maximum.at(highest, owner, values)
    below, above = (lowest[None] <= quantiles[:, None]).sum(axis=1), (highest[None] >= quantiles[:, None]).sum(axis=1)
    return np.minimum(below, above) >= MIN_HOUSEHOLDS


def _groups(profiles: DailyProfiles) -> Iterator[Group]:
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
