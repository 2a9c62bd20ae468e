"""What releases are good for, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Block,
    Page,
    Spread,
    answer_rows,
    capital,
    overall,
    write,
)
from unlearn.studies._shared.bus_loads import NOTHING, PERFECT, WEEK_BEFORE
from unlearn.studies._shared.utility import REAL, REDRAWN
from unlearn.studies.utility.measure import Source, UtilityTable

#: A release is good enough if its forecasts cost at most this many times what those of real training cost.
COST_LIMIT = 1.05
#: Balanced accuracy of guessing one of four seasons.
CHANCE = 0.25
TASK_NAMES = {"season": "season", "next_step": "next step", "load": "bus loads"}
UNIT_NAMES = {"pu2": "p.u.²", "percent": "%", "share": ""}
METRIC_NAMES = {"macro_f1": "macro F1", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "mape": "MAPE"}
#: Metrics of the first table; the parts of the cost and what was clipped or shed stand in another.
MAIN_METRICS = ("balanced_accuracy", "macro_f1", "rmse", "mae", "mse", "mape", "cost")
#: What was measured in each task.
_MEASURED = {
    "season": "Season: a classifier learns the season of single daily profiles. Balanced accuracy weighs the four "
    "seasons alike.",
    "next_step": "Next step: a regression forecasts a profile's next step from the steps before it within the same "
    "day. Persistence repeats the last step.",
    "load": "Bus loads: profiles are added up to the hourly loads of the grid's buses, each with the same mix of "
    "customer segments whatever the source. A forecaster that knows the calendar and the loads of a day and of a week "
    "before is trained on them. It then forecasts the buses of the test households in the test weeks. The grid is "
    "dispatched on its forecast and redispatched once the load is known.",
}
_BASELINES = (
    'Training on "real": the training households, each itself all year. "Real redrawn": their days again, but each '
    "customer takes a day of another household of the same month, day of the week and segment every day, which is all "
    "that a release without households and dates allows. What real redrawn loses against real is the order of days. "
    "What a release loses against real redrawn is in its profiles, or in there being fewer of them.",
    "Baselines without training: errors are counted from a perfect forecast. A forecaster that is not cheaper than "
    "the load of a week before is of no use.",
)


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = UtilityTable(records)
    found = verdicts(table)
    about, *sentences = summarise(records)
    said, parts = set(map(str, found)), utility_table(records, main=False)
    grids = ", ".join(str(name) for name in records["grid"].dropna().unique())
    told = ", ".join(f"{own.subject} {own.answer}" for own in found)
    return Page(
        "Is the release good enough to run a grid on?",
        overall(own.answer for own in found),
        f"by the cost of forecasts, {told}." if told else "no release was tried on the grid.",
        f"{records['data'].iloc[0]}{f' on {grids}' if grids else ''}. {about}",
        "Scores of each training set and forecaster in each task, and of forecasts that need no training",
        [
            Block(
                "Each release", rows=answer_rows(found, "release"), texts=4,
                note="Yes: on every seed, forecasts cost less than the load of a week before and at most "
                f"{COST_LIMIT:g} times what forecasts cost after training on real households. No: every seed says the "
                "contrary of one of the two.",
            ),
            Block("What each task says", points=[sentence for sentence in sentences if sentence not in said]),
            Block(
                "Every number", rows=utility_table(records), texts=4,
                note="Means and standard deviations over seeds. Ratios are of the same seed, their mean and range. For "
                "accuracy and F1 a ratio below 1 is a loss, for errors and costs one above 1.",
            ),
            Block(rows=parts, texts=4, folded=f"{len(parts)} parts of the cost and shares of hours"),
        ],
        measured=[
            "Households are divided into train and holdout. Generators and forecasters learn from one, tests are on "
            "the other. Every few weeks a whole calendar week is a test week, and nothing learns from it in either "
            "group, so that no forecaster knows a test day's weather from other households.",
            *(_MEASURED[task] for task in table.tasks),
            *(_BASELINES if "load" in table.tasks else ()),
        ],
        limits=["Other grids, forecasters and years were not tried."],
        internal=True,
    )  # fmt: skip


def verdicts(table: UtilityTable) -> list[Answer]:
    """Answer for each release, by the operating cost of the forecaster that is cheapest after real training.

    The choice of the forecaster does not look at releases. A release is refused if its forecasts cost no less than
    the load of a week before, or more than `COST_LIMIT` times real training; over several seeds, the answer is
    yes or no only where all seeds say the same.
    """
    return [_verdict(table, name) for name in table.releases] if "load" in table.tasks else []


def deciding_forecaster(table: UtilityTable) -> str | None:
    """The forecaster whose mean cost is lowest after real training; None without real training."""
    found = {kind: table.value("load", "cost", (REAL, kind)) for kind in table.forecasters("load", "cost")}
    means = {kind: spread.mean for kind, spread in found.items() if spread}
    return min(means, key=lambda kind: means[kind]) if means else None


def _verdict(table: UtilityTable, name: str) -> Answer:
    kind = deciding_forecaster(table)
    if kind is None or (real := table.ratio("load", "cost", (name, kind), (REAL, kind))) is None:
        why = "no forecaster was trained on real households of the same seed to compare with."
        return Answer(name, UNCLEAR, why, _QUESTION)
    week = table.ratio("load", "cost", (name, kind), (NOTHING, WEEK_BEFORE))
    if (week and week.low >= 1) or real.low > COST_LIMIT:
        answer = NO
    else:
        answer = UNCLEAR if real.high > COST_LIMIT or (week and week.high >= 1) else YES
    limit = f", within the limit of {COST_LIMIT:g}"
    if real.high > COST_LIMIT:
        limit = (
            f", above the limit of {COST_LIMIT:g}"
            if real.low > COST_LIMIT
            else f"; the limit of {COST_LIMIT:g} is within that range"
        )
    reason = (
        f"{named(kind, FORECASTER_NAMES)}, the forecaster that is cheapest after real training, costs {real.mean:.2f} "
        f"times what real training costs{real.range('.2f').replace(')', f' over {real.n} seeds)')}{limit}."
    )
    reason += f" {beside_week(week)}" if week else ""
    return Answer(name, answer, reason + (" One seed only." if real.n == 1 else ""), _QUESTION)


_QUESTION = "Is it good enough to run a grid on?"


def beside_week(ratio: Spread) -> str:
    """Say whether forecasts beat the load of a week before, from the ratio of their costs."""
    cost = f"{ratio.mean:.2f} times its cost{ratio.range('.2f')}"
    if ratio.low >= 1:
        return f"That is no better than the load of a week before: {cost}."
    if ratio.high >= 1:
        return f"Not on every seed is that better than the load of a week before: {cost}."
    return f"That is better than the load of a week before: {cost}."


def summarise(records: pd.DataFrame) -> list[str]:
    """Say what was compared, whether each release is good enough, and what each task says of it.

    Args:
        records: of `measure_utility`, any number of seeds. Ratios are of the same seed, then averaged; a difference
            is called one only if every seed has it.

    Raises:
        InputError: records without utility, or numbers that occur twice for a seed.
    """
    table = UtilityTable(records)
    sentences = [_about(table), *map(str, verdicts(table))]
    for name in table.releases:
        costs = [_cost(table, name, *own) for own in _trained(table, "load", "cost", name)]
        sentences += [*_season(table, name), *_next_step(table, name), *costs]
    return sentences + _untrained(table)


def _about(table: UtilityTable) -> str:
    tasks = ", ".join(named(task, TASK_NAMES) for task in table.tasks)
    if table.n_seeds == 1:
        return f"Tasks: {tasks}. One seed, so what chance adds is not known: small differences mean nothing."
    chance = 0.5 ** (table.n_seeds - 1)
    return (
        f"Tasks: {tasks}. {table.n_seeds} seeds; numbers are means with their range, ratios are of the same seed. A "
        f"difference is called one only if all seeds have it, which {table.n_seeds} seeds without any difference do "
        f"in {100 * chance:.2g} % of cases."
    )


def _compared(ratio: Spread, other: str) -> str:
    text = f"{ratio.mean:.2f} times {other}{ratio.range('.2f')}"
    if ratio.n > 1 and not ratio.leaves_out(1.0):
        text += ", no difference beyond the spread over seeds"
    return text


def _valued(found: Spread, unit: str) -> str:
    return f"{write(found.mean, 'short')}{' ' + unit if unit else ''}"


def _trained(table: UtilityTable, task: str, metric: str, name: str) -> Iterator[tuple[str, Spread, Spread | None]]:
    """Forecasters that were trained on a release, with their number and its ratio to real training."""
    for kind in table.forecasters(task, metric):
        found = table.value(task, metric, (name, kind))
        if found:
            yield kind, found, table.ratio(task, metric, (name, kind), (REAL, kind))


def _season(table: UtilityTable, name: str) -> list[str]:
    sentences = []
    for _, found, ratio in _trained(table, "season", "balanced_accuracy", name):
        beside = f", {_compared(ratio, 'that of real training')}" if ratio else ""
        guess = f"; chance gives {CHANCE:g}" if found.low > CHANCE else f"; no better than chance, {CHANCE:g}"
        if found.low <= CHANCE < found.high and found.n > 1:
            guess = f"; not on every seed better than chance, {CHANCE:g}"
        sentences.append(
            f"Season: a classifier trained on {name} finds the season of real test days with a balanced accuracy of "
            f"{_valued(found, '')}{found.range('short')}{beside}{guess}."
        )
    return sentences


def _next_step(table: UtilityTable, name: str) -> list[str]:
    parts = []
    for kind, found, ratio in _trained(table, "next_step", "rmse", name):
        still = table.ratio("next_step", "rmse", (name, kind), (NOTHING, "persistence"))
        beside = [_compared(ratio, "real training")] if ratio else []
        beside += [_compared(still, "persistence")] if still else []
        parts.append(f"{kind} errs by {_valued(found, 'kWh')} (RMSE): {'; '.join(beside) or 'nothing to compare with'}")
    return [f"Next step, trained on {name}: {'. '.join(capital(part) for part in parts)}."] if parts else []


def _cost(table: UtilityTable, name: str, kind: str, found: Spread, real: Spread | None) -> str:
    own = (name, kind)
    said = named(kind, FORECASTER_NAMES)
    text = f"Bus loads: {said} trained on {name} costs {_valued(found, 'money/h')} in real test weeks"
    redrawn = table.ratio("load", "cost", own, (REDRAWN, kind))
    order = table.ratio("load", "cost", (REDRAWN, kind), (REAL, kind))
    if real:
        text += f", {_compared(real, 'what training on real households costs')}"
    if redrawn:
        text += f"; {_compared(redrawn, 'real redrawn')}"
    text += _loss(real, redrawn, order) + "."
    week = table.ratio("load", "cost", own, (NOTHING, WEEK_BEFORE))
    text += f" {beside_week(week)}" if week else ""
    error = table.value("load", "mape", own)
    return text + (f" MAPE {write(error.mean, 'short')} %{error.range('short')}." if error else "")


def _loss(real: Spread | None, redrawn: Spread | None, order: Spread | None) -> str:
    """What is lost against real training, as far as all seeds agree: the order of days, or the profiles."""
    if real is None or redrawn is None or order is None or real.n < 2 or real.low <= 1:
        return ""
    by_profiles, by_order = redrawn.low > 1, order.low > 1
    if by_order and by_profiles:
        return (
            f", so both are lost: the days' order ({order.mean:.2f} times) and something in the profiles "
            f"({redrawn.mean:.2f} times)"
        )
    if by_order:
        return ", so what is lost is the days' order, not the profiles"
    if by_profiles:
        return ", so what is lost is in the profiles"
    return ", and the seeds do not tell whether the days' order or the profiles are to blame"


def _untrained(table: UtilityTable) -> list[str]:
    """What forecasts cost without training, and what real training gains: without gain, the task says nothing."""
    if "load" not in table.tasks:
        return []
    found = {kind: table.value("load", "cost", (NOTHING, kind)) for kind in (WEEK_BEFORE, PERFECT)}
    costs = [
        f"the {name} costs {write(cost.mean, 'short')} money/h{cost.range('short')}"
        for name, cost in (("load of a week before", found[WEEK_BEFORE]), ("perfect forecast", found[PERFECT]))
        if cost
    ]
    sentences = [f"Bus loads without training: {', '.join(costs)}."] if costs else []
    for kind in table.forecasters("load", "cost"):
        source = (REAL, kind)
        own, week = table.value("load", "cost", source), table.ratio("load", "cost", source, (NOTHING, WEEK_BEFORE))
        if own and week:
            said = named(kind, FORECASTER_NAMES)
            cost = f"{_valued(own, 'money/h')}{own.range('short')}"
            sentences.append(f"Bus loads: {said} trained on real households costs {cost}. {beside_week(week)}")
    return sentences


def utility_table(records: pd.DataFrame, main: bool = True) -> list[dict[str, str]]:
    """A row for each number: mean and standard deviation over seeds, seeds, ratios to real and to real redrawn.

    Args:
        records: of `measure_utility`.
        main: the metrics that tasks are judged by; else the parts of the cost and shares of hours.
    """
    table = UtilityTable(records)
    rows = []
    for task, name, kind, metric in table.numbers():
        if (metric in MAIN_METRICS) != main:
            continue
        own: Source = (name, kind)
        found = table.value(task, metric, own)
        if found is None:
            continue
        unit = UNIT_NAMES.get(table.unit(task, metric, own), table.unit(task, metric, own))
        rows.append(
            {
                "task": named(task, TASK_NAMES),
                "metric": named(metric, METRIC_NAMES) + (f" [{unit}]" if unit else ""),
                "forecaster": named(kind, FORECASTER_NAMES),
                "trained on": name,
                "mean": write(found.mean, ".4g"),
                "sd": write(found.sd, ".4g"),
                "seeds": str(found.n),
                "ratio to real": _ratio(table, task, metric, own, REAL),
                "ratio to real redrawn": _ratio(table, task, metric, own, REDRAWN),
            }
        )
    order = {column: list(dict.fromkeys(row[column] for row in rows)) for column in ("task", "metric", "forecaster")}
    return sorted(rows, key=lambda row: [values.index(row[column]) for column, values in order.items()])


def _ratio(table: UtilityTable, task: str, metric: str, own: Source, other: str) -> str:
    # A forecast that needs no training is compared with no training set.
    found = table.ratio(task, metric, own, (other, own[1])) if own[0] not in (other, NOTHING) else None
    if found is None or np.isnan(found.mean):
        return "–"
    return found.text(".3g")
