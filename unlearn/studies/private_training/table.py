"""What privacy costs, in numbers over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Spread, intervals, over_seeds, require_columns, select, text
from unlearn.studies._shared.bus_loads import NOTHING, WEEK_BEFORE
from unlearn.studies._shared.fidelity.measure import HEADLINES
from unlearn.studies._shared.utility import REAL
from unlearn.studies.private_training.household_load import MEAN


class ForecastTable:
    """Values of forecasters of households over seeds.

    Args:
        records: of `private_training`; those of the part household_load count.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        self.records = select(records, part="household_load")
        #: Infinity, without privacy, comes last.
        self.epsilons = sorted({float(epsilon) for epsilon in self.records["epsilon"]})
        kinds = self.records.loc[self.records["forecaster"] != MEAN, "forecaster"]
        self.kinds = list(dict.fromkeys(kinds))

    def __bool__(self) -> bool:
        return bool(len(self.records))

    def value(self, kind: str, metric: str, epsilon: float | None = None) -> Spread | None:
        """A metric over seeds; of the forecast that needs no training without ε."""
        at = {} if epsilon is None else {"epsilon": epsilon}
        return over_seeds(select(self.records, forecaster=kind, metric=metric, **at))

    def attacks(self, kind: str, epsilon: float) -> dict[str, Spread]:
        """AUC of each attack: mean over seeds, lowest and highest end of the intervals."""
        return intervals(select(self.records, forecaster=kind, metric="auc", epsilon=epsilon))


def forecast_sentences(records: pd.DataFrame) -> list[str]:
    """What each forecaster costs, and whether it gives households away; "not worth it" where it is so."""
    table = ForecastTable(records)
    mean = table.value(MEAN, "cost") if table else None
    return [_told(table, kind, mean) for kind in table.kinds] if mean else []


