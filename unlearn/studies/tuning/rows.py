"""The study's tables, from its records."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import Spread, counted, select, text, write
from unlearn.studies.tuning.table import (
    COMPLETE,
    ROUNDING,
    SETTING,
    SINGLE_STEP,
    TAMU,
    WEIGHTS,
    Leak,
    TuningTable,
    column,
    label,
    middle,
    selected,
)

#: Hyper-parameters and signs of a solution: metric, name.
PARAMETERS = {
    "k": "factor k",
    "tau": "quantile τ",
    "variant_total": "quantile of the total, share of runs",
    "l1_budget_chosen": "λ₁",
    "mu": "trust μ [money/h per p.u.²]",
    "frank_wolfe_gap": "Frank-Wolfe gap [money/h]",
    "gradient_norm": "norm of the gradient",
    "duality_gap": "duality gap",
    "steps": "steps",
}
#: Parts of the operating cost: metric, name.
PARTS = {"generation_cost": "generation", "shedding_cost": "shedding", "storage_cost": "storing"}
#: Columns of the full table: metric, title, factor, format.
FULL = (
    ("cost", "cost [money/h]", 1.0, ",.0f"),
    ("mape", "MAPE [%]", 1.0, ".3g"),
    ("mse", "MSE [10⁻³ p.u.²]", 1e3, ".3g"),
    ("bias", "bias [p.u.]", 1.0, ".3f"),
    ("sheds", "hours that shed [%]", 100.0, ".1f"),
    ("shed_above_load", "shed above the load [% of hours]", 100.0, ".1f"),
    ("distance_to_retrained", "distance to retrained", 1.0, ".2g"),
    ("seconds", "seconds", 1.0, ".2g"),
)


def main_rows(table: TuningTable, standing: Mapping[str, str]) -> list[dict[str, str]]:
    """A row per method: cost by forecaster, error, bias, shedding, wins against TAMU, leak, time, and how it stands.

    Args:
        table: of the study.
        standing: of each method whether it is recommended, dominated, or leaks.
    """
    frames = {metric: table.frame(metric) for metric in ("bias", "sheds", "seconds")}
    rows = []
    for name in table.names:
        row = {"method": label(name), "stands": standing.get(name, "–")}
        for forecaster in table.forecasters:
            kind = named(forecaster, FORECASTER_NAMES)
            row[f"cost / complete, {kind}"] = text(table.middle(table.ratio, name, forecaster=forecaster), ".2f")
        row["MAPE / complete"] = text(table.middle(table.mape_ratio, name), ".2f")
        row["bias [p.u.]"] = _plain(table.middle(frames["bias"], name), ".3f")
        row["hours that shed [%]"] = _plain(table.middle(frames["sheds"], name), ".1f", 100)
        row["below TAMU"] = _wins(table, name)
        row["audit: AUC"] = leak_text(table.leak(name))
        row["seconds"] = _plain(table.middle(frames["seconds"], name), ".2g")
        rows.append(row)
    return rows


def forecaster_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per forecaster and method, each number with its range over settings."""
    looks = (("mape", 1.0, ".1f"), ("bias", 1.0, ".3f"), ("sheds", 100.0, ".1f"), ("seconds", 1.0, ".2g"))
    titles = {metric: title for metric, title, *_ in FULL}
    frames = {metric: table.frame(metric) for metric, *_ in looks}
    rows = []
    for forecaster in table.forecasters:
        cost = table.cost[table.cost.index.get_level_values("forecaster") == forecaster]
        for name in table.ordered(cost.dropna(axis="columns", how="all")):
            row = {"forecaster": named(forecaster, FORECASTER_NAMES), "method": label(name)}
            row["cost / complete"] = text(table.middle(table.ratio, name, forecaster=forecaster), ".2f")
            for metric, factor, form in looks:
                found = table.middle(frames[metric], name, forecaster=forecaster)
                row[titles[metric]] = text(found and found.times(factor), form)
            won, of = table.won(name, TAMU, cost)
            row["below TAMU"] = "–" if name == TAMU or not of else f"{won} of {of}"
            rows.append(row | {"audit: AUC": leak_text(table.leak(name, forecaster))})
    return rows


