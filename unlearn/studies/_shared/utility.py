"""Utility of released daily profiles: train on the release, test on real households, beside training on real ones.

Three tasks: the season of a profile, its next step, and hourly loads of the buses of a grid, where forecasts are
also priced. Test households are in no training set, and test weeks are in none either: forecasters could otherwise
learn the weather of a day from one household and use it on another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.bus_loads import (
    NOTHING,
    household_load_kwh,
    load_scale,
    measure_load_task,
    plan_buses,
    release_load_kwh,
    training_days,
)
from unlearn.studies._shared.options import UtilityOptions
from unlearn.studies._shared.study import METRICS

#: What real training is called in the column `generator`; redrawn: real days, but of other households every day, as
#: in a release that knows no households.
REAL, REDRAWN = "real", "real redrawn"


def training_part(train: HouseholdProfiles, test_every: int = 4) -> HouseholdProfiles:
    """The days of training households that generators and forecasters may learn from."""
    return train.take(training_days(train.date, test_every))


def measure_utility(
    releases: Sequence[DailyProfiles],
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    cost: OperatingCost | None = None,
    options: UtilityOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
    test_every: int = 4,
) -> RecordTable:
    """Measure each release, real training data beside it, and what needs no training.

    If any release is in steps of an hour, all profile tasks are in hours, so that their errors can be compared.

    Args:
        releases: what generators released that were fitted on `training_part(train)`, each with a name of its own.
        train: training households with all their days (the days before a training day are inputs of its forecast).
        holdout: test households with all their days.
        cost: the grid; only the task "load" needs it.
        options: how to measure; None takes the defaults.
        seed: of samples, buses, classifiers and networks.
        labels: further columns of every record.
        test_every: every so many calendar weeks, one is tested on.

    Returns:
        Records with `task`, `generator` (what was trained on), `forecaster`, `metric`, `value`, `unit`.

    Raises:
        InputError: two releases of one name, no grid for "load", or sets that a task cannot use.
        MismatchError: train and holdout share households.
    """
    options = options or UtilityOptions()
    names, taken = [release.name for release in releases], (REAL, REDRAWN, NOTHING)
    if len({*names, *taken}) < len(names) + len(taken):
        raise InputError(f"utility: expected releases with names of their own, none among {taken}; got {names}.")
    require_other_households("utility", train, holdout)
    if "load" in options.tasks and cost is None:
        raise InputError("utility: the task 'load' prices forecasts; expected cost, an OperatingCost, got None.")
    table = RecordTable(
        **{"experiment": "utility", "data": train.name, "seed": seed, "split": "test", **(labels or {})}
    )
    learn = {REAL: training_part(train, test_every), **{release.name: release for release in releases}}
    test = holdout.take(~training_days(holdout.date, test_every))
    for part in (*learn.values(), test):
        if not len(part):
            raise InputError(
                f"utility: expected profiles to train on, and days of test weeks to test on, got none in {part.name}. "
                f"Give more days, or change test_every ({test_every})."
            )
    jobs = [(task, name) for task in options.tasks if task != "load" for name in learn]
    hourly = len({part.n_steps for part in (test, *learn.values())}) > 1
    for task, name in tqdm(jobs, desc="profile tasks", leave=False):
        random = np.random.default_rng(seed)
        known, asked = (_sample(part, options.profiles, random) for part in (learn[name], test))
        if hourly:
            known, asked = known.to_hourly(), asked.to_hourly()
        _add_profile_task(table, task, name, known, asked, options, seed)
    if "load" in options.tasks and cost is not None:
        plan = plan_buses(train, len(cost.case.nominal_load_mw), options.customers, test_every, seed)
        sources = {REAL: household_load_kwh(plan, train, seed), REDRAWN: release_load_kwh(plan, learn[REAL], seed)}
        sources |= {release.name: release_load_kwh(plan, release, seed) for release in releases}
        factor, test_kwh = load_scale(plan, sources[REAL], cost), household_load_kwh(plan, holdout, seed)
        how = options.forecasters, options.training, options.hours, seed
        for name, kind, metric, value in measure_load_task(plan, sources, test_kwh, factor, cost, *how):
            unit = METRICS[metric]
            table.add(metric, value, unit, task="load", generator=name, forecaster=kind, n_steps=24)
    return table


def _sample(profiles: DailyProfiles, n: int, random: np.random.Generator) -> DailyProfiles:
    chosen = random.permutation(len(profiles))[:n] if len(profiles) > n else None
    return profiles if chosen is None else profiles.take(np.sort(chosen))


def _add_profile_task(
    table: RecordTable,
    task: str,
    name: str,
    known: DailyProfiles,
    asked: DailyProfiles,
    options: UtilityOptions,
    seed: int,
) -> None:
    if task == "season":
        for metric, value in season_scores(known, asked, seed).items():
            table.add(metric, value, "share", task=task, generator=name, forecaster="boosting", n_steps=known.n_steps)
        return
    for model, metric, value in next_step_scores(known, asked, options.window, options.windows, seed):
        if model != "persistence" or name == REAL:
            trained_on = NOTHING if model == "persistence" else name
            table.add(metric, value, "kWh", task=task, generator=trained_on, forecaster=model, n_steps=known.n_steps)


SEASONS = ("winter", "spring", "summer", "autumn")


def season_of(month: IntArray) -> IntArray:
    """Meteorological season of a month of the northern hemisphere: 0 (December to February) to 3."""
    return month % 12 // 3


def season_scores(train: DailyProfiles, test: DailyProfiles, seed: int = 0) -> dict[str, float]:
    """Classify the season of each test profile after training on others, by gradient boosting on histograms.

    Returns:
        `balanced_accuracy` (0.25 by chance with four seasons) and `macro_f1`, over the seasons that occur in the test.

    Raises:
        InputError: fewer than two seasons in either set, or other steps a day.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score, f1_score

    _require_same_steps(train, test)
    known, true = (season_of(part.month) for part in (train, test))
    for part, seasons in ((train, known), (test, true)):
        if len(np.unique(seasons)) < 2:
            raise InputError(f"season: expected profiles of at least two seasons, {part.name} has one.")
    # Roots draw in the tail; the day of the week goes along, since it changes days as seasons do.
    inputs = [np.column_stack([np.sqrt(part.kwh), part.day_of_week]) for part in (train, test)]
    # With many profiles it sets some of each season aside to stop early, which takes two of each.
    stopping = "auto" if np.unique(known, return_counts=True)[1].min() > 1 else False
    model = HistGradientBoostingClassifier(max_iter=150, early_stopping=stopping, random_state=seed)
    guess = model.fit(inputs[0], known).predict(inputs[1])
    return {
        "balanced_accuracy": float(balanced_accuracy_score(true, guess)),
        "macro_f1": float(f1_score(true, guess, average="macro", labels=np.unique(true))),
    }


