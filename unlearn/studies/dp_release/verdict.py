"""What a utility can publish with differential privacy, and how far off it is, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Answer, Block, Page, counted, write
from unlearn.studies._shared.bus_loads import WEEK_BEFORE
from unlearn.studies.dp_release.claims import claims, percent, published, rounded
from unlearn.studies.dp_release.options import WITHIN
from unlearn.studies.dp_release.rows import (
    audit_rows,
    composition_rows,
    error_rows,
    hierarchy_rows,
    homes_rows,
    local_rows,
    noise_rows,
    peak_rows,
    query_rows,
    utility_rows,
)
from unlearn.studies.dp_release.table import LEVEL_NAMES, SPAN_NAMES, TRUE, DpReleaseTable
from unlearn.studies.dp_release.texts import (
    AUDIT_NOTE,
    CLAIMS_NOTE,
    ERROR_NOTE,
    HIERARCHY_NOTE,
    HOMES_NOTE,
    LIMITS,
    LOCAL_NOTE,
    MEASURED,
    NOISE_NOTE,
    PEAK_NOTE,
    QUERY_NOTE,
    UTILITY_NOTE,
)

QUESTION = "What can a utility publish with differential privacy, and how far off is it?"
#: What the page opens with.
NOTHING, CURVES, TOTALS, UNKNOWN = (
    "nothing yet",
    "load curves of single feeders",
    "totals of many homes over few hours",
    "not clear",
)


def page(records: pd.DataFrame, figures: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `study_dp_release`.
        figures: figures or PNG files by the names of `unlearn.studies.dp_release.report.FIGURES`.
    """
    table = DpReleaseTable(records)
    said = captions(table)
    shown = {name: [(said[name], file)] for name, file in (figures or {}).items()}
    found = [{"claim": own.subject, "answer": own.answer, "why": own.reason} for own in claims(table)]
    return Page(
        QUESTION,
        publishable(table),
        headline(table),
        about(table),
        said["homes"],
        [
            Block("How many homes it takes", figures=shown.get("homes", []), rows=homes_rows(table), texts=2,
                  note=HOMES_NOTE),
            Block("What the literature says", rows=found, texts=3, note=CLAIMS_NOTE),
            Block("Forecasts of what is published", figures=shown.get("utility", []), 
                  rows=utility_rows(table, table.main_epsilon), texts=2, note=UTILITY_NOTE),
            Block(rows=utility_rows(table), texts=2, folded="At every ε"),
            Block("Is the promise kept?", figures=shown.get("audit", []), points=promise_points(table)),
            Block(rows=audit_rows(table), texts=4, note=AUDIT_NOTE, folded="Every audited release"),
            Block(rows=noise_rows(table), texts=2, note=NOISE_NOTE, folded="Noise of every mechanism"),
            Block("Load curves of these homes", rows=error_rows(table), texts=3, note=ERROR_NOTE,
                  folded="Errors by place, level and hours"),
            Block("Several answers", rows=composition_rows(table), texts=1, note=_composition_note(table)),
            Block("Single queries", rows=query_rows(table), texts=3, note=QUERY_NOTE),
            Block("The peak within a share of it", rows=peak_rows(table), texts=1, note=PEAK_NOTE),
            Block("Sums that agree", rows=hierarchy_rows(table), texts=2, note=HIERARCHY_NOTE),
            Block("Who adds the noise", rows=local_rows(table), texts=1, note=LOCAL_NOTE),
        ],
        measured=MEASURED,
        limits=LIMITS,
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """The answer, and what became of each claim, as sentences."""
    table = DpReleaseTable(records)
    answer = f"{publishable(table).capitalize()}: {headline(table)}"
    return [about(table), answer, *promise_points(table), *map(_answered, claims(table))]


def _answered(own: Answer) -> str:
    return f"{own.subject}. {own.answer.capitalize()}: {own.reason}"


def about(table: DpReleaseTable) -> str:
    """What was measured on what."""
    return (
        f"{table.setting('customers'):.0f} homes of {table.about['data']} at {table.setting('feeders'):.0f} feeders of "
        f"{table.about['grid']}, {table.setting('hours'):,.0f} hours, {write(table.setting('kwh_per_home'), '.3g')} "
        f"kWh "
        f"an hour and home. A reading counts with at most {table.setting('kwh_per_hour'):g} kWh, a day with "
        f"{table.setting('kwh_per_day'):g}: {percent(table.setting('clipping'))} of the energy is cut."
    )


def publishable(table: DpReleaseTable) -> str:
    """The answer in few words."""
    if (table.intact["value"] > table.intact["epsilon"]).any():
        return NOTHING
    if not table.levels or not table.spans:
        return UNKNOWN
    own = table.error("feeder", table.levels[-1], table.spans[-1], table.main_epsilon)
    return CURVES if own < WITHIN[0] else TOTALS


def headline(table: DpReleaseTable) -> str:
    """The sentence that the page opens with, after the answer."""
    parts = []
    if table.levels and table.spans:
        eps, longest = table.main_epsilon, table.spans[-1]
        strong = table.levels[-1]
        size = table.setting("homes_per_feeder")
        parts.append(
            f"at ε = {eps:g} the noise of one hourly total is 1 % of {rounded(table.homes(strong, 'hour', eps))} homes "
            f"and {percent(table.error('feeder', strong, 'hour', eps))} of a feeder of {size:.0f}"
        )
        many = [
            f"{rounded(table.homes(level, longest, eps))} where {LEVEL_NAMES[level]} is protected"
            for level in table.levels
        ]
        parts.append(f"{SPAN_NAMES[longest]} takes {', '.join(many)}")
    true, naive = table.forecast(TRUE), table.forecast(WEEK_BEFORE)
    found = {level: own for e, level, own in published(table) if e == table.main_epsilon}
    if true and naive and found:
        level = list(found)[-1]
        worse = "worse" if found[level].mean > naive.mean else "better"
        parts.append(
            f"forecasts that learnt from feeders published so, {LEVEL_NAMES[level]} protected, are {worse} than the "
            f"load of "
            f"a week before (MAPE {write(found[level], 'short')} against {write(naive, '.3g')} %; "
            f"{write(true, '.3g')} % "
            "with true loads)"
        )
    if len(table.intact) and len(table.broken):
        caught = int((table.broken["value"] > table.broken["epsilon"]).sum())
        parts.append(
            f"no audit of {len(table.intact)} finds more than its ε, and {caught} of {len(table.broken)} broken "
            f"releases "
            "are caught" if (table.intact["value"] <= table.intact["epsilon"]).all() else "a release exceeds its ε"
        )  # fmt: skip
    return "; ".join(parts) + "." if parts else "nothing was measured that answers it."


def promise_points(table: DpReleaseTable) -> list[str]:
    """Whether noise is what it is said to be, and what audits found."""
    points = []
    formula, measured = (table.rows("noise", f"scale_{own}")["value"].to_numpy() for own in ("formula", "measured"))
    if len(formula):
        p = table.rows("noise", "p_value")["value"]
        # A threshold that all tests together pass with 99.9 %.
        fits = "fits" if p.min() > 0.001 / len(p) else "does NOT fit"
        off = np.abs(measured / formula - 1).max() if len(measured) == len(formula) else np.nan
        points.append(
            f"{len(formula)} mechanisms, levels and queries: drawn noise {fits} the "
            f"distribution that is promised (least p {p.min():.2g}), scales differ from the formula by at most "
            f"{write(off, '.1g')} of it."
        )
    if len(table.intact):
        worst = (table.intact["value"] / table.intact["epsilon"]).max()
        points.append(
            f"Audits of {counted(len(table.intact), 'release')} with {table.intact['runs'].max():,.0f} runs on each "
            f"of two "
            f"data sets: the largest lower bound is {percent(worst)} of the ε that was promised."
        )
    for row in table.broken.sort_values("value", ascending=False).head(1).to_dict("records"):
        n = int((table.broken["value"] > table.broken["epsilon"]).sum())
        points.append(
            f"Broken on purpose: {n} of {len(table.broken)} are found out; {row['method']} shows ε ≥ "
            f"{row['value']:.2f} "
            f"where {row['epsilon']:g} was promised."
        )
    return points


def captions(table: DpReleaseTable) -> dict[str, str]:
    """What each figure shows, with its finding."""
    eps = table.main_epsilon
    homes = "Homes whose hourly total the noise is 1 % of, over ε"
    if table.levels and table.spans:
        level, longest = table.levels[-1], table.spans[-1]
        homes += f": at ε = {eps:g}, {rounded(table.homes(level, 'hour', eps))} for one hour, "
        homes += (
            f"{rounded(table.homes(level, longest, eps))} for {SPAN_NAMES[longest]} that protect {LEVEL_NAMES[level]}"
        )
    utility = "MAPE and cost of forecasts that learnt from published feeders, over ε"
    found = {level: own for e, level, own in published(table) if e == eps}
    if found:
        each = [f"{write(own, 'short')} % ({LEVEL_NAMES[level]})" for level, own in found.items()]
        utility += f": at ε = {eps:g} MAPE {', '.join(each)}"
    audit = "Lower bounds on ε from runs, over the promise"
    if len(table.intact):
        audit += f": at most {percent((table.intact['value'] / table.intact['epsilon']).max())} of it as released"
    return {"homes": f"{homes}.", "utility": f"{utility}.", "audit": f"{audit}."}


def _composition_note(table: DpReleaseTable) -> str:
    each = table.rows("composition", "epsilon")
    if each.empty:
        return ""
    row = each.iloc[0]
    return (
        f"ε of so many answers of ε = {row['epsilon_each']:g} each: added up, and at δ = {row['delta']:g} by "
        f"advanced and by "
        "concentrated composition. Few answers cost least added up."
    )
