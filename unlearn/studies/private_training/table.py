"""What privacy costs, in numbers over seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.studies.fidelity.records import HEADLINES
from unlearn.studies.private_training.household_load import MEAN
from unlearn.studies.utility.bus_forecasts import NOTHING, WEEK_BEFORE
from unlearn.studies.utility.measure import REAL
from unlearn.studies.utility.seeds import Spread


class ForecastTable:
    """Values of forecasters of households over seeds.

    Args:
        records: of `private_training`; those of the part household_load count.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        self.records = records[records["part"] == "household_load"]
        #: Infinity, without privacy, comes last.
        self.epsilons = sorted({float(epsilon) for epsilon in self.records["epsilon"]})
        kinds = self.records.loc[self.records["forecaster"] != MEAN, "forecaster"]
        self.kinds = list(dict.fromkeys(kinds))

    def __bool__(self) -> bool:
        return bool(len(self.records))

    def value(self, kind: str, metric: str, epsilon: float | None = None) -> Spread | None:
        """A metric over seeds; of the forecast that needs no training without ε."""
        own = self.records[(self.records["forecaster"] == kind) & (self.records["metric"] == metric)]
        own = own if epsilon is None else own[own["epsilon"] == epsilon]
        by_seed = own.groupby("seed")["value"].mean()
        return Spread.of(by_seed.to_numpy(dtype=np.float64)) if len(by_seed) else None

    def attacks(self, kind: str, epsilon: float) -> pd.DataFrame:
        """AUC of each attack: mean over seeds, lowest and highest end of the intervals; indexed by attack."""
        own = self.records[(self.records["forecaster"] == kind) & (self.records["metric"] == "auc")]
        own = own[own["epsilon"] == epsilon]
        return own.groupby("attack", sort=False).agg(value=("value", "mean"), low=("low", "min"), high=("high", "max"))


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
            attacks = table.attacks(kind, epsilon)
            spent = [table.value(kind, f"epsilon_{by}", epsilon) for by in ("pld", "prv_low", "prv_high", "rdp")]
            row = {"forecaster": kind, "trained": _way(epsilon)}
            row |= {
                f"{metric} [{unit}]": _ranged(table.value(kind, metric, epsilon))
                for metric, unit in (("cost", "money/h"), ("mape", "%"))
            }
            named = [f"{attack} {_interval(found)}" for attack, found in attacks.sort_values("value").iterrows()]
            row["strongest attack"] = named[-1] if named else "–"
            row["ε by PLD; PRV from, to; RDP"] = ", ".join(f"{s.mean:.4f}" for s in spent if s) or "–"
            rows.append(row)
    return rows


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
        f"{attack} {_interval(row)} ({_way(epsilon)})"
        for epsilon in costs
        for attack, row in table.attacks(kind, epsilon).iterrows()
        if row["low"] > 0.5
    ]
    leak = "; ".join(caught) if caught else "no attack tells trained households from others at any of them"
    return (
        f"Forecasts of households by {kind}, summed up to buses, cost {said} money/h; the {MEAN}, which learns "
        f"nothing, {mean.mean:.0f}: {worth}. Attacks: {leak}."
    )


def _way(epsilon: float) -> str:
    return f"ε = {epsilon:g}" if np.isfinite(epsilon) else "not private"


def _ranged(found: Spread | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.4g}" if found.n == 1 else f"{found.mean:.4g} ({found.low:.4g} to {found.high:.4g})"