def full_rows(table: TuningTable, data: str) -> list[dict[str, str]]:
    """A row per forecaster, selection and method of one data set, with the range over seeds."""
    own = select(table.records, data=data, part="main", split="test")
    values = own.groupby([*SETTING, "name", "metric"], sort=False)["value"]
    found = {key: Spread.of(numbers.to_numpy()) for key, numbers in values}
    rows = []
    for setting in table.cost.index[table.cost.index.get_level_values("data") == data]:
        for name in (one for one in table.names if (*setting, one, "cost") in found):
            row = {"forecaster": named(setting[2], FORECASTER_NAMES), "removed": selected(*setting[3:])}
            row |= {"method": label(name), "cost / complete": write(float(table.ratio.loc[setting, name]), ".3f")}
            for metric, title, factor, form in FULL:
                spread = found.get((*setting, name, metric))
                row[title] = text(spread and spread.times(factor), form)
            rows.append(row)
    return rows


def part_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per method: parts of the cost in percent of the cost of complete unlearning, means over settings."""
    level = column(table.cost, COMPLETE)
    shares = {part: table.frame(part).div(level, axis=0) for part in PARTS}
    shares = {part: frame for part, frame in shares.items() if len(frame)}
    if not shares:
        return []
    rows = []
    for name in table.names:
        row = {"method": label(name)} | {
            f"{PARTS[part]} [%]": write(100 * column(frame, name).mean(), ".1f") for part, frame in shares.items()
        }
        rows.append(row | {"together [%]": write(100 * column(table.ratio, name).mean(), ".1f")})
    return rows


def other_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per other selection and forecaster: cost relative to complete unlearning, by method."""
    ratio = table.frame("cost", "other")
    if ratio.empty:
        return []
    ratio = ratio.div(column(ratio, COMPLETE), axis=0)
    kinds = [(named(key[2], FORECASTER_NAMES), selected(*key[3:])) for key in ratio.index]
    rows = []
    for forecaster, kind in dict.fromkeys(kinds):
        own = ratio[[one == (forecaster, kind) for one in kinds]]
        row = {"removed": kind, "forecaster": forecaster, "settings": str(len(own))}
        rows.append(row | {label(name): text(middle(own[name]), ".2f") for name in table.ordered(own)})
    return rows


def price_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per ratio of shedding's to storing's prices: cost relative to complete unlearning, by method."""
    if table.prices.empty:
        return []
    rows = []
    for ratio, own in table.prices.groupby(level="price_ratio"):
        row = {"shedding : storing": f"{ratio:g}", "settings": str(len(own))}
        names = table.ordered(own.columns.drop(COMPLETE))
        rows.append(row | {label(name): text(middle(own[name]), ".2f") for name in names})
    return rows


def step_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per λ₁: in how many runs Frank-Wolfe ends above the single step and the leaking one, and its gap."""
    if table.steps.empty:
        return []
    rows = []
    for budget, own in table.steps.groupby(level="l1_budget"):
        row = {"λ₁": f"{budget:g}"}
        for rival, title in ((SINGLE_STEP, "the single step"), (TAMU, "the leaking step")):
            above, of = above_step(own, rival)
            row[f"above {title}"] = f"{above} of {of}"
            row[f"cost / {title}"] = text(middle(column(own, WEIGHTS) / column(own, rival)), ".3f")
        gap = middle(own["gap"])
        rows.append(row | {"Frank-Wolfe gap [% of cost]": text(gap and gap.times(100), ".2g")})
    return rows


def above_step(steps: pd.DataFrame, rival: str) -> tuple[int, int]:
    """In how many runs Frank-Wolfe ends above a step, by more than rounding, and of how many."""
    own = pd.DataFrame({"own": column(steps, WEIGHTS), "rival": column(steps, rival)}).dropna()
    return int((own["own"] > own["rival"] * (1 + ROUNDING)).sum()), len(own)


