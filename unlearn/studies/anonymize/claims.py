"""What is claimed of de-identification of meter data, and what the records say of each claim.

Claims are those of section 2 of a blueprint for privacy-preserving analytics of smart meters, in the order in which it
makes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from unlearn.reporting.verdict import NO, YES, Answer, Spread, write
from unlearn.studies.anonymize.options import (
    DAILY,
    EXTREMES,
    MICRO_5,
    ONE_DAY,
    ONE_WEEK,
    PSEUDONYMS,
    RAW,
    ROTATED,
    ROUNDED,
    SUMS,
    SUMS_15_15,
    SUPPRESSED,
    WEEKLY,
)
from unlearn.studies.anonymize.table import AFTER, BEFORE, TWO_WAYS, AnonymizeTable, signed

PARTLY = "partly"
#: A release protects where attackers name at most this share of the households rightly.
PROTECTED = 0.05
#: A release gives households away where they name at least this share.
GIVEN_AWAY = 0.5
#: An attack with at most this AUC is near guessing; with more than the second it finds most.
NEAR_GUESSING, FINDS = 0.6, 0.75
#: A release is still very useful if forecasts that learn from it err at most this many times as much, and of no use if
#: they err more than the second number of times as much.
USEFUL, NO_USE = 1.05, 1.5


def claims(table: AnonymizeTable) -> list[Answer]:
    """An answer to each claim that the records say something of."""
    made = (
        _pseudonyms, _rotation, _midday_dip, _night_use, _rounding, _sum_of_100, _averages_of_100, _sums_protect,
        _totals, _extremes, _curves, _composition, _forecasting, _truthful,
    )  # fmt: skip
    return [own for claim in made for own in claim(table)]


def percent(found: Spread | None) -> str:
    """A share in percent with its range."""
    return f"{found.times(100).text('.3g')} %" if found else "–"


def _graded(share: float, low: float = PROTECTED, high: float = GIVEN_AWAY) -> str:
    """Yes where little is found, no where most is, otherwise partly."""
    return YES if share <= low else NO if share >= high else PARTLY


def _pseudonyms(table: AnonymizeTable) -> Iterator[Answer]:
    if not (found := table.found(PSEUDONYMS)):
        return
    unique = table.linkage(PSEUDONYMS, metric="unique_right")
    exact = f", {percent(unique)} as the only record that agrees" if unique else ""
    yield Answer(
        "Anonymisation alone often does not guarantee true privacy if the data retains granular information",
        {YES: NO, NO: YES}.get(_graded(found.mean), PARTLY),
        f"{table.main} known half-hourly readings find {percent(found)} of the households behind pseudonyms{exact}.",
    )


def _rotation(table: AnonymizeTable) -> Iterator[Answer]:
    right = table.spread(part="relinking", metric="right", method="assignment")
    guess = table.spread(part="relinking", metric="right", method="guessing")
    if not right:
        return
    month = table.found(ROTATED)
    why = (
        f"by the shape and level of their loads, {percent(right)} of the pseudonyms of one month are relinked with "
        f"those of another; guessing relinks {percent(guess)}."
    )
    if month:
        why += f" Within a month, {table.main} known readings find {percent(month)}."
    yield Answer("Codes that change over time prevent long-term linkability", _graded(right.mean), why)


def _midday_dip(table: AnonymizeTable) -> Iterator[Answer]:
    found, base = table.pattern("midday_dip", "precision"), table.pattern("midday_dip", "base_rate")
    if not found or not base:
        return
    answer = YES if found.mean >= GIVEN_AWAY else PARTLY if found.mean > 2 * base.mean else NO
    yield Answer(
        "Homes with solar cells are identified by their midday dip",
        answer,
        f"of as many records as there are homes with solar cells, those with the deepest midday dip, {percent(found)} "
        f"have them; of all homes {percent(base)} have.",
    )


def _night_use(table: AnonymizeTable) -> Iterator[Answer]:
    top, all_of_them = table.pattern("night_use", "right_top"), table.pattern("night_use", "right_all")
    if not top or not all_of_them:
        return
    answer = YES if top.mean >= GIVEN_AWAY else PARTLY if top.mean > 2 * all_of_them.mean else NO
    yield Answer(
        "Who uses very much at night is picked out by that",
        answer,
        f"the mean night use of one half of the year finds {percent(top)} of the households with the highest night use "
        f"in the other half, {percent(all_of_them)} of all households.",
    )


def _rounding(table: AnonymizeTable) -> Iterator[Answer]:
    few = min(table.known, default=0)
    before, after = (table.linkage(step, few, "matches") for step in (PSEUDONYMS, ROUNDED))
    found, day = table.found(ROUNDED), table.found(ROUNDED, ONE_DAY)
    if not before or not after or not found:
        return
    shared = after.mean > 2 and after.mean > before.mean
    last = max((own.mean for own in (found, day) if own), default=0.0)
    answer = NO if not shared else _graded(last)
    said_day = f", those of a whole day {percent(day)}" if day else ""
    yield Answer(
        "Rounding to the nearest 0.1 kWh lets customers share values, so that profiles hide in the crowd",
        PARTLY if shared and answer == NO else answer,
        f"{few} known reading agrees with {write(after, '.3g')} records instead of {write(before, '.3g')}; "
        f"{table.main} known readings find {percent(found)}{said_day}.",
    )


def _sum_of_100(table: AnonymizeTable) -> Iterator[Answer]:
    yield from _in_a_sum(table, "all", "A sum of 100 households' usage is very hard to attribute to any one house")


def _averages_of_100(table: AnonymizeTable) -> Iterator[Answer]:
    yield from _in_a_sum(table, "largest", "In hourly averages for groups of 100, outliers are blended into the crowd")


def _in_a_sum(table: AnonymizeTable, target: str, claim: str) -> Iterator[Answer]:
    size = max((own for own in table.group_sizes if own <= 100), default=0)
    found = {span: own for span in table.spans if (own := table.auc(size, span, target))}
    if size < 2 or not found:
        return
    worst = max(own.mean for own in found.values())
    best = min(own.mean for own in found.values())
    answer = YES if worst <= NEAR_GUESSING else NO if best > FINDS else PARTLY
    told = ", ".join(f"{own.text('.2f')} who knows a {span}" for span, own in found.items())
    who = "one of the largest households" if target == "largest" else "a household"
    yield Answer(claim, answer, f"AUC of telling that {who} is in a sum of {size}: {told}; 0.5 is guessing.")


def _sums_protect(table: AnonymizeTable) -> Iterator[Answer]:
    found = [(step, table.breaking(step)) for step in (SUMS, SUMS_15_15, SUPPRESSED)]
    told = {step: own for step, own in found if own}
    if not told:
        return
    names = {SUMS: "without a rule", SUMS_15_15: "under the 15/15 rule", SUPPRESSED: "with complementary suppression"}
    said = ", ".join(f"{own.text('.3g')} {names[step]}" for step, own in told.items())
    both = [(step, table.breaking(step, TWO_WAYS)) for step, _ in found]
    ways = ", ".join(f"{own.text('.3g')} {names[step]}" for step, own in both if own)
    last = told.get(SUPPRESSED)
    rule = told.get(SUMS_15_15)
    clean = last is not None and last.high == 0
    answer = NO if not clean else YES if rule is not None and rule.high == 0 else PARTLY
    yield Answer(
        "Aggregation thresholds, such as no statistic of fewer customers than a number, protect",
        answer,
        "combinations of published sums by feeder, substation and area whose group breaks the 15/15 rule: "
        f"{said}" + (f"; by feeder and by class: {ways}." if ways else "."),
    )


def _totals(table: AnonymizeTable) -> Iterator[Answer]:
    fine, daily, weekly = (table.found(step) for step in (PSEUDONYMS, DAILY, WEEKLY))
    if not fine or not (daily or weekly):
        return
    kinds = (("daily", daily, "day", table.found(DAILY, ONE_DAY)),
             ("weekly", weekly, "week", table.found(WEEKLY, ONE_WEEK)))  # fmt: skip
    told = [(name, own, period, whole) for name, own, period, whole in kinds if own]
    said = "; ".join(
        f"{name} totals {percent(own)}" + (f" ({percent(whole)} if a whole {period} is known)" if whole else "")
        for name, own, period, whole in told
    )
    few = max(own.mean for _, own, _, _ in told)
    all_day = max((own.mean for *_, own in told if own), default=0.0)
    safer = few < fine.mean / 10
    answer = YES if safer and all_day < fine.mean / 10 else PARTLY if safer else NO
    yield Answer(
        "Daily or weekly totals are far safer than fine readings (here half-hourly)",
        answer,
        f"{table.main} known half-hourly readings find {percent(fine)} of the households in half-hourly data; in "
        f"{said}.",
    )


def _extremes(table: AnonymizeTable) -> Iterator[Answer]:
    fine, found, day = table.found(PSEUDONYMS), table.found(EXTREMES), table.found(EXTREMES, ONE_DAY)
    if not fine or not found:
        return
    worst = max(own.mean for own in (found, day) if own)
    yield Answer(
        "The minimum and maximum of each day instead of its profile gain privacy",
        PARTLY if _graded(worst) == NO and found.mean < fine.mean / 2 else _graded(worst),
        f"{table.main} known readings find {percent(found)} instead of {percent(fine)}"
        + (f"; a known day finds {percent(day)}." if day else "."),
    )


def _curves(table: AnonymizeTable) -> Iterator[Answer]:
    size = 5 if 5 in table.class_sizes else max(table.class_sizes, default=0)
    year, mean_day = table.loss(size, "year"), table.loss(size, "mean day")
    if not year:
        return
    left = f"; of mean days only {percent(mean_day)}" if mean_day else ""
    worse = table.added(MICRO_5, "mape")
    used = f" The MAPE of feeders that are learnt from such curves changes by {signed(worse.mean)} %." if worse else ""
    yield Answer(
        "k-anonymity of whole load curves takes heavy generalisation that undermines the data's value",
        YES if year.mean >= GIVEN_AWAY else NO if year.mean <= PROTECTED else PARTLY,
        f"curves of a year that {size} households or more share lose {percent(year)} of the variance between "
        f"households and over time{left}.{used}",
    )


def _composition(table: AnonymizeTable) -> Iterator[Answer]:
    alone, after = table.composition(BEFORE, "one_solar"), table.composition(AFTER, "recovered")
    recovered, districts = table.composition(BEFORE, "recovered"), table.composition(BEFORE, "districts")
    if not alone or not recovered or not districts:
        return
    answer = YES if recovered.mean > 0 else NO
    ruled = f"; after the rules {write(after, '.3g')}" if after else ""
    yield Answer(
        "Two releases that are harmless alone, by district and by solar programme, can single out a household",
        answer,
        f"{write(alone, '.3g')} of {write(districts, '.3g')} districts have exactly one customer with solar cells; the "
        f"difference of both releases gives the exact readings of {write(recovered, '.3g')}{ruled}.",
    )


def _forecasting(table: AnonymizeTable) -> Iterator[Answer]:
    step = SUPPRESSED if table.utility(SUPPRESSED) else SUMS
    raw, own, raw_feeders, feeders = table.total(RAW), table.total(step), table.utility(RAW), table.utility(step)
    if not raw or not own or not raw_feeders or not feeders:
        return
    ratio = own.mean / raw.mean
    cost = table.added(step)
    more = f", which changes the cost by {signed(cost.mean)} %" if cost else ""
    yield Answer(
        "Aggregated data can still be very useful for total load forecasting",
        YES if ratio <= USEFUL else PARTLY if ratio <= NO_USE else NO,
        f"forecasts of the area's total that learn from sums that protect err by {own.text('.3g')} % (MAPE), from raw "
        f"readings by {raw.text('.3g')} %; those of feeders by {feeders.text('.3g')} %, from raw readings by "
        f"{raw_feeders.text('.3g')} %{more}.",
    )


def _truthful(table: AnonymizeTable) -> Iterator[Answer]:
    steps = [step for step in (SUMS, SUMS_15_15, SUPPRESSED) if table.release(step, "largest_difference")]
    if not steps:
        return
    largest = max(own.high for step in steps if (own := table.release(step, "largest_difference")))
    rounded = table.release(ROUNDED, "largest_difference")
    others = f"; rounded readings differ by up to {write(rounded, '.2g')} kWh" if rounded else ""
    yield Answer(
        "Anonymisation by aggregation preserves truthfulness",
        YES if largest == 0 else NO,
        f"published sums differ from the sums of the readings by at most {write(largest, '.2g')} kWh{others}.",
    )