def _interval(row: pd.Series) -> str:
    return f"{row['value']:.2f}, {row['low']:.2f} to {row['high']:.2f}"


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
        if "part" not in records or "method" not in records:
            raise InputError("private training: expected records with the columns part and method; run it first.")
        self.records = records
        order = {"start": 0, "private": 1, "without noise": 2, "not private": 3}
        swept = records[~records["part"].isin(("outliers", "household_load"))]
        found = {Way(str(m), float(e)) for m, e in zip(swept["method"], swept["epsilon"], strict=True)}
        self.ways = sorted(found, key=lambda way: (order[way.method], way.epsilon))
        self.private = [way for way in self.ways if way.method == "private"]
        tasks = set(self._of("utility")["task"].dropna()) if "task" in records else set()
        self.tasks = [task for task in TASKS if task in tasks]

    def headline(self, way: Way, aspect: str) -> Spread | None:
        """Ratio of a metric of fidelity to its floor."""
        own = self._of("fidelity", way)
        own = own[(own["metric"] == "headline") & (own["aspect"] == aspect) & (own["scope"] == "all")]
        return _spread(own[(own["reference"] == "floor") & (own["generator"] == way.method)])

    def mean_headline(self, way: Way) -> Spread | None:
        """The mean of all metrics of fidelity, by seed."""
        own = self._of("fidelity", way)
        own = own[(own["metric"] == "headline") & (own["scope"] == "all") & (own["reference"] == "floor")]
        return _spread(own[own["generator"] == way.method])

    def discriminator(self, way: Way) -> Spread | None:
        """AUC of a classifier that tells released days from real ones."""
        own = self._of("fidelity", way)
        return _spread(own[(own["metric"] == "auc") & (own["generator"] == way.method)])

    def task(self, task: str, way: Way) -> Spread | None:
        """The number that stands for a task after training on a release."""
        own = self._task(task)
        own = own[(own["method"] == way.method) & (own["epsilon"] == way.epsilon)]
        return _spread(own[own["generator"] == way.method])

    def beside(self, task: str) -> dict[str, Spread | None]:
        """The same after training on real households, and with no training at all."""
        own = self._task(task)
        week = own[(own["generator"] == NOTHING) & (own["forecaster"] == WEEK_BEFORE)]
        return {"real households": _spread(own[own["generator"] == REAL]), "a week before": _spread(week)}

    def attacks(self, way: Way, metric: str = "auc") -> pd.DataFrame:
        """Mean value, lowest and highest end of the interval of each attack on households; indexed by attack."""
        own = self._of("attack", way)
        own = own[(own["metric"] == metric) & (own["unit_attacked"] == "household")]
        return own.groupby("attack", sort=False).agg(value=("value", "mean"), low=("low", "min"), high=("high", "max"))

    def outliers(self) -> pd.DataFrame:
        """AUC of seen against unseen outliers of the same kind, by method and attack; empty where not measured."""
        own = self._of("outliers")
        if own.empty:
            return own
        own = own[(own["metric"] == "auc") & (own["against"] == "unseen")]
        return own[["method", "epsilon", "attack", "value", "low", "high", "n"]].reset_index(drop=True)

    def spent(self, way: Way) -> dict[str, float]:
        """What the accountants say, and δ and N, by metric; of all seeds the first."""
        own = self._of("accounting", way)
        own = own[own["mechanism_of"].isna() & (own["seed"] == own["seed"].min())]
        return dict(zip(own["metric"], own["value"], strict=True))

    def mechanisms(self, way: Way) -> pd.DataFrame:
        """Settings of each part of one training: a row per part."""
        own = self._of("accounting", way)
        own = own[own["mechanism_of"].notna() & (own["seed"] == own["seed"].min())]
        return own.pivot_table("value", "mechanism_of", "metric", sort=False)

    def _of(self, part: str, way: Way | None = None) -> pd.DataFrame:
        own = self.records[self.records["part"] == part]
        return own if way is None else own[(own["method"] == way.method) & (own["epsilon"] == way.epsilon)]

    def _task(self, task: str) -> pd.DataFrame:
        own = self._of("utility")
        return own[(own["task"] == task) & (own["metric"] == TASKS[task][0])]


def _spread(rows: pd.DataFrame) -> Spread | None:
    """Over seeds; what a seed measured several times, such as real training beside every ε, counts once."""
    by_seed = rows.groupby("seed")["value"].mean() if len(rows) else pd.Series(dtype=float)
    values = by_seed.to_numpy(dtype=np.float64)
    return Spread.of(values[np.isfinite(values)]) if np.isfinite(values).any() else None
