"""What forgetting customers costs, who pays, and what one customer's data is worth, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unlearn.reporting.verdict import NO, UNCLEAR, YES, Answer, Block, Page, counted, select, write
from unlearn.studies.customers.options import CNN, CNN_OF_OTHERS, LINEAR
from unlearn.studies.customers.rows import (
    audit_rows,
    bus_rows,
    choice_rows,
    cost_rows,
    forecaster_rows,
    refusal_rows,
    segment_rows,
    segment_worth_rows,
    worth_rows,
)
from unlearn.studies.customers.table import (
    AUDITED,
    CustomersTable,
    interval,
    median,
    pm,
    range_of,
    share_negative,
    signed,
)
from unlearn.studies.customers.texts import (
    AUDIT_NOTE,
    CHOICE_NOTE,
    COST_NOTE,
    FORECASTER_NOTE,
    LIMITS,
    MEASURED,
    SEGMENT_NOTE,
    TOO_MUCH,
    WORTH_NOTE,
)

QUESTION = "Can customers be forgotten, what does it cost, who pays, and what is one customer's data worth?"
#: Distance to a refit up to which forgetting and refitting are the same but for rounding.
SAME = 1e-6


def page(records: pd.DataFrame, figures: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `study_customers`.
        figures: figures or PNG files by the names of `unlearn.studies.customers.report.FIGURES`.
    """
    table = CustomersTable(records)
    shown = {name: [(captions(table)[name], file)] for name, file in (figures or {}).items()}
    return Page(
        QUESTION,
        forgotten_wholly(table).answer,
        headline(table),
        about(table),
        captions(table)["share"],
        [
            Block(figures=shown.get("share", [])),
            Block("For a privacy officer", points=list(map(answered, privacy_answers(table)))),
            Block(
                points=limitations(table),
                lead="What still depends on a forgotten customer, as the library lists it with each request:",
            ),
            Block(
                rows=refusal_rows(table), texts=4,
                folded=f"{counted(len(refusal_rows(table)), 'request')} refused or not made",
            ),
            Block("For a grid operator", points=operator_points(table)),
            Block("Cost by request", rows=cost_rows(table), texts=1, note=COST_NOTE),
            Block("Who pays", figures=shown.get("bus", []), rows=segment_rows(table), note=_segment_note(table)),
            Block(rows=bus_rows(table), texts=1, folded="Every bus"),
            Block("What one customer's data is worth", figures=shown.get("worth", []), points=worth_points(table)),
            Block(rows=worth_rows(table), texts=2, note=WORTH_NOTE),
            Block(rows=segment_worth_rows(table), texts=2, folded="Worth by segment"),
            Block("Who is removed", rows=choice_rows(table), texts=2, note=CHOICE_NOTE),
            Block("Forecasters", rows=forecaster_rows(table), texts=1, note=FORECASTER_NOTE),
            Block("Audit", rows=audit_rows(table), texts=1, note=AUDIT_NOTE),
        ],
        measured=[*MEASURED, _weather(table)],
        limits=LIMITS,
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """The answer, and what a privacy officer and a grid operator are told, as sentences."""
    table = CustomersTable(records)
    answer = f"{forgotten_wholly(table).answer.capitalize()}: {headline(table)}"
    return [about(table), answer, *map(answered, privacy_answers(table)), *operator_points(table), *worth_points(table)]


def answered(own: Answer) -> str:
    """A question with its answer."""
    return f"{own.subject} {own.answer.capitalize()}: {own.reason}"


def about(table: CustomersTable) -> str:
    """What was measured on what."""
    own = table.about
    return (
        f"{int(own['n_customers'])} customers of {own['data']} on the {own['grid']} grid, "
        f"{counted(table.seeds, 'seed')} of their assignment to buses; means ± standard deviations over seeds."
    )


def headline(table: CustomersTable) -> str:
    """The sentence that the page opens with, after its yes or no."""
    wholly = "can be forgotten wholly" if forgotten_wholly(table).answer == YES else "were forgotten"
    parts = [f"{table.removed()} of {int(table.about['n_customers'])} customers ({100 * table.main:g} %) {wholly}"]
    filled, gap = _filled(table), table.added("objects")
    costs = [f"by {signed(gap)} where their gap is left"] if gap else []
    if filled:
        tuned = table.added(filled, method="forgotten_tuned", against="original_tuned")
        after = f" ({signed(tuned)} after tuning)" if tuned else ""
        costs.append(f"by {signed(table.added(filled))} where {_FILLS[filled]} fills it{after}")
    if costs:
        parts.append(f"if they object, the cost of forecast errors changes {' and '.join(costs)}")
    case = _paid(table)
    if worst := table.worst_share(case):
        what = "the gap costs" if case == "objects" else "that adds"
        parts.append(f"3 of {len(table.by_bus(case))} buses pay {pm(worst.times(100))} % of what {what}")
    worth = table.worth("cost", term="model")
    if len(worth):
        said = f"one customer's data is worth {median(worth)} money/h in the median"
        if filled and len(own := table.worth("cost", case=filled)):
            said += f", and {median(own)} money/h where {_FILLS[filled]} stands in for it"
        parts.append(said)
    return "; ".join(parts) + "."


_FILLS = {"class_mean": "the mean of their class", "rescale": "a rescaled load"}


def _paid(table: CustomersTable) -> str:
    """The case that is divided over who pays: with the gap filled, if that changes the cost at all seeds alike."""
    filled = _filled(table)
    added = table.added(filled) if filled else None
    return filled if added and added.leaves_out(0.0) else "objects"


def _filled(table: CustomersTable) -> str:
    """The case in which something that holds nobody's data fills the gap."""
    return next((case for case in ("class_mean", "rescale") if table.added(case)), "")


# For a privacy officer.


def forgotten_wholly(table: CustomersTable) -> Answer:
    """Whether the linear forecaster forgets customers wholly: complete, equal to a refit, and not told by an attack."""
    done, n, far = table.complete()
    asked = "Are customers forgotten wholly?"
    if not n:
        return Answer(asked, UNCLEAR, "every request was refused.")
    same = f"the parameters differ from those of a refit by at most {write(far, '.1g')} (relative)"
    if done < n or far > SAME:
        return Answer(asked, NO, f"{done} of {n} requests are complete; {same}.")
    told, control = table.audit("forgotten, both models shown"), table.audit("positive control")
    if told is None or control is None:
        return Answer(asked, UNCLEAR, f"all {n} requests are complete and {same}, but no attack was tried.")
    if told.low > 0.5 or told.high < 0.5:
        return Answer(asked, NO, f"an attack tells forgotten customers, AUC {told.text('.2f')}.")
    return Answer(asked, YES, f"all {n} requests of the linear forecaster are complete, and {same}.")


def privacy_answers(table: CustomersTable) -> list[Answer]:
    """Answers to what a privacy officer asks."""
    found = [forgotten_wholly(table)]
    told, control, alone = (table.audit(name) for name in (*AUDITED[2:3], AUDITED[0], AUDITED[1]))
    if told and control and alone:
        finds = alone.low > 0.5
        works = told.low > 0.5
        answer = YES if finds else NO if works else UNCLEAR
        targets = int(select(table.records, part="audit", method="forgotten", metric="auc")["target"].nunique())
        why = (
            f"an attack that tells models with a customer from models without it (AUC {interval(told)}) is at "
            f"{interval(control)} after forgetting, where guessing is 0.5; shown both models of a pair, "
            f"{interval(alone)}; {counted(targets, 'customer')}."
        )
        found.append(Answer("Can an attacker tell that a forgotten customer was there?", answer, why))
    network = [own for own in table.forecasters if own == CNN]
    if network:
        done, n, _ = table.complete(CNN)
        why = (
            f"{done} of {n} requests are complete: the extractor was trained on hours that the customers are part of. "
            + _without_their_data(table)
        )
        found.append(Answer("Does the network forget, too, if its extractor saw the customers?", NO, why))
    for kind, name in (("load", "bus"), ("class", "class")):
        sizes = table.groups(kind)
        if len(sizes):
            meets = sizes["meets_15_15"]
            answer = YES if meets.all() else NO
            plural = "buses" if name == "bus" else "classes"
            smallest = counted(int(sizes["customers"].min()), "customer")
            why = (
                f"{write(meets.groupby('seed').sum().mean(), '.3g')} of {len(sizes) // table.seeds} {plural} in the "
                f"mean over seeds; the smallest has {smallest}, the largest share of one "
                f"customer is {write(100 * sizes['largest_share'].max(), '.2g')} %."
            )
            found.append(Answer(f"Does every {name} meet the 15/15 rule?", answer, why))
    return found


def _without_their_data(table: CustomersTable) -> str:
    """What an extractor that has seen no customer does instead."""
    done, n, _ = table.complete(CNN_OF_OTHERS)
    if not n:
        return "An extractor of other customers' data ends that."
    before, instead = (table.spread(table.original("mape", forecaster=kind)) for kind in (CNN, CNN_OF_OTHERS))
    return (
        f"With an extractor of simulated households {done} of {n} are, at a MAPE of {pm(instead)} instead of "
        f"{pm(before)} %."
    )


def limitations(table: CustomersTable) -> list[str]:
    """What the library lists with the main requests."""
    own = select(table.records, part="limitation", forecaster=LINEAR)
    return [str(said) for said in own["why"].unique()] if len(own) else []


# For a grid operator.


def operator_points(table: CustomersTable) -> list[str]:
    """What a grid operator is told."""
    points = []
    base, perfect = table.spread(table.error_cost()), table.spread(table.original("cost", "perfect"))
    if base and perfect:
        tuned = table.spread(table.error_cost("", method="original_tuned"))
        points.append(
            f"Before anybody is forgotten, forecast errors cost {pm(base)} money/h above the {pm(perfect)} money/h of "
            "a perfect forecast" + (f"; one number, tuned for the cost, lowers that to {pm(tuned)}." if tuned else ".")
        )
    said = []
    for case in ("objects", "class_mean", "rescale"):
        if added := table.added(case):
            tuned = table.added(case, method="forgotten_tuned", against="original_tuned")
            after = f" (tuned before and after: {signed(tuned)})" if tuned else ""
            said.append(f"{signed(added)} if {_WHERE[case]}{after}")
    if said:
        points.append(
            f"When {100 * table.main:g} % of the customers object, the cost of forecast errors changes by "
            f"{', by '.join(said)}."
        )
    kept = table.added("leaves", against="stale")
    if kept:
        tuned = table.added("leaves", method="forgotten_tuned", against="stale_tuned")
        points.append(
            f"When they leave, forgetting changes the cost of forecast errors by {signed(kept)} against keeping the "
            "old model on the new loads"
            + (f"; with both tuned, by {signed(tuned)}" if tuned else "")
            + (TOO_MUCH if kept.mean > 0 else ".")
        )
    seconds, refit = (table.spread(table.cell(_filled(table) or "objects", metric=name)) for name in _SECONDS)
    if seconds and refit:
        points.append(
            f"A request takes {pm(seconds)} s, loads without the customers included; fitting anew to them takes "
            f"{pm(refit)} s."
        )
    case = _paid(table)
    if (worst := table.worst_share(case)) and (own := table.division("borne_by_removed", case, factor=100)):
        buses, always = len(table.by_bus(case)), table.always_worst(case)
        same = f"; {always or 'none'} of them {'are' if always > 1 else 'is'} among the 3 with every seed"
        points.append(
            f"Who pays where {_FILLS.get(case, 'nothing')} fills the gap: 3 of {buses} buses pay "
            f"{pm(worst.times(100))} % of what is added ({300 / buses:.2g} % if all paid alike)"
            f"{same if worst.n > 1 else ''}. Those who objected pay {pm(own)} % of the change, the others the rest."
        )
    return points


_SECONDS = ("seconds", "seconds_refit")
_WHERE = {
    "objects": "their gap is left",
    "class_mean": "the mean of their class fills it",
    "rescale": "the load is rescaled by their number",
}


# Worth.


def worth_points(table: CustomersTable) -> list[str]:
    """What one customer's data is worth."""
    points = []
    found = table.worth("cost", term="model")
    if len(found):
        base = table.spread(table.error_cost())
        share = f", {write(100 * found['value'].median() / base.mean, '.2g')} % of what errors cost" if base else ""
        largest, rank = write(found["value"].max(), "short"), write(table.with_size(found), ".2f")
        points.append(
            f"Where nothing fills the gap, one customer's data is worth {median(found)} money/h in the median "
            f"(5 to 95 %: {range_of(found)}; largest {largest}){share}, and its rank goes with the load that the meter "
            f"stands for (Spearman {rank}): it is the size of the hole that is left."
        )
    case = _filled(table)
    own = table.worth("cost", case=case) if case else pd.DataFrame()
    if len(own):
        size = table.with_size(own, "energy")
        points.append(
            f"Where {_FILLS[case]} fills the gap, what is left is what a customer's own pattern is worth: "
            f"{median(own)} money/h in the median (5 to 95 %: {range_of(own)}); the data of "
            f"{share_negative(own)} of the customers does harm (Spearman with energy "
            f"{write(size, '.2f')})." + (_harm(table, case) if size > 0.5 else "")
        )
    if found_ := table.agreement("spearman", "cost"):
        slopes = [
            f"{name} Spearman {write(table.agreement('spearman', criterion), '.3f')}, slope "
            f"{write(table.agreement('calibration', criterion), '.2f')}"
            for criterion, name in (("cost", "cost"), ("mse", "MSE"))
        ]
        n = table.agreement("removals", "cost")
        points.append(
            f"Influence against {write(n, '.4g')} true removals: {'; '.join(slopes)}."
            + (" First-order scores of the cost rank customers." if found_.mean > 0.9 else "")
        )
    return points


# Words.


def _segment_note(table: CustomersTable) -> str:
    gap = select(table.records, part="division", metric="attribution_gap")["value"]
    if gap.empty:
        return SEGMENT_NOTE
    return f"{SEGMENT_NOTE} Contributions of buses sum to the change within {write(100 * float(gap.max()), '.1g')} %."


def _weather(table: CustomersTable) -> str:
    weather = str(table.about["weather"])
    return (
        "No weather is among the features, only the calendar."
        if weather == "none"
        else f"Weather among the features: {weather.replace('_', ' ')}."
    )


def _harm(table: CustomersTable, case: str) -> str:
    """Why data of large customers is worth more in money than what stands in for it, and what other criteria say."""
    said = " A small customer takes less than what stands in for it, so that forecasts without it are higher, which is "
    said += "the cheaper side of an error."
    by = {name: table.worth(criterion, case=case) for criterion, name in (("mse", "MSE"), ("mape", "MAPE"))}
    harm = [f"{name} that of {share_negative(own)}" for name, own in by.items() if len(own)]
    return said + (f" By {', by '.join(harm)} does harm." if harm else "")


def captions(table: CustomersTable) -> dict[str, str]:
    """What each figure shows, with its finding."""
    gap, filled = table.added("objects"), _filled(table)
    share = "Change of the cost of forecast errors over the share of customers removed"
    if gap:
        share += f": at {100 * table.main:g} %, {signed(gap)} where the gap is left"
        share += f", {signed(table.added(filled))} where {_FILLS[filled]} fills it" if filled else ""
    case = _paid(table)
    bus = "Change of the operating cost by bus"
    if worst := table.worst_share(case):
        bus += f": 3 of {len(table.by_bus(case))} buses pay {pm(worst.times(100))} % of what is added where "
        bus += f"{_FILLS.get(case, 'nothing')} fills the gap"
    found = table.worth("cost", term="model")
    worth = "Worth of each customer's data"
    if len(found):
        worth += f": {median(found)} money/h in the median where the gap is left"
        own = table.worth("cost", case=filled) if filled else pd.DataFrame()
        worth += f", {median(own)} money/h where {_FILLS[filled]} fills it" if len(own) else ""
    return {"share": f"{share}.", "bus": f"{bus}.", "worth": f"{worth}."}
