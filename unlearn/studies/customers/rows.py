"""Tables of the page on customers."""

from __future__ import annotations

import numpy as np

from unlearn.reporting.verdict import Spread, over_seeds, select, write
from unlearn.studies.customers.bearing import YEAR_H
from unlearn.studies.customers.options import LINEAR
from unlearn.studies.customers.table import (
    AUDITED,
    CASE_NAMES,
    FORECASTER_LABELS,
    CustomersTable,
    median,
    pm,
    range_of,
    share_negative,
)

UNITS = {"cost": "cost [money/h]", "mape": "MAPE [points]", "mse": "MSE [10⁻⁶ p.u.²]"}


def refusal_rows(table: CustomersTable) -> list[dict[str, str]]:
    """Requests that the library refused, and those that would be the same as another."""
    own = select(table.records, part="refusal", forecaster=LINEAR)
    rows = []
    for key, same in own.groupby(["selection", "proportion", "why"], sort=False):
        choice, share, why = key if isinstance(key, tuple) else (key, 0.0, "")
        cases = [CASE_NAMES[case] for case in table.cases if case in set(same["case"])]
        seeds = same["seed"].nunique()
        rows.append(
            {
                "removed": str(choice),
                "share": f"{100 * float(str(share)):g} %",
                "case": ", ".join(cases),
                "why": str(why),
            }
            | {"seeds": str(seeds)}
        )
    return rows


def audit_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per kind of model: AUC over targets."""
    rows = []
    for name in AUDITED:
        own = select(table.records, part="audit", method=name, metric="auc")
        if own.empty:
            continue
        rows.append(
            {
                "model": name,
                "mean AUC": write(own["value"].mean(), ".3f"),
                "least": write(own["value"].min(), ".3f"),
                "largest": write(own["value"].max(), ".3f"),
                "intervals that hold 0.5": f"{int(((own['low'] <= 0.5) & (own['high'] >= 0.5)).sum())} of {len(own)}",
                "pairs": str(int(own["pairs"].iloc[0])),
            }
        )
    return rows


def cost_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per case and share: change of the cost, tuned, MAPE, bias, seconds."""
    rows = []
    for case in table.cases:
        for share in table.shares:
            added = table.added(case, share=share)
            if added is None:
                continue
            stale = table.added(case, share=share, method="stale") if case == "leaves" else None
            tuned = table.added(case, share=share, method="forgotten_tuned", against="original_tuned")
            rows.append(
                {
                    "request": f"{CASE_NAMES[case]}, {100 * share:g} %",
                    "of the energy [%]": pm(table.energy(case, share)),
                    "change [%]": pm(added, sign=True),
                    "tuned [%]": pm(tuned, sign=True) if tuned else "–",
                    "stale [%]": pm(stale, sign=True) if stale else "–",
                    "cost [money/h]": pm(table.spread(table.cell(case, share=share))),
                    "MAPE [%]": pm(table.spread(table.cell(case, share=share, metric="mape"))),
                    "bias [%]": pm(table.spread(table.cell(case, share=share, metric="bias")), sign=True),
                }
            )
    return rows


def segment_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per case: money a year of a customer of each segment."""
    rows = []
    for case in table.cases:
        means = {segment: table.by_segment(case, segment) for segment in table.segments}
        if not any(means.values()):
            continue
        own = [found.mean for found in means.values() if found]
        ratio = max(own, key=abs) / np.mean(own) if np.mean(own) else np.nan
        rows.append(
            {"request": CASE_NAMES[case]}
            | {f"{name} [thousand a year]": pm(_times(found, 1e-3), sign=True) for name, found in means.items()}
            | {"largest / mean": write(float(ratio), ".3g")}
            | {"worst 3 buses [%]": pm(_times(table.worst_share(case), 100) if case != "leaves" else None)}
            | {"objectors pay [%]": pm(table.division("borne_by_removed", case, factor=100))}
        )
    return rows


def bus_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per bus: its change of the cost in each case, and MAPE."""
    changes = {case: table.by_bus(case) for case in table.cases}
    changes = {case: own for case, own in changes.items() if len(own)}
    before = select(table.records, part="bus", method="original", metric="mape", forecaster=LINEAR)
    rows = []
    for bus in before["bus"].unique():
        row = {"bus": str(bus), "MAPE before [%]": pm(over_seeds(select(before, bus=bus)))}
        for case, own in changes.items():
            row[f"{CASE_NAMES[case]} [money/h]"] = pm(Spread.of(own.loc[bus].to_numpy()), sign=True)
        for case in [own for own in ("class_mean", "objects") if own in changes][:1]:
            found = table.by_bus(case, "mape")
            row[f"MAPE, {CASE_NAMES[case]} [%]"] = pm(Spread.of(found.loc[bus].to_numpy()))
        rows.append(row)
    return rows


