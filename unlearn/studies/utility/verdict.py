"""Is released data good enough to run a grid on? An answer from the records of utility, which may be no."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.reporting.labels import FORECASTER_NAMES
from unlearn.studies.utility.bus_forecasts import NOTHING, WEEK_BEFORE
from unlearn.studies.utility.measure import REAL
from unlearn.studies.utility.seeds import Spread, UtilityTable, short

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
