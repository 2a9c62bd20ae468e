"""Utility of released daily profiles: train on the release, test on real households, beside training on real ones.

Three tasks: the season of a profile, its next step, and hourly loads of the buses of a grid, where forecasts are
also priced. Test households are in no training set, and test weeks are in none either: forecasters could otherwise
learn the weather of a day from one household and use it on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.measure import METRICS
from unlearn.studies._shared.utility.bus_forecasts import NOTHING, load_scale, measure_load_task
from unlearn.studies._shared.utility.bus_loads import household_load_kwh, plan_buses, release_load_kwh, training_days
from unlearn.studies._shared.utility.options import UtilityOptions
from unlearn.studies._shared.utility.profile_tasks import next_step_scores, season_scores

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
    _check(releases, train, holdout, cost, options)
    table = RecordTable(
        **{"experiment": "utility", "data": train.name, "seed": seed, "split": "test", **(labels or {})}
    )
    learn = {REAL: training_part(train, test_every), **{release.name: release for release in releases}}
    test = holdout.take(~training_days(holdout.date, test_every))
    _require_days((*learn.values(), test), test_every)
    jobs = [(task, name) for task in options.tasks if task != "load" for name in learn]
    hourly = len({part.n_steps for part in (test, *learn.values())}) > 1
    for task, name in tqdm(jobs, desc="profile tasks", leave=False):
        known, asked = _samples(learn[name], test, options.profiles, seed)
        if hourly:
            known, asked = known.to_hourly(), asked.to_hourly()
        _add_profile_task(table, task, name, known, asked, options, seed)
    if "load" in options.tasks and cost is not None:
        _add_load_task(table, learn, train, holdout, cost, options, seed, test_every)
    return table


def _check(
    releases: Sequence[DailyProfiles],
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    cost: OperatingCost | None,
    options: UtilityOptions,
) -> None:
    names = [release.name for release in releases]
    taken = (REAL, REDRAWN, NOTHING)
    if len({*names, *taken}) < len(names) + len(taken):
        raise InputError(f"utility: expected releases with names of their own, none among {taken}; got {names}.")
    require_other_households("utility", train, holdout)
    if "load" in options.tasks and cost is None:
        raise InputError("utility: the task 'load' prices forecasts; expected cost, an OperatingCost, got None.")


def _require_days(parts: Sequence[DailyProfiles], test_every: int) -> None:
    for part in parts:
        if not len(part):
            raise InputError(
                f"utility: expected profiles to train on, and days of test weeks to test on, got none in {part.name}. "
                f"Give more days, or change test_every ({test_every})."
            )


def _samples(learn: DailyProfiles, test: DailyProfiles, n: int, seed: int) -> tuple[DailyProfiles, DailyProfiles]:
    """Samples of at most n profiles."""
    random = np.random.default_rng(seed)
    known, asked = (
        part.take(np.sort(random.permutation(len(part))[:n])) if len(part) > n else part for part in (learn, test)
    )
    return known, asked


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


def _add_load_task(
    table: RecordTable,
    learn: Mapping[str, DailyProfiles],
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    cost: OperatingCost,
    options: UtilityOptions,
    seed: int,
    test_every: int,
) -> None:
    plan = plan_buses(train, len(cost.case.nominal_load_mw), options.customers, test_every, seed)
    sources = {REAL: household_load_kwh(plan, train, seed), REDRAWN: release_load_kwh(plan, learn[REAL], seed)}
    sources |= {name: release_load_kwh(plan, release, seed) for name, release in learn.items() if name != REAL}
    factor = load_scale(plan, sources[REAL], cost)
    test_kwh = household_load_kwh(plan, holdout, seed)
    for row in measure_load_task(
        plan, sources, test_kwh, factor, cost, options.forecasters, options.training, options.hours, seed
    ):
        table.add(
            row.metric,
            row.value,
            METRICS[row.metric],
            task="load",
            generator=row.trained_on,
            forecaster=row.forecaster,
            n_steps=24,
        )
