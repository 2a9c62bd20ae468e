"""Which de-identification steps protect customers, and what they cost, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unlearn.reporting.verdict import Block, Page, Spread, answer_rows, counted, write
from unlearn.studies.anonymize.claims import PROTECTED, claims, percent
from unlearn.studies.anonymize.options import OF_SUMS, ONE_DAY, ONE_WEEK, PSEUDONYMS, RAW
from unlearn.studies.anonymize.rows import (
    differencing_rows,
    label_rows,
    linkage_rows,
    loss_rows,
    network_rows,
    risk_rows,
    step_rows,
    sum_rows,
)
from unlearn.studies.anonymize.table import AnonymizeTable, named_step, signed
from unlearn.studies.anonymize.texts import (
    DIFFERENCING_NOTE,
    LABEL_NOTE,
    LIMITS,
    LINKAGE_NOTE,
    LOSS_NOTE,
    MEASURED,
    RISK_NOTE,
    STEP_NOTE,
    SUM_NOTE,
)

QUESTION = "Which de-identification steps protect customers, and what do they cost?"
NONE = "none"
#: Households in the smallest sum that the 15/15 rule lets through.
_SUM = 15


def page(records: pd.DataFrame, figures: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `study_anonymize`.
        figures: figures or PNG files by the names of `unlearn.studies.anonymize.report.FIGURES`.
    """
    table = AnonymizeTable(records)
    shown = {name: [(captions(table)[name], file)] for name, file in (figures or {}).items()}
    return Page(
        QUESTION,
        answer(table),
        because(table),
        about(table),
        captions(table)["trade"],
        [
            Block(figures=shown.get("trade", [])),
            Block("Each step", rows=step_rows(table), texts=2, note=STEP_NOTE),
            Block("Claims", rows=answer_rows(claims(table), "claim"), texts=3),
            Block("Who is found", figures=shown.get("linkage", []), rows=linkage_rows(table), note=LINKAGE_NOTE),
            Block("Who is in a sum", figures=shown.get("sums", []), rows=sum_rows(table), note=SUM_NOTE),
            Block("Differences of sums", rows=differencing_rows(table), texts=2, note=DIFFERENCING_NOTE),
            Block("Features of households", rows=risk_rows(table), texts=1, note=RISK_NOTE),
            Block("Curves in a crowd", rows=loss_rows(table), texts=1, note=LOSS_NOTE),
            Block("Labels", rows=label_rows(table), texts=1, note=LABEL_NOTE),
            Block("Networks", rows=network_rows(table), texts=2),
        ],
        measured=MEASURED,
        limits=LIMITS,
        internal=True,
    )


def summarise(records: pd.DataFrame) -> list[str]:
    """What was measured, the answer, and what became of each claim, as sentences."""
    table = AnonymizeTable(records)
    return [about(table), page(records).said, *map(str, claims(table))]


def about(table: AnonymizeTable) -> str:
    """What was measured on what."""
    own = table.about
    return (
        f"{int(own['households'])} households of {own['data']} at the feeders of {own['grid']}, "
        f"{counted(table.seeds, 'seed')}; means, with the range of seeds and of their 95 % intervals."
    )


def protects(table: AnonymizeTable, step: str) -> bool:
    """Whether a step leaves an attacker hardly anything to find.

    Records of households: with the main number of known readings, with those of a whole day and of a whole week, at
    most `PROTECTED` of the households are found. Sums: no combination of what is published has a group that breaks the
    15/15 rule.
    """
    if step in OF_SUMS:
        breaking = [own for own in (table.breaking(step),) if own]
        return bool(breaking) and all(own.high == 0 for own in breaking)
    asked = [known for known in (table.main, ONE_DAY, ONE_WEEK) if known in table.known]
    found = [table.found(step, known) for known in asked]
    return bool(found) and all(own is not None and own.mean <= PROTECTED for own in found)


def answer(table: AnonymizeTable) -> str:
    """The steps that protect, by name."""
    found = [named_step(step) for step in table.steps if protects(table, step)]
    return f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else "".join(found) or NONE


def because(table: AnonymizeTable) -> str:
    """The rest of the sentence that the page opens with."""
    parts = []
    pseudonyms = table.found(PSEUDONYMS)
    if pseudonyms:
        parts.append(
            f"behind pseudonyms, {counted(table.main, 'known reading')} of half an hour "
            f"{'find' if table.main > 1 else 'finds'} {percent(pseudonyms)} of the households"
        )
    good = [step for step in table.steps if protects(table, step)]
    costs = [(step, table.utility(step), table.utility(step, "cost"), table.added(step)) for step in good]
    told = [_cost(step, mape, cost, added) for step, mape, cost, added in costs if mape and cost]
    raw, raw_cost = table.utility(RAW), table.utility(RAW, "cost")
    if raw and raw_cost:
        parts.append(
            f"forecasts that learn from raw readings err by {write(raw, '.3g')} % (MAPE) and cost "
            f"{write(raw_cost, 'short')} money/h"
        )
    if told:
        parts.append(f"what the steps that protect cost instead: {', '.join(told)}")
    others = len(table.steps) - len(good)
    if others and good:
        parts.append(
            f"the other {others} of {counted(len(table.steps), 'release')} give households or small groups away"
        )
    if told_of := table.auc(_SUM, "year"):
        parts.append(
            f"who knows a year of a household tells whether it is in a sum of {_SUM} with an AUC of "
            f"{write(told_of, '.2f')}"
        )
    return "; ".join(parts) + "."


def _cost(step: str, mape: Spread, cost: Spread, added: Spread | None) -> str:
    more = f", {signed(added.mean)} %" if added else ""
    return f"{named_step(step)} {write(mape, '.3g')} % and {write(cost, 'short')} money/h{more}"


def captions(table: AnonymizeTable) -> dict[str, str]:
    """What each figure shows, in words."""
    return {
        "trade": "Privacy against use, a mark for each release: share of the households that "
        f"{counted(table.main, 'known reading')} find, over the error and over the cost of forecasts that learn from "
        "what is published. Lower and further left is better. Hollow squares: sums whose differences break the 15/15 "
        "rule. Lines: forecasts that need no release.",
        "linkage": "Share of the households that an attacker names rightly, by the number of half-hourly readings that "
        "it knows; in a row those of a whole day or week. The better of guessing among all records that agree, and of "
        "taking the nearest one. Bars: 95 % intervals over households and seeds.",
        "sums": "How well an attacker with all readings of a household in a day, a week or a year tells whether it is "
        "in a published sum, by the households in the sum. 0.5 is guessing.",
    }