def parameter_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per tuning and parameter, by forecaster; then how often each tuning is chosen on validation rows."""
    rows = []
    frames = {metric: table.frame(metric, split="remaining") for metric in PARAMETERS}
    for name in table.tunings:
        for metric, title in PARAMETERS.items():
            row = {"method": label(name), "parameter": title} | _by_forecaster(table, frames[metric], name)
            if set(row.values()) - {"–", row["method"], title}:
                rows.append(row)
    before, after = (table.frame(f"left_out_{when}", split="remaining") for when in ("before", "after"))
    for name in table.tunings:
        kept = (column(after, name) / column(before, name)).to_frame(name)
        if kept[name].notna().any():
            row = {"method": label(name), "parameter": "cost of weeks left out, after / before"}
            rows.append(row | _by_forecaster(table, kept, name))
    chosen = select(table.records, part="main", metric="chosen")
    for name in table.tunings:
        row = {"method": label(name), "parameter": "runs in which it is chosen on validation"}
        for forecaster in table.forecasters:
            own = select(chosen, name=name, forecaster=forecaster)["value"]
            row[named(forecaster, FORECASTER_NAMES)] = f"{own.sum():.0f} of {len(own)}" if len(own) else "–"
        if len(chosen):
            rows.append(row)
    return rows


def audit_rows(table: TuningTable) -> list[dict[str, str]]:
    """A row per method: the strongest attack, how many intervals leave 0.5 out, and whether bits differ."""
    if table.audit.empty:
        return []
    rows = []
    for name in table.ordered(table.audit["name"].unique()):
        leak = table.leak(name)
        if leak is None:
            continue
        row = {"method": label(name), "strongest attack": f"{leak.attack}, {leak.where}"}
        row["AUC"] = leak.auc.text(".3f")
        row["intervals that leave 0.5 out"] = f"{leak.found} of {leak.n}"
        for metric, title, form in (
            ("bits_differ", "parameters whose bits differ [%]", ".3g"),
            ("distance_in_out", "distance between both histories", ".1e"),
        ):
            own = select(table.records, part="audit", metric=metric, name=name)["value"]
            row[title] = write(float(own.max()) * (100 if metric == "bits_differ" else 1), form) if len(own) else "–"
        rows.append(row)
    return rows


def leak_text(leak: Leak | None) -> str:
    """The strongest attack's AUC with its interval; a dash where nothing was audited."""
    if leak is None:
        return "–"
    return leak.auc.text(".2f") + (", bits alone" if leak.in_bits_alone else "")


def settings_of(table: TuningTable) -> str:
    """What the main part was measured on, in words."""
    index = table.cost.index.to_frame(index=False)
    removed = sorted({selected(*own) for own in index[["selection", "proportion"]].itertuples(index=False)})
    seeds = select(table.records, part="main")["seed"].nunique()
    kinds = ", ".join(named(own, FORECASTER_NAMES) for own in table.forecasters)
    data = sorted(index["data"].astype(str).unique())
    return (
        f"{counted(len(index), 'setting')}: {counted(len(data), 'data set')} ({', '.join(data)}), "
        f"{counted(len(table.forecasters), 'forecaster')} ({kinds}), "
        f"rows removed: {', '.join(removed)}; {'up to ' * (seeds > 1)}{counted(seeds, 'seed')} each."
    )


def _by_forecaster(table: TuningTable, frame: pd.DataFrame, name: str) -> dict[str, str]:
    return {
        named(forecaster, FORECASTER_NAMES): text(table.middle(frame, name, forecaster=forecaster))
        for forecaster in table.forecasters
    }


def _wins(table: TuningTable, name: str) -> str:
    won, of = table.won(name, TAMU)
    return "–" if name == TAMU or not of else f"{won} of {of}"


def _plain(found: Spread | None, form: str, factor: float = 1.0) -> str:
    return write(found and found.times(factor), form)