def forecast_rows(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per forecaster and ε: errors, cost, the strongest attack, what was spent."""
    table = ForecastTable(records)
    rows = []
    for kind in table.kinds:
        for epsilon in table.epsilons:
            spent = [table.value(kind, f"epsilon_{by}", epsilon) for by in ("pld", "prv_low", "prv_high", "rdp")]
            row = {"forecaster": kind, "trained": _way(epsilon)}
            row |= {
                f"{m} [{unit}]": text(table.value(kind, m, epsilon), ".4g")
                for m, unit in (("cost", "money/h"), ("mape", "%"))
            }
            row["strongest attack"] = strongest(table.attacks(kind, epsilon))
            row["ε by PLD; PRV from, to; RDP"] = ", ".join(f"{s.mean:.4f}" for s in spent if s) or "–"
            rows.append(row)
    return rows


def strongest(attacks: Mapping[str, Spread]) -> str:
    """The attack with the largest AUC."""
    if not attacks:
        return "–"
    name = max(attacks, key=lambda attack: attacks[attack].mean)
    return f"{name.replace('_', ' ')} {attacks[name].text('.3f')}"


def _told(table: ForecastTable, kind: str, mean: Spread) -> str:
    costs = {epsilon: found for epsilon in table.epsilons if (found := table.value(kind, "cost", epsilon))}
    useful = [epsilon for epsilon, found in costs.items() if found.mean < mean.mean]
    said = ", ".join(f"{found.mean:.0f} ({_way(epsilon)})" for epsilon, found in costs.items())
    finite = [epsilon for epsilon in useful if np.isfinite(epsilon)]
    worth = (
        f"cheaper than that from ε = {min(finite):g} on"
        if finite and all(epsilon in useful for epsilon in costs if epsilon >= min(finite))
        else "cheaper than that only without privacy"
        if useful and not finite
        else f"cheaper than that at {', '.join(map(_way, useful))}"
        if useful
        else "never cheaper than that"
    )
    caught = [
        f"{attack} {found.text('.2f')} ({_way(epsilon)})"
        for epsilon in costs
        for attack, found in table.attacks(kind, epsilon).items()
        if found.low > 0.5
    ]
    leak = "; ".join(caught) if caught else "no attack tells trained households from others at any of them"
    return (
        f"Forecasts of households by {kind}, summed up to buses, cost {said} money/h; the {MEAN}, which learns "
        f"nothing, {mean.mean:.0f}: {worth}. Attacks: {leak}."
    )


def _way(epsilon: float) -> str:
    return f"ε = {epsilon:g}" if np.isfinite(epsilon) else "not private"


#: Metrics of fidelity as a whole, in the order of the figure.
ASPECTS = tuple(headline.aspect for headline in HEADLINES if headline.scope == "all")
#: Of each task the number that stands for it, and what is better.
TASKS = {
    "season": ("balanced_accuracy", "season of a day: balanced accuracy", "higher"),
    "load": ("cost", "grid: operating cost of forecasts [money/h]", "lower"),
}


class Way(NamedTuple):
    """One way to train: its method and ε; the start has seen no household, ε = 0."""

    method: str
    epsilon: float

    @property
    def label(self) -> str:
        """As an axis says it."""
        if self.method == "private":
            return f"{self.epsilon:g}"
        return {"start": "no house-\nhold seen", "without noise": "no\nnoise", "not private": "not\nprivate"}[
            self.method
        ]


class PrivateTable:
    """Values of the sweep over ε.

    Args:
        records: of `private_training`, any number of seeds.

    Raises:
        InputError: records of something else.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("private training", records, "part", "method", run="private_training")
        self.records = records
        order = {"start": 0, "private": 1, "without noise": 2, "not private": 3}
        swept = records[~records["part"].isin(("outliers", "household_load"))]
        found = {Way(str(m), float(e)) for m, e in zip(swept["method"], swept["epsilon"], strict=True)}
        self.ways = sorted(found, key=lambda way: (order[way.method], way.epsilon))
        self.private = [way for way in self.ways if way.method == "private"]
        tasks = set(self._of("utility")["task"].dropna()) if "task" in records else set()
        self.tasks = [task for task in TASKS if task in tasks]

    def headline(self, way: Way, aspect: str = "") -> Spread | None:
        """Ratio of a metric of fidelity to its floor; by default the mean of all metrics, by seed."""
        own = {"metric": "headline", "scope": "all", "reference": "floor", **({"aspect": aspect} if aspect else {})}
        return over_seeds(self._of("fidelity", way, generator=way.method, **own))

    def discriminator(self, way: Way) -> Spread | None:
        """AUC of a classifier that tells released days from real ones."""
        return over_seeds(self._of("fidelity", way, metric="auc", generator=way.method))

    def task(self, task: str, way: Way) -> Spread | None:
        """The number that stands for a task after training on a release."""
        return over_seeds(self._of("utility", way, task=task, metric=TASKS[task][0], generator=way.method))

    def baselines(self, task: str) -> dict[str, Spread | None]:
        """The same after training on real households, and with no training at all."""
        own = self._of("utility", task=task, metric=TASKS[task][0])
        week = select(own, generator=NOTHING, forecaster=WEEK_BEFORE)
        return {"real households": over_seeds(select(own, generator=REAL)), "a week before": over_seeds(week)}

    def attacks(self, way: Way) -> dict[str, Spread]:
        """AUC of each attack on households: mean, lowest and highest end of the intervals."""
        return intervals(self._of("attack", way, metric="auc", unit_attacked="household"))

    def outliers(self) -> pd.DataFrame:
        """AUC of seen against unseen outliers of the same kind, by method and attack; empty where not measured."""
        return self._of("outliers", metric="auc", against="unseen").reset_index(drop=True)

    def spent(self, way: Way) -> dict[str, float]:
        """What the accountants say, and δ and N, by metric; of all seeds the first."""
        own = self._first(way, mechanism_of=None)
        return dict(zip(own["metric"], own["value"], strict=True))

    def mechanisms(self, way: Way) -> pd.DataFrame:
        """Settings of each part of one training: a row per part."""
        return self._first(way, mechanism_of=...).pivot_table("value", "mechanism_of", "metric", sort=False)

    def _first(self, way: Way, **wanted: Any) -> pd.DataFrame:
        own = self._of("accounting", way, **wanted)
        return own[own["seed"] == own["seed"].min()]

    def _of(self, part: str, way: Way | None = None, **wanted: Any) -> pd.DataFrame:
        at = {} if way is None else {"method": way.method, "epsilon": way.epsilon}
        return select(self.records, part=part, **at, **wanted)