def choice_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per choice and case: change of the cost by share."""
    rows = []
    for choice in table.choices:
        for case in table.cases:
            found = {share: table.added(case, choice, share) for share in table.shares}
            if any(found.values()):
                cells = {f"{100 * share:g} % [%]": pm(own, sign=True) for share, own in found.items()}
                rows.append({"removed": choice, "request": CASE_NAMES[case], **cells})
    return rows


def worth_rows(table: CustomersTable) -> list[dict[str, str]]:
    """A row per criterion and request: distribution of the worth of single customers."""
    rows = []
    wanted = [
        ("objects, gap left (influence)", {"term": "model"}),
        ("leaves (influence)", {"term": "leaves"}),
        *((f"{CASE_NAMES[case]} (removed)", {"case": case}) for case in ("objects", "class_mean", "rescale")),
    ]
    for criterion in ("cost", "mape", "mse"):
        for label, how in wanted:
            own = table.worth(criterion, **how)
            if own.empty:
                continue
            scale = 1e6 if criterion == "mse" else 1.0
            values = scale * own["value"]
            year = YEAR_H * table.per_household(own) if criterion == "cost" else np.nan
            rows.append(
                {
                    "criterion": UNITS[criterion],
                    "request": label,
                    "median": write(values.median(), ".3g"),
                    "5 %": write(float(np.quantile(values, 0.05)), ".3g"),
                    "95 %": write(float(np.quantile(values, 0.95)), ".3g"),
                    "largest": write(values.max(), "short"),
                    "negative": share_negative(own),
                    "Spearman with load": write(table.with_size(own), ".2f"),
                    "with energy": write(table.with_size(own, "energy"), ".2f"),
                    "thousand a year": write(1e-3 * YEAR_H * values.median(), ".3g") if criterion == "cost" else "–",
                    "a year, per household": write(year, ".2g"),
                }
            )
    return rows


def segment_worth_rows(table: CustomersTable) -> list[dict[str, str]]:
    """The same of the cost, by segment."""
    rows = []
    for label, how in (("gap left (influence)", {"term": "model"}), ("class mean (removed)", {"case": "class_mean"})):
        for segment, own in table.worth("cost", **how).groupby("segment", sort=True):
            rows.append(
                {
                    "segment": str(segment),
                    "gap": label,
                    "customers": str(own["customer"].nunique()),
                    "median [money/h]": median(own),
                    "5 to 95 %": range_of(own),
                    "negative": share_negative(own),
                }
            )
    return rows


def forecaster_rows(whole: CustomersTable) -> list[dict[str, str]]:
    """A row per forecaster: completeness, error and cost, and what the main share adds, with seeds that all have."""
    rows = []
    measured = select(whole.records, part="original", metric="mape", method="original")
    seeds = [seed for seed, own in measured.groupby("seed") if own["forecaster"].nunique() == len(whole.forecasters)]
    table = CustomersTable(select(whole.records, seed=seeds))
    for kind in table.forecasters:
        done, n, far = whole.complete(kind)
        row = {
            "forecaster": FORECASTER_LABELS.get(kind, kind),
            "complete": f"{done} of {n}",
            "largest distance to a refit": write(far, ".1g"),
            "MAPE before [%]": pm(table.spread(table.original("mape", forecaster=kind))),
            "cost before [money/h]": pm(table.spread(table.original("cost", forecaster=kind))),
        }
        for case in table.cases:
            row[f"{CASE_NAMES[case]} [%]"] = pm(table.added(case, forecaster=kind), sign=True)
        rows.append(row)
    return rows


def _times(found: Spread | None, factor: float) -> Spread | None:
    return found.times(factor) if found else None