def next_step_scores(
    train: DailyProfiles, test: DailyProfiles, window: int = 8, rows: int = 60_000, seed: int = 0
) -> Iterator[tuple[str, str, float]]:
    """Forecast each profile's next step from the `window` steps before it, within a day.

    At most `rows` windows are drawn from each side.

    Yields:
        Model ("boosting", "ridge", or "persistence", which learns nothing), metric ("mae" or "rmse"), value in kWh.

    Raises:
        InputError: other steps a day, or a window that is as long as a day.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    _require_same_steps(train, test)
    if not 1 <= window < train.n_steps:
        raise InputError(f"window: expected 1 to {train.n_steps - 1} steps, got {window}.")
    random = np.random.default_rng(seed)
    (seen, target), (inputs, true) = (_windows(part, window, rows, random) for part in (train, test))
    boosting = HistGradientBoostingRegressor(max_iter=150, random_state=seed).fit(seen, target)
    forecasts = {
        "boosting": boosting.predict(inputs),
        "ridge": Ridge(alpha=1.0).fit(seen, target).predict(inputs),
        "persistence": inputs[:, window - 1],
    }
    for model, forecast in forecasts.items():
        error = forecast - true
        yield model, "mae", float(np.abs(error).mean())
        yield model, "rmse", float(np.sqrt(np.square(error).mean()))


def _windows(
    profiles: DailyProfiles, window: int, rows: int, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Steps before, time of day and day of the week, and the step that follows; none runs across two days."""
    starts = profiles.n_steps - window
    total = len(profiles) * starts
    chosen = random.permutation(total)[:rows] if rows < total else np.arange(total)
    row, start = np.divmod(chosen, starts)
    seen = profiles.kwh[row[:, None], start[:, None] + np.arange(window)].astype(np.float64)
    angle = 2 * np.pi * (start + window) / profiles.n_steps
    more = [np.sin(angle), np.cos(angle), profiles.day_of_week[row] >= 5]
    return np.column_stack([seen, *more]), profiles.kwh[row, start + window].astype(np.float64)


def _require_same_steps(train: DailyProfiles, test: DailyProfiles) -> None:
    if train.n_steps != test.n_steps:
        raise InputError(
            f"utility: expected the same steps a day, got {train.n_steps} in {train.name} and {test.n_steps} in "
            f"{test.name}. Use to_hourly() on both."
        )
