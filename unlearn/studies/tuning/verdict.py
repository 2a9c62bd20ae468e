"""What the study says: an answer for operators, one for researchers, answers one by one, and the page.

Every direction in a sentence, such as less or more, follows from the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from unlearn.reporting.verdict import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Block,
    Page,
    answer_rows,
    capital,
    counted,
    select,
    text,
    write,
)
from unlearn.studies.tuning.paragraphs import INSIDE, changed, listed, mostly, operator, researcher, verdict
from unlearn.studies.tuning.rows import (
    above_step,
    audit_rows,
    forecaster_rows,
    full_rows,
    main_rows,
    other_rows,
    parameter_rows,
    part_rows,
    price_rows,
    settings_of,
    step_rows,
)
from unlearn.studies.tuning.table import (
    CHOSEN,
    COMPLETE,
    EQUAL,
    MOSTLY,
    NEAR,
    NETWORK,
    ORIGINAL,
    QUANTILE,
    ROUNDING,
    SCALE,
    SINGLE_STEP,
    TAMU,
    WEIGHTS,
    TuningTable,
    column,
    label,
    middle,
)

QUESTION = "What lowers the cost? Does tuning on the remaining rows, and does it leak nothing?"
NOTE = (
    "Cost is relative to complete unlearning in the same setting: median, and range over settings in brackets. MAPE, "
    "bias (mean total forecast less mean total load), share of hours that shed, and seconds are medians. Below TAMU: "
    "settings in which the method costs less. AUC: the strongest attack of all audited cells, with its simultaneous 99 "
    "% interval. A method is dominated if another one costs no more in the median, has no higher MAPE, leaks no more, "
    "and is better in one of these."
)
_ANSWER_NOTE = (
    f"Of settings: yes where it holds in at least {100 * MOSTLY:g} % of them, no in at most {100 - 100 * MOSTLY:g} %, "
    "otherwise not clear. Medians, ranges in brackets."
)
_PRICE_NOTE = (
    "Shedding's prices are kept and storing's are divided. Every method is computed anew for each ratio; cost is "
    "relative to complete unlearning at the same prices. Median and range."
)
_STEP_NOTE = (
    "Cost on the remaining rows, in sample. The single step takes its scores at the completely unlearnt model, on the "
    "remaining rows; the leaking one, as published, at the original model on the validation rows. Above means by more "
    f"than rounding ({ROUNDING:g}). Medians over years, forecasters and seeds."
)
_PARAMETER_NOTE = (
    "Chosen by cross-validation in the remaining rows, weeks as blocks: median and range over settings. How far a "
    "solution is from stationary is in the units of its criterion."
)
_AUDIT_NOTE = (
    "Attackers tell models with the removed rows in from models with them out, all else alike. The strongest attack is "
    "shown, with its interval; intervals are 99 %, for all attacks and cells together."
)
_MEASURED = (
    "Original: the model before anything is removed. Complete unlearning equals retraining on the remaining rows. PAMU "
    "and TAMU re-weight these in one step, as published, by scores of the original model, which saw the removed rows.",
    "Tunings start from the completely unlearnt model and see the remaining rows alone; their hyper-parameters are "
    "found by cross-validation there. Chosen on validation: of all tunings, the one with the least cost on the "
    "validation rows. The whole network on the cost is trained anew on the remaining rows.",
    "Fair protocol: gradients of the published programs and the selection of rows use validation rows; test rows are "
    "only reported. What several seeds measured in a setting is averaged first.",
    f"Recommended is what leaks nothing and nothing dominates: the simplest such method within {100 * NEAR:g} % of the "
    "least median cost, among those that work for every forecaster.",
)


def dominated(records: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Of each method that is dominated, the methods that dominate it; see `TuningTable.dominates`."""
    return TuningTable(records).dominated


def recommended(records: pd.DataFrame) -> tuple[str, ...]:
    """Methods that can be recommended, the best first: they leak nothing, cost no more, and nothing dominates them.

    The best one works in every setting, and is the simplest of those that are near the least cost. A method that was
    not audited is left out if others were.
    """
    return TuningTable(records).recommended


