"""Claims of the literature on differential privacy of meter data, each with an answer, a number and a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from unlearn.reporting.verdict import NO, UNCLEAR, YES, Answer, Spread, counted, write
from unlearn.studies._shared.bus_loads import WEEK_BEFORE
from unlearn.studies.dp_release.options import WITHIN
from unlearn.studies.dp_release.table import (
    CONSISTENT,
    LEVEL_NAMES,
    LOCAL,
    PUBLISHED,
    SPAN_NAMES,
    TRUE,
    DpReleaseTable,
)

PARTLY = "partly"
#: A forecast that learnt from what is published is as good as one of true loads up to so many times its error.
AS_GOOD = 1.05
#: Noise counts as small up to this share of a total, and as futile from this one on.
SMALL, FUTILE = 0.05, 1.0


def claims(table: DpReleaseTable) -> list[Answer]:
    """Each claim that the records say something of, in the order of the document."""
    return [Answer(said, *found) for said, judge in CLAIMS.items() if (found := judge(table)) is not None]


Found = tuple[str, str] | None


def _deviation(table: DpReleaseTable) -> Found:
    ratio = table.value("noise", "sd_over_scale", mechanism="laplace")
    if np.isnan(ratio):
        return None
    answer = YES if abs(ratio - 1) < 0.1 else NO
    return answer, f"its standard deviation is √2 times the scale: {write(10 * ratio, '.1f')} kWh in draws."


def _typical(table: DpReleaseTable) -> Found:
    share = table.value("noise", "within_scale", mechanism="laplace")
    if np.isnan(share):
        return None
    said = f"{write(100 * share, '.0f')} % of the draws lie within the scale; 95 % lie within 30 kWh, three times it."
    return PARTLY if share > 0.5 else NO, said


def _composed(table: DpReleaseTable) -> Found:
    answers = sorted(table.rows("composition", "epsilon")["answers"].unique().tolist())
    if 24 not in answers:
        return None

    def total(rule: str, n: float) -> float:
        return table.value("composition", "epsilon", composition=rule, answers=n)

    each = float(table.rows("composition", "epsilon")["epsilon_each"].iloc[0])
    rules = {rule: total(rule, 24) for rule in ("basic", "advanced", "zcdp")}
    said = f"24 answers of ε = {each:g} cost {rules['basic']:.3g} added up, {rules['advanced']:.3g} by advanced and "
    said += f"{rules['zcdp']:.3g} by concentrated composition"
    most = max(answers)
    said += "" if rules["zcdp"] < rules["basic"] else ", which pay off only for more answers"
    said += f"; {counted(most, 'answer')}: {total('basic', most):,.0f}, {total('advanced', most):,.0f} and "
    said += f"{total('zcdp', most):,.0f}."
    return (YES if np.isclose(rules["basic"], 24 * each) else NO), said


def _one_percent(table: DpReleaseTable) -> Found:
    homes = {level: table.homes(level, "hour", table.main_epsilon) for level in table.levels}
    if not homes or not table.spans:
        return None
    longest = table.spans[-1]
    here = table.error("feeder", table.levels[-1], "hour", table.main_epsilon)
    each = [f"{_homes(table, level, longest)} where {LEVEL_NAMES[level]} is protected" for level in table.levels]
    size = table.setting("homes_per_feeder")
    said = f"at ε = {table.main_epsilon:g} one hour takes {_homes(table, table.levels[-1], 'hour')}, "
    said += f"{SPAN_NAMES[longest]} {', '.join(each)}. A feeder of {size:.0f} homes has an error of {percent(here)} in "
    said += f"one hour. Bounds on readings cut {percent(table.setting('clipping_hour'))} beside it, those on days "
    said += f"{percent(table.setting('clipping'))}."
    return (YES if here < WITHIN[0] else PARTLY), said


def _thousandth(table: DpReleaseTable) -> Found:
    if not table.levels or not table.spans:
        return None
    level, longest, eps = table.levels[-1], table.spans[-1], table.main_epsilon
    hour, year = (table.homes(level, span, eps, WITHIN[1]) for span in ("hour", longest))
    if np.isnan(hour):
        return None
    size = table.setting("customers")
    said = f"for one hour at ε = {eps:g} it takes {_counted(hour)}, for {SPAN_NAMES[longest]} that protect "
    said += f"{LEVEL_NAMES[level]} {_counted(year)}; these are {size:.0f}, whose error in one hour is "
    said += f"{percent(table.error('area', level, 'hour', eps))}."
    return PARTLY, said


def _many(table: DpReleaseTable) -> Found:
    if not table.levels or not table.spans:
        return None
    eps, level = table.main_epsilon, table.levels[-1]
    by_place = {place: table.error(place, level, "hour", eps) for place in ("feeder", "substation", "area")}
    by_place = {place: own for place, own in by_place.items() if np.isfinite(own)}
    if len(by_place) < 2:
        return None
    said = ", ".join(f"{place} {percent(own)}" for place, own in by_place.items())
    falls = all(a > b for a, b in zip(list(by_place.values()), list(by_place.values())[1:], strict=False))
    few = _counted(table.homes(level, table.spans[-1], eps))
    said = f"error of one hour at ε = {eps:g}: {said}. It falls as one over the number of homes, which must be large "
    said += f"against the hours that share ε: {few} for {SPAN_NAMES[table.spans[-1]]}."
    return (YES if falls else NO), said


def _patterns(table: DpReleaseTable) -> Found:
    true, naive = table.forecast(TRUE), table.forecast(WEEK_BEFORE)
    found = [(eps, level, own) for eps, level, own in published(table) if 0.5 <= eps <= 1]
    if true is None or not found:
        return None
    good = {level for _, level, own in found if own.mean <= AS_GOOD * true.mean}
    eps = max(eps for eps, _, _ in found)
    said = ", ".join(
        f"{write(own, 'short')} % where {LEVEL_NAMES[level]} is protected" for e, level, own in found if e == eps
    )
    said = f"MAPE of forecasts at ε = {eps:g}: {said}; with true loads {true.text('.3g')} %"
    said += f", the load of a week before {naive.text('.3g')} %." if naive else "."
    for larger in table.larger[1:]:
        scaled = [
            f"{write(own, 'short')} % ({LEVEL_NAMES[level]})" for e, level, own in published(table, larger) if e == eps
        ]
        said += f" In feeders {larger} times as large: {', '.join(scaled)}."
        good |= {
            f"{level} {larger}"
            for e, level, own in published(table, larger)
            if e <= 1 and own.mean <= AS_GOOD * true.mean
        }
    levels = {level for _, level, _ in found}
    return (YES if levels <= good else PARTLY if good else NO), said


def _single(table: DpReleaseTable) -> Found:
    found = table.spread("single", "error", epsilon=table.main_epsilon, level="event")
    drowned = table.value("single", "drowned", epsilon=table.main_epsilon, level="event")
    if found is None:
        return None
    said = (
        f"at ε = {table.main_epsilon:g} for each reading the error is {percent(found.mean)} of the mean reading, and "
    )
    said += f"exceeds the reading itself in {percent(drowned)} of the hours."
    return (YES if found.mean > FUTILE else NO), said


def _local(table: DpReleaseTable) -> Found:
    ratio, n = table.value("local", "ratio", method="local"), table.value("local", "homes", method="local")
    if np.isnan(ratio):
        return None
    said = f"for a sum over {n:.0f} homes the noise of all meters has {ratio:.1f} times the standard deviation of the "
    said += f"utility's own (√{n:.0f} = {np.sqrt(n):.1f})"
    shared = table.value("local", "ratio", method="distributed")
    said += (
        f"; noise that meters share has {shared:.2f} times, and needs encrypted sums." if np.isfinite(shared) else "."
    )
    mape = table.forecast(LOCAL, level="event", epsilon=table.main_epsilon)
    own = table.forecast(PUBLISHED, level="event", epsilon=table.main_epsilon)
    said += f" Forecasts: MAPE {write(mape, 'short')} against {write(own, '.3g')} %." if mape and own else ""
    return (YES if ratio > 2 else NO), said


def _processed(table: DpReleaseTable) -> Found:
    own = {
        method: table.value(
            "hierarchy", "error", method=method, place="feeder", level="event", epsilon=table.main_epsilon
        )
        for method in ("alone", "raw", "consistent", "non-negative")
    }
    if not np.isfinite(list(own.values())).all():
        return None
    said = "making sums agree costs no ε, and changes the error of feeders that share ε with sums from "
    said += f"{percent(own['raw'])} to {percent(own['consistent'])} of the mean, {percent(own['non-negative'])} where "
    said += f"none is below 0 ({percent(own['alone'])} where feeders alone have ε)."
    audited = table.intact[table.intact["query"] == "processed"]
    said += (
        f" An audit of clipped and rounded sums finds ε ≥ {audited['value'].max():.2f} of {audited['epsilon'].max():g}."
        if len(audited)
        else ""
    )
    return (YES if own["non-negative"] <= own["raw"] else NO), said


def _fictitious(table: DpReleaseTable) -> Found:
    filled = table.value("queries", "empty_bins_filled", query="histogram")
    error = table.value("queries", "absolute_error", query="histogram")
    if np.isnan(filled):
        return None
    said = f"{percent(filled)} of the bins without any home are published with some, and bins are off by "
    said += f"{error:.2g} homes on average; as many counts are taken away as are added."
    return (PARTLY if filled > 0 else NO), said


def _tripped(table: DpReleaseTable) -> Found:
    own = table.intact[table.intact["query"] == "count"]
    if own.empty:
        return None
    worst = own.iloc[int((own["value"] / own["epsilon"]).to_numpy().argmax())]
    said = f"with and without the home that tripped it, {counted(float(worst['runs']), 'run')} each show ε ≥ "
    said += f"{worst['value']:.2f} where {worst['epsilon']:g} is promised: whoever holds even odds is right in at most "
    said += f"{100 / (1 + np.exp(-worst['epsilon'])):.0f} % of the cases."
    return (YES if (own["value"] <= own["epsilon"]).all() else NO), said


def _peak(table: DpReleaseTable) -> Found:
    rows = table.rows("peak", "epsilon", within=0.05).sort_values("homes")
    covered = table.rows("peak", "coverage", within=0.05)["value"]
    if rows.empty:
        return None
    said = ", ".join(f"{row['homes']:,.0f} homes ε = {row['value']:.2g}" for _, row in rows.iterrows())
    reached = rows[rows["value"] <= table.main_epsilon]
    said = f"±5 % with 95 % confidence takes: {said}"
    said += f". In runs {100 * covered.min():.1f} to {100 * covered.max():.1f} % are within." if len(covered) else "."
    return (YES if len(reached) == len(rows) else PARTLY if len(reached) else NO), said


def _audit(table: DpReleaseTable) -> Found:
    """What the guarantee itself amounts to."""
    if table.intact.empty or table.broken.empty:
        return None
    kept = (table.intact["value"] <= table.intact["epsilon"]).all()
    caught = (table.broken["value"] > table.broken["epsilon"]).sum()
    said = f"the lower bounds of {counted(len(table.intact), 'release')} are at most the ε that was promised (the "
    said += f"largest reaches {percent((table.intact['value'] / table.intact['epsilon']).max())} of it); {caught} of "
    said += f"{len(table.broken)} releases that were broken on purpose exceed it."
    if not kept:
        said = f"a release exceeds its ε; {said}"
    return (YES if kept and caught == len(table.broken) else NO if not kept else UNCLEAR), said


#: What is claimed, and what judges it.
CLAIMS: dict[str, Callable[[DpReleaseTable], Found]] = {
    "Noise of Laplace(0, 10) has a standard deviation of about 10 kWh": _deviation,
    "It is typically within ±10 kWh of the true value": _typical,
    "24 hourly totals of ε = 0.5 cost about 24 × 0.5 = 12": _composed,
    "With ε ≤ 1 noise is below 1 % on feeder-level hourly totals": _one_percent,
    "Noise is ±0.1 % of the total load": _thousandth,
    "As long as the community has many customers, noise is small against the total": _many,
    "ε around 0.5 or 1 can preserve many aggregate patterns": _patterns,
    "To release each household's hourly usage would be futile": _single,
    "Local differential privacy comes at the cost of much higher noise": _local,
    "The guarantee is immune to post-processing": _processed,
    "In histograms, noise adds fictitious counts, so that one reading does not stand out": _fictitious,
    "A noisy count of homes above a threshold does not reveal whether one of them tripped it": _tripped,
    "An analyst can ask for the aggregate peak within ±5 %": _peak,
    "The privacy guarantee is rigorous": _audit,
}  # fmt: skip


def published(table: DpReleaseTable, larger: int = 1) -> Iterator[tuple[float, str, Spread]]:
    """MAPE at each ε and level, of the better of both ways to publish: feeders alone, or sums that agree."""
    for epsilon in table.epsilons or sorted(table.rows("utility", "mape")["epsilon"].dropna().unique()):
        for level in LEVEL_NAMES:
            found = [table.forecast(way, "mape", level, epsilon, larger) for way in (PUBLISHED, CONSISTENT)]
            if known := [own for own in found if own]:
                yield epsilon, level, min(known, key=lambda own: own.mean)


def _homes(table: DpReleaseTable, level: str, span: str) -> str:
    return _counted(table.homes(level, span, table.main_epsilon))


def _counted(homes: float) -> str:
    return f"{rounded(homes)} homes"


def rounded(homes: float) -> str:
    """A number of homes with two digits: nobody can tell more."""
    if not np.isfinite(homes):
        return "–"
    return f"{homes:.0f}" if homes < 100 else f"{float(f'{homes:.2g}'):,.0f}"


def percent(share: float) -> str:
    """A share in percent, with two digits, or all before the point."""
    if not np.isfinite(share):
        return "–"
    return f"{100 * share:,.0f} %" if abs(share) >= 1 else f"{100 * share:.2g} %"
