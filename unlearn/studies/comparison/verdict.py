"""Which technique one takes, in sentences and tables, from the records alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from unlearn.reporting.verdict import Block, Page, Spread, write
from unlearn.studies.comparison.claims import claims
from unlearn.studies.comparison.options import (
    DP,
    DP_HOME,
    DP_SYNTHETIC,
    FEDERATED,
    FEDERATED_DP,
    FORECAST,
    HE,
    HE_FORECAST,
    MPC,
    MPC_FIT,
    NONE,
    PSEUDONYMS,
    SECURE,
    SUMS,
    SYNTHETIC,
    TOTALS,
    WEEK,
)
from unlearn.studies.comparison.table import EXACT, ComparisonTable, Row
from unlearn.studies.comparison.texts import BY_NAME, LIMITS, MEASURED, NOT_HERE, NOT_MEASURED, NOTHING, REFUSED, WORDS

QUESTION = "Which technique does one take?"
ATTACKS = (
    "Share of private rows found in messages; of homes found in records; membership in totals; a curve from two totals."
)


def page(records: pd.DataFrame, figures: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `study_comparison`.
        figures: figures or PNG files by the names of `unlearn.studies.comparison.report.FIGURES`.
    """
    table = ComparisonTable(records)
    shown = [(captions(table)[name], file) for name, file in (figures or {}).items()]
    said = [{"claim": own.subject, "answer": own.answer, "why": own.reason} for own in claims(table)]
    return Page(
        QUESTION,
        "it depends on who may see what",
        headline(table),
        about(table),
        captions(table)["cost"],
        [
            Block("What each technique promises and costs", figures=shown, rows=technique_rows(table), texts=3,
                  note="Points of MAPE, and money per hour, lost against no protection: of totals / of a forecast. "
                  "Means over seeds, whose range the figure shows. DP: differential privacy. MB: of all parties."),
            Block("Which one do I take?", points=decisions(table)),
            Block("What attackers find", rows=attack_rows(table), note=ATTACKS),
            Block("What the literature says", rows=said, texts=3),
        ],
        measured=MEASURED,
        limits=LIMITS,
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """The answer, decisions and claims, as sentences."""
    table = ComparisonTable(records)
    answers = [f"{own.subject}. {own.answer.capitalize()}: {own.reason}" for own in claims(table)]
    return [about(table), f"It depends on who may see what: {headline(table)}", *decisions(table), *answers]


def about(table: ComparisonTable) -> str:
    """What was measured on what."""
    return (
        f"{table.setting('homes'):.0f} homes of {table.about['data']} at {table.setting('feeders'):.0f} feeders of "
        f"{table.about['grid']}, {table.setting('hours'):,.0f} hours, {table.setting('retailers'):.0f} retailers."
    )


def headline(table: ComparisonTable) -> str:
    """The sentence that the page opens with, after the answer."""
    main = table.setting("main_epsilon")
    parts = []
    if Row(SECURE, None) in table.exact:
        parts.append("totals that nobody may see the parts of are exact by a secure sum")
    if own := table.lost(Row(DP, main), TOTALS, "mape"):
        parts.append(
            f"totals that are published take noise, which at ε = {main:g} for a reading costs {write(own, 'short')} "
            "points of MAPE"
        )
    if own := table.spread("attack", "linked", Row(PSEUDONYMS, None)):
        parts.append(
            f"pseudonyms cost nothing, and {write(100 * own.mean, '.3g')} % of the homes are found by "
            f"{table.setting('known'):.0f} readings"
        )
    return "; ".join(parts) + "." if parts else "nothing was measured that answers it."


def technique_rows(table: ComparisonTable) -> list[dict[str, str]]:
    """A row for each technique: its promise in words and against whom; accuracy and money lost, time and bytes."""
    found = []
    for row in [*table.all_rows, Row(WEEK, None)]:
        seconds, n_bytes = (table.spread("spent", own, row) for own in ("seconds", "bytes"))
        words = WORDS.get(row.technique)
        found.append(
            {
                "technique": row.name,
                "promise, and who is trusted": words.promise if words else NOTHING,
                "protects against; not against": f"{words.against}; not: {words.not_against}" if words else NOTHING,
                "MAPE": _both(_points(table.lost(row, task, "mape")) for task in (TOTALS, FORECAST)),
                "cost": _both(_money(table.lost(row, task, "cost")) for task in (TOTALS, FORECAST)),
                "s": write(seconds, ".2g") if seconds or row.technique == WEEK else NOT_HERE,
                "MB": write(1e-6 * n_bytes.mean, "short") if n_bytes else NOTHING,
            }
        )
    return found


def _both(texts: Iterable[str]) -> str:
    """Of totals, and of a forecast."""
    return " / ".join(texts)


def _points(found: Spread | None) -> str:
    """Points of MAPE; what rounding to whole Wh costs is nothing."""
    return "0" if found and max(abs(found.low), abs(found.high)) < EXACT else write(found, "short")


def _money(found: Spread | None) -> str:
    return write(found, ",.0f")


def _error(found: Spread) -> str:
    """Error of a curve, over that of guessing."""
    return "0" if found.high < EXACT else write(found.mean, ".2g" if found.mean < 10 else ",.0f")


def attack_rows(table: ComparisonTable) -> list[dict[str, str]]:
    """A row for each technique: what was found in messages, records and totals."""
    found = []
    for row in table.all_rows:
        seen, linked, auc, difference, refused = (
            table.spread("attack", own, row) for own in ("seen", "linked", "membership_auc", "difference", "refused")
        )
        none = NOTHING if table.spread("spent", "seconds", row) else NOT_HERE
        found.append(
            {
                "technique": row.name,
                "readings sent": f"{write(100 * seen.mean, '.3g')} %" if seen else none,
                "homes linked": f"{write(100 * linked.mean, '.3g')} %"
                if linked
                else BY_NAME
                if row.technique == NONE
                else none,
                "membership: AUC": write(auc.mean, ".2f") if auc else none,
                "error of a curve": _error(difference)
                if difference
                else REFUSED
                if refused and refused.low == 1
                else none,
            }
        )
    return found


def decisions(table: ComparisonTable) -> list[str]:
    """Questions that lead to one technique each."""
    main, naive = table.setting("main_epsilon"), table.week_wins

    def cost(row: Row, task: str = TOTALS) -> str:
        own = table.lost(row, task, "cost")
        beaten = ", more than by the load of a week before" if task == FORECAST and row in naive else ""
        return f"{write(own, '+,.0f')} money/h{beaten}" if own else NOT_MEASURED

    def cheapest(rows: list[Row], task: str) -> str:
        best = table.least_lost(rows, task)
        return f"{best.name} ({cost(best, task)})" if best else NOT_MEASURED

    homes, readings = (Row(own, main) for own in (DP_HOME, DP))
    return [
        "1. Who computes? One party that rightly holds all readings, and nothing leaves it: "
        f"{Row(SUMS, None).name} ({cost(Row(SUMS, None))}). A server that may see none: "
        f"{Row(HE, None).name} ({cost(Row(HE, None))}), and for forecasts {Row(HE_FORECAST, None).name} "
        f"({cost(Row(HE_FORECAST, None), FORECAST)}).",
        "2. May nobody at all see readings, and must the total be exact? "
        f"{Row(MPC, None).name} ({cost(Row(MPC, None))}): of the exact techniques the one that "
        f"{'refused' if table.refused else 'is to refuse'} totals that differ by one home.",
        "3. Do several holders keep their own customers' readings? A secure sum for totals "
        f"({cost(Row(SECURE, None))}). For a model take the cheapest here: "
        f"{cheapest([Row(FEDERATED, None), Row(MPC_FIT, None)], FORECAST)}.",
        f"4. Is the result published? A model: {Row(FEDERATED_DP, main).name} "
        f"({cost(Row(FEDERATED_DP, main), FORECAST)}). Hourly totals of feeders this small bear the noise of a "
        f"reading ({cost(readings)}), which hides no home, and not that of a home ({cost(homes)}): "
        "publish fewer and larger totals.",
        "5. Must it be records? "
        f"{cheapest([Row(DP_SYNTHETIC, main)], TOTALS)}, and neither pseudonyms nor, without a look at memorised days, "
        f"synthetic days ({cost(Row(SYNTHETIC, None))}).",
    ]


def captions(table: ComparisonTable) -> dict[str, str]:
    """What each figure shows."""
    best = table.least_lost([row for row in table.rows if row.technique not in (NONE, SUMS, PSEUDONYMS)], TOTALS)
    said = "Cost lost by technique, against no protection, for totals and for forecasts"
    return {"cost": f"{said}: least for totals by {best.name}." if best else f"{said}."}