def page(records: pd.DataFrame, figures: Sequence[tuple[str, Any]] = ()) -> Page:
    """The page's contents.

    Args:
        records: of the study.
        figures: caption, and figure or PNG file, of cost by method, cost by price ratio, and MAPE against cost.
    """
    table = TuningTable(records)
    sources = list(dict.fromkeys(table.cost.index.get_level_values("data")))
    shown = [[own] for own in figures] + [[]] * (3 - len(figures))
    return Page(
        QUESTION,
        verdict(table),
        operator(table),
        settings_of(table),
        blocks=[
            Block("For researchers", researcher(table)),
            Block("Cost by method", figures=shown[0], rows=main_rows(table, table.standing), texts=2, note=NOTE),
            Block("Answers", rows=answer_rows(answers(table), "claim"), texts=3, note=_ANSWER_NOTE),
            Block("Prices", figures=shown[1], rows=price_rows(table), note=_PRICE_NOTE),
            Block("MAPE against cost", figures=shown[2]),
            Block("By forecaster", rows=forecaster_rows(table), texts=2, folded="Every forecaster and method"),
            Block(
                "Parts of the cost", rows=part_rows(table),
                note="Means over settings, in percent of the cost of complete unlearning in the same setting.",
            ),
            Block("Other shares and selections", rows=other_rows(table), texts=2,
                  note="Cost relative to complete unlearning: median and range."),
            Block("Frank-Wolfe against single steps", rows=step_rows(table), note=_STEP_NOTE),
            Block("Hyper-parameters", rows=parameter_rows(table), texts=2, note=_PARAMETER_NOTE),
            Block("Audit", rows=audit_rows(table), texts=2, note=_AUDIT_NOTE),
            *(
                Block("Every number" if source == sources[0] else "", rows=full_rows(table, source), texts=3,
                      folded=f"{source}: mean and range over seeds")
                for source in sources
            ),
        ],
        measured=_MEASURED,
        limits=_limits(table),
    )  # fmt: skip


def section(records: pd.DataFrame, figure: Any = None, said: str = "") -> list[Block]:
    """The study in short, as a part of another page: the answer, the main table, and the figure of cost by method.

    Args:
        records: of the study.
        figure: of cost by method, or its PNG file.
        said: where the records come from, a sentence or two.
    """
    table = TuningTable(records)
    answer = f"{verdict(table).capitalize()}: {operator(table)}"
    caption = "What lowers the cost: cost by method and forecaster, relative to complete unlearning."
    return [
        Block(QUESTION, " ".join([said, settings_of(table)]).strip(), [answer, researcher(table)]),
        Block(figures=[(caption, figure)] if figure is not None else []),
        Block(rows=main_rows(table, table.standing), texts=2, note=NOTE),
    ]


def summarise(records: pd.DataFrame) -> list[str]:
    """The answers for operators and researchers, and each answer, as sentences."""
    table = TuningTable(records)
    answer = f"{verdict(table).capitalize()}: {operator(table)}"
    return [settings_of(table), answer, researcher(table), *map(str, answers(table))]


def answers(table: TuningTable) -> list[Answer]:
    """Answers to claims that the records allow to judge."""
    found = [
        _forgets(table), _published_leaks(table), _frank_wolfe(table, SINGLE_STEP), _frank_wolfe(table, TAMU),
        _beats(table, SCALE, TAMU), _beats(table, QUANTILE, TAMU), _beats(table, WEIGHTS, TAMU),
        _beats(table, "head", SCALE), _beats(table, CHOSEN, SCALE), _beats(table, NETWORK, SCALE),
        _beats(table, TAMU, COMPLETE), *(_beats(table, name, COMPLETE, EQUAL) for name in (TAMU, SCALE, "head")),
        _raises(table), _keeps_mape(table),
    ]  # fmt: skip
    return [one for one in found if one]


def _forgets(table: TuningTable) -> Answer | None:
    leaks = [leak for name in table.tunings if (leak := table.leak(name))]
    if not leaks:
        return None
    out, of = sum(own.found for own in leaks), sum(own.n for own in leaks)
    low, high = min(own.low for own in leaks), max(own.high for own in leaks)
    why = f"{of - out} of {of} simultaneous 99 % intervals of the AUC contain 0.5, between {low:.2f} and {high:.2f}"
    bits = select(table.records, part="audit", metric="bits_differ", name=table.tunings)["value"]
    if len(bits):
        why += f"; at most {write(100 * float(bits.max()), '.3g')} % of the parameters differ in a bit"
    answer = NO if out else YES if table.power else UNCLEAR
    if answer == UNCLEAR:
        why += "; but attacks were not seen to find the rows in any model that saw them"
    return Answer("Tunings of a completely unlearnt model leak nothing", answer, why)


