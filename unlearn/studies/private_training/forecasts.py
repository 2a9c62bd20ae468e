"""Forecasters of households against ε: sentences and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.studies.private_training.household_load import MEAN
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
