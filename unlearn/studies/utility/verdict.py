"""What releases are good for, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.reporting.labels import FORECASTER_NAMES
from unlearn.studies.utility.bus_forecasts import NOTHING, PERFECT, WEEK_BEFORE
from unlearn.studies.utility.measure import REAL, REDRAWN
from unlearn.studies.utility.seeds import Source, Spread, UtilityTable, short

#: A release is good enough if its forecasts cost at most this many times what those of real training cost.
COST_LIMIT = 1.05
YES, NO, UNCLEAR = "yes", "no", "unclear"


@dataclass(frozen=True)
class Verdict:
    """The answer for one release.

    Attributes:
        generator: name of the release.
        answer: "yes", "no" or "unclear".
        reason: a sentence.
    """

    generator: str
    answer: str
    reason: str


def verdicts(table: UtilityTable) -> list[Verdict]:
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


def _verdict(table: UtilityTable, name: str) -> Verdict:
    kind = deciding_forecaster(table)
    if kind is None or (real := table.ratio("load", "cost", (name, kind), (REAL, kind))) is None:
        return Verdict(name, UNCLEAR, "no forecaster was trained on real households of the same seed to compare with.")
    who = f"{FORECASTER_NAMES.get(kind, kind)}, the forecaster that is cheapest after real training,"
    reach = between(real).replace(")", f" over {real.n} seeds)")
    times = f"costs {real.mean:.2f} times what real training costs{reach}"
    week = table.ratio("load", "cost", (name, kind), (NOTHING, WEEK_BEFORE))
    beside = f" {beside_week(week)}" if week else ""
    once = " One seed only." if real.n == 1 else ""
    if week and week.low >= 1:
        return Verdict(name, NO, f"{who} {times}.{beside}{once}")
    if real.low > COST_LIMIT:
        return Verdict(name, NO, f"{who} {times}, above the limit of {COST_LIMIT:g}.{beside}{once}")
    if real.high > COST_LIMIT:
        return Verdict(name, UNCLEAR, f"{who} {times}; the limit of {COST_LIMIT:g} is within that range.{beside}")
    answer = UNCLEAR if week and week.high >= 1 else YES
    return Verdict(name, answer, f"{who} {times}, within the limit of {COST_LIMIT:g}.{beside}{once}")


def beside_week(ratio: Spread) -> str:
    """Say whether forecasts beat the load of a week before, from the ratio of their costs."""
    cost = f"{ratio.mean:.2f} times its cost{between(ratio)}"
    if ratio.low >= 1:
        return f"That is no better than the load of a week before: {cost}."
    if ratio.high >= 1:
        return f"Not on every seed is that better than the load of a week before: {cost}."
    return f"That is better than the load of a week before: {cost}."


def between(found: Spread, digits: int | None = 2) -> str:
    """The range over seeds in brackets, empty for one seed; without digits, as many as matter."""
    if found.n < 2:
        return ""
    low, high = (short(value) if digits is None else f"{value:.{digits}f}" for value in (found.low, found.high))
    return f" ({low} to {high})"


#: Balanced accuracy of guessing one of four seasons.
CHANCE = 0.25
TASK_NAMES = {"season": "season", "next_step": "next step", "load": "bus loads"}
UNIT_NAMES = {"pu2": "p.u.²", "percent": "%", "share": ""}
METRIC_NAMES = {"macro_f1": "macro F1", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "mape": "MAPE"}
#: Metrics of the first table; the parts of the cost and what was clipped or shed stand in another.
MAIN_METRICS = ("balanced_accuracy", "macro_f1", "rmse", "mae", "mse", "mape", "cost")
ANSWERS = {"yes": "Yes", "no": "No", UNCLEAR: "Not shown either way"}


def summarise_utility(records: pd.DataFrame) -> list[str]:
    """Say what was compared, whether each release is good enough, and what each task says of it.

    Args:
        records: of `measure_utility`, any number of seeds. Ratios are of the same seed, then averaged; a difference
            is called one only if every seed has it.

    Raises:
        InputError: records without utility, or numbers that occur twice for a seed.
    """
    table = UtilityTable(records)
    sentences = [_about(table), *map(verdict_text, verdicts(table))]
    for name in table.releases:
        sentences += [*_season(table, name), *_next_step(table, name), *_load(table, name)]
    return sentences + _untrained(table)


def verdict_text(verdict: Verdict) -> str:
    """The question and its answer in one line."""
    return f"Is {verdict.generator} good enough to run a grid on? {ANSWERS[verdict.answer]}: {verdict.reason}"


def _about(table: UtilityTable) -> str:
    tasks = ", ".join(TASK_NAMES.get(task, task) for task in table.tasks)
    if table.n_seeds == 1:
        return f"Tasks: {tasks}. One seed, so what chance adds is not known: small differences mean nothing."
    chance = 0.5 ** (table.n_seeds - 1)
    return (
        f"Tasks: {tasks}. {table.n_seeds} seeds; numbers are means with their range, ratios are of the same seed. A "
        f"difference is called one only if all seeds have it, which {table.n_seeds} seeds without any difference do "
        f"in {100 * chance:.2g} % of cases."
    )


def _compared(ratio: Spread, other: str) -> str:
    text = f"{ratio.mean:.2f} times {other}{between(ratio)}"
    if ratio.n > 1 and not ratio.leaves_out(1.0):
        text += ", no difference beyond the spread over seeds"
    return text


def _valued(found: Spread, unit: str) -> str:
    return f"{short(found.mean)}{' ' + unit if unit else ''}"


def _season(table: UtilityTable, name: str) -> list[str]:
    sentences = []
    for kind in table.forecasters("season", "balanced_accuracy"):
        found = table.value("season", "balanced_accuracy", (name, kind))
        if found is None:
            continue
        ratio = table.ratio("season", "balanced_accuracy", (name, kind), (REAL, kind))
        beside = f", {_compared(ratio, 'that of real training')}" if ratio else ""
        guess = f"; chance gives {CHANCE:g}" if found.low > CHANCE else f"; no better than chance, {CHANCE:g}"
        if found.low <= CHANCE < found.high and found.n > 1:
            guess = f"; not on every seed better than chance, {CHANCE:g}"
        sentences.append(
            f"Season: a classifier trained on {name} finds the season of real test days with a balanced accuracy of "
            f"{_valued(found, '')}{between(found, None)}{beside}{guess}."
        )
    return sentences


def _next_step(table: UtilityTable, name: str) -> list[str]:
    parts = []
    for kind in table.forecasters("next_step", "rmse"):
        found = table.value("next_step", "rmse", (name, kind))
        if found is None:
            continue
        ratio = table.ratio("next_step", "rmse", (name, kind), (REAL, kind))
        still = table.ratio("next_step", "rmse", (name, kind), (NOTHING, "persistence"))
        beside = [_compared(ratio, "real training")] if ratio else []
        beside += [_compared(still, "persistence")] if still else []
        parts.append(f"{kind} errs by {_valued(found, 'kWh')} (RMSE): {'; '.join(beside) or 'nothing to compare with'}")
    return [f"Next step, trained on {name}: {'. '.join(_capital(part) for part in parts)}."] if parts else []


def _load(table: UtilityTable, name: str) -> list[str]:
    return [
        sentence for kind in table.forecasters("load", "cost") if (sentence := _cost(table, name, kind)) is not None
    ]


def _cost(table: UtilityTable, name: str, kind: str) -> str | None:
    own = (name, kind)
    found = table.value("load", "cost", own)
    if found is None:
        return None
    said = FORECASTER_NAMES.get(kind, kind)
    text = f"Bus loads: {said} trained on {name} costs {_valued(found, 'money/h')} in real test weeks"
    real, redrawn = (table.ratio("load", "cost", own, (other, kind)) for other in (REAL, REDRAWN))
    order = table.ratio("load", "cost", (REDRAWN, kind), (REAL, kind))
    if real:
        text += f", {_compared(real, 'what training on real households costs')}"
    if redrawn:
        text += f"; {_compared(redrawn, 'real redrawn')}"
    text += _loss(real, redrawn, order) + "."
    week = table.ratio("load", "cost", own, (NOTHING, WEEK_BEFORE))
    text += f" {beside_week(week)}" if week else ""
    error = table.value("load", "mape", own)
    return text + (f" MAPE {short(error.mean)} %{between(error, None)}." if error else "")


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
        f"the {name} costs {short(cost.mean)} money/h{between(cost, None)}"
        for name, cost in (("load of a week before", found[WEEK_BEFORE]), ("perfect forecast", found[PERFECT]))
        if cost
    ]
    sentences = [f"Bus loads without training: {', '.join(costs)}."] if costs else []
    for kind in table.forecasters("load", "cost"):
        source = (REAL, kind)
        own, week = table.value("load", "cost", source), table.ratio("load", "cost", source, (NOTHING, WEEK_BEFORE))
        if own and week:
            said = FORECASTER_NAMES.get(kind, kind)
            cost = f"{_valued(own, 'money/h')}{between(own, None)}"
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
                "task": TASK_NAMES.get(task, task),
                "metric": METRIC_NAMES.get(metric, metric.replace("_", " ")) + (f" [{unit}]" if unit else ""),
                "forecaster": FORECASTER_NAMES.get(kind, kind),
                "trained on": name,
                "mean": _number(found.mean),
                "sd": _number(found.sd),
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
    spread = f" ({_number(found.low, 3)}–{_number(found.high, 3)})" if found.n > 1 else ""
    return f"{_number(found.mean, 3)}{spread}"


def _number(value: float, digits: int = 4) -> str:
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞"
    return f"{value:.{digits}g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