def _published_leaks(table: TuningTable) -> Answer | None:
    leak = table.leak(TAMU)
    if leak is None:
        return None
    why = f"AUC {leak.auc.text('.2f')}, attack on {leak.attack} ({leak.where})"
    why += f"; {leak.found} of {leak.n} intervals leave 0.5 out"
    return Answer("TAMU, as published, leaks the removed rows", YES if leak.found else NO, why)


def _frank_wolfe(table: TuningTable, rival: str) -> Answer | None:
    above, of = above_step(table.steps, rival)
    if not of:
        return None
    names = {SINGLE_STEP: "the single step", TAMU: "the leaking single step"}
    why = f"above in {above} of {of} runs over λ₁, years and forecasters, on the remaining rows"
    gap = middle(table.steps["gap"])
    if gap and rival == SINGLE_STEP:
        why += f"; gap {text(gap.times(100), '.2g')} % of the cost"
    return Answer(f"Frank-Wolfe never ends above {names[rival]}", NO if above else YES, why)


def _beats(table: TuningTable, name: str, rival: str, price_ratio: float | None = None) -> Answer | None:
    frame = table.cost if price_ratio is None else table.at_ratio(price_ratio)
    won, of = table.won(name, rival, frame)
    if not of:
        return None
    ratio = middle(column(frame, name) / column(frame, rival))
    when = "" if price_ratio is None else ", with equal prices"
    return Answer(
        f"{capital(label(name))} costs less than {label(rival)}{when}", mostly(won, of),
        f"in {won} of {counted(of, 'setting')}; {changed(ratio, INSIDE)}",
    )  # fmt: skip


def _raises(table: TuningTable) -> Answer | None:
    own = table.cost[table.cost.index.get_level_values("selection").str.startswith("helpful")]
    raised, of = table.won(ORIGINAL, COMPLETE, own)
    if not of:
        return None
    moved = middle(column(own, COMPLETE) / column(own, ORIGINAL))
    why = f"in {raised} of {counted(of, 'setting')}; {changed(moved, INSIDE)}"
    return Answer("Forgetting helpful rows raises the cost", mostly(raised, of), why)


def _keeps_mape(table: TuningTable) -> Answer | None:
    ratio = table.mape_ratio
    told = {name: own for name in table.tunings if (own := table.middle(ratio, name))}
    if not told:
        return None
    kept = [own.mean <= 1 + NEAR for own in told.values()]
    why = ", ".join(f"{label(name)} {changed(own, '')}" for name, own in told.items())
    return Answer(
        "Tunings keep the MAPE of complete unlearning", YES if all(kept) else UNCLEAR if any(kept) else NO, why
    )


def _limits(table: TuningTable) -> list[str]:
    swept = table.prices.index.get_level_values("data").nunique() if len(table.prices) else 0
    unaudited = [label(name) for name in table.complete if len(table.audit) and table.leak(name) is None]
    return [
        "Costs are those of model grids with assumed prices. What a tuning saves depends on them; the price sweep has "
        f"the linear forecaster and {counted(swept, 'data set')} only.",
        "Settings share years, weather and grids, so that counts of settings are no test of significance. Medians and "
        "ranges describe these settings alone.",
        "Validation and test rows follow the training rows in time, once per year. A factor that is right for these "
        "years may not be for loads that grow or for other seasons.",
        "Five per cent, a month and harmful rows were removed from linear forecasters only. λ₁ of the published "
        "programs is the largest published one.",
        "Audited are a few cells, by attackers who know the recipe and train shadow models. An AUC near 0.5 is no "
        "proof that nothing is left; equal bits of both histories are.",
        *([f"Not audited: {listed(unaudited)}."] if unaudited else []),
        "Rows are forgotten by the head. An extractor that was trained on other rows, scaling constants, backups and "
        "earlier forecasts are not touched.",
    ]
