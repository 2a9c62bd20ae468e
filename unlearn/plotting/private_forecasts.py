"""Forecasters of households against ε: a panel of what they cost, sentences and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unlearn.evaluation.household_load.measure import MEAN
from unlearn.plotting.style import REAL_COLOUR, RELEASE_COLOURS
from unlearn.plotting.utility_seeds import Spread


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


def draw_forecasts(axis: Axes, table: ForecastTable) -> None:
    """What forecasts of households, summed up to buses, cost at each ε."""
    for colour, kind in zip(RELEASE_COLOURS, table.kinds, strict=False):
        found = [(i, table.value(kind, "cost", epsilon)) for i, epsilon in enumerate(table.epsilons)]
        kept = [(i, spread) for i, spread in found if spread]
        means = [spread.mean for _, spread in kept]
        reach = [[s.mean - s.low for _, s in kept], [s.high - s.mean for _, s in kept]]
        axis.errorbar(
            [i for i, _ in kept], means, yerr=reach, fmt="o-", color=colour, label=kind, capsize=2, markersize=4
        )
    mean = table.value(MEAN, "cost")
    if mean:
        axis.axhline(mean.mean, color=REAL_COLOUR, linewidth=1.1, linestyle="--", label=f"{MEAN}, nothing learnt")
    labels = [f"{epsilon:g}" if np.isfinite(epsilon) else "not\nprivate" for epsilon in table.epsilons]
    axis.set_xticks(range(len(labels)), labels)
    axis.set(xlabel="ε", xlim=(-0.5, len(labels) - 0.5))
    axis.set_title("grid: forecasts of households [money/h] (lower is better)", fontsize=10)
    axis.legend(fontsize=8)


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
