"""What is claimed of federated learning across utilities, and what the records say of each claim.

Claims are those of section 5 of a blueprint for privacy-preserving analytics of smart meters, in the order in which it
makes them, and then those of this library's unlearning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from unlearn.reporting.verdict import NO, UNCLEAR, YES, Answer, Spread, write
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    DROPPED,
    EXACT,
    FEDERATED,
    HALF_BACK,
    LATE,
    LINEAR,
    NOISY,
    NOTHING_WRONG,
    OTHER_SEED,
    POISONED,
    PROCESSES,
    RETRAINED,
    ROLLED_BACK,
    SCALED,
    SINGLE,
    SUM,
    UTILITY,
    WEIGHTED_MEAN,
)
from unlearn.studies.federated.rows import size
from unlearn.studies.federated.table import AGGREGATE_NAMES, CASE_NAMES, PILOT_NAMES, FederatedTable

PARTLY = "partly"
#: Largest relative distance of models that count as the same.
SAME = 1e-9
#: A gap of at most so many percent counts as as good.
AS_GOOD = 1.0
#: A round is survived where the error is at most so many times as large.
SURVIVED, BROKEN = 1.1, 1.5
#: An attack with at least this share of the error of guessing learns next to nothing; with at most the second, much.
GUESSING, LEARNT = 0.9, 0.5
#: Rolling back saves something if it sends at most this share of what averaging anew sends.
SAVES = 0.9

Found = Iterator[Answer]


def claims(table: FederatedTable) -> list[Answer]:
    """An answer to each claim that the records say something of."""
    made: tuple[Callable[[FederatedTable], Found], ...] = (
        _pooled, _benefits, _averaging, _cars, _updates, _secure, _noise, _drop_outs, _rounds, _malicious, _robust,
        _subtle, _leaves, _rollback, _sums_unseen,
    )  # fmt: skip
    return [own for claim in made for own in claim(table)]


def gap_text(found: Spread | None) -> str:
    """A change in percent with its range and sign."""
    return f"{found.text('+.2g')} %" if found else "–"


def _graded(gap: Spread) -> str:
    """Yes where every seed is better, no where none is, otherwise not clear."""
    return YES if gap.high < 0 else NO if gap.low >= 0 else UNCLEAR


def _pooled(table: FederatedTable) -> Found:
    distance = table.pooled_distance
    if np.isfinite(distance):
        sent = table.value("exact", "bytes", method=FEDERATED, forecaster=LINEAR)
        yield Answer(
            "The parties train together as if their data were in one place, without gathering them",
            YES if distance <= SAME else NO,
            f"least squares of one secure sum differs from pooled training by at most {distance:.1g} of the forecasts; "
            f"all parties together sent {size(sent)}.",
        )


def _benefits(table: FederatedTable) -> Found:
    own = {"forecaster": LINEAR}
    mse, cost = (
        table.gap("exact", metric, {**own, "method": FEDERATED}, {**own, "method": ALONE}) for metric in ("mse", "cost")
    )
    if mse and cost:
        yield Answer(
            "A single model that benefits from broader trends across all regions",
            _both(mse, cost),
            f"the linear forecaster of all utilities against those of each alone: MSE {gap_text(mse)}, cost "
            f"{gap_text(cost)}; below 0 is better together.",
        )


def _both(mse: Spread, cost: Spread) -> str:
    found = {_graded(mse), _graded(cost)}
    return found.pop() if len(found) == 1 else PARTLY if YES in found else UNCLEAR


def _averaging(table: FederatedTable) -> Found:
    mse, cost = table.to_pooled("mse"), table.to_pooled("cost")
    alone, alone_cost = table.to_alone("mse"), table.to_alone("cost")
    if not mse or not cost:
        return
    said = f"the averaged Mixer against a pooled one of as many passes: MSE {gap_text(mse)}, cost {gap_text(cost)}"
    said += f"; against each utility alone: MSE {gap_text(alone)}, cost {gap_text(alone_cost)}" if alone else ""
    linear = table.gap("averaging", "mse", {"method": FEDERATED},
                       {"method": AVERAGED, "wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN})  # fmt: skip
    apart = table.most("averaging", "distance_to_one_process", method=PROCESSES)
    said += f"; in processes of their own members come to the same weights to {apart:.1g}" if np.isfinite(apart) else ""
    said += f"; one sum of a linear forecaster against the averaged Mixer: MSE {gap_text(linear)}" if linear else ""
    worst = max(mse.mean, cost.mean)
    answer = YES if worst <= AS_GOOD else PARTLY if mse.mean <= AS_GOOD or cost.mean <= AS_GOOD else NO
    yield Answer("Averaged weights give a model that incorporates learning from all clients' data", answer, f"{said}.")


def _cars(table: FederatedTable) -> Found:
    together, alone = table.pilot(FEDERATED), table.pilot(ALONE)
    singles = {own: found for own in ("night_share", "high_hours") if (found := table.pilot(own))}
    best = max(singles, key=lambda own: singles[own].mean) if singles else ""
    simple, sums = singles.get(best), table.pilot("least_squares")
    if not together or not alone:
        return
    better = together.mean > alone.mean
    said = f"AUC of telling owners: {together.text('.3f')} federated, {alone.text('.3f')} alone"
    said += f", {sums.text('.3f')} by least squares on exact sums" if sums else ""
    said += f", {simple.text('.3f')} by one feature, {PILOT_NAMES[best]}" if simple else ""
    needed = simple is None or together.mean > simple.mean
    yield Answer(
        "Utilities together predict better which customers have electric cars",
        YES if better and needed and together.low > alone.high else PARTLY if better else NO,
        f"{said}.",
    )


def _updates(table: FederatedTable) -> Found:
    if found := table.by_batch(SINGLE):
        yield Answer(
            "Because each update is a result of many data points, the risk is far less than sharing raw data",
            _hidden(found),
            f"error of load windows reconstructed from one member's update, over that of guessing the mean: "
            f"{_by_windows(found)}.",
        )


def _secure(table: FederatedTable) -> Found:
    if found := table.by_batch(SUM):
        yield Answer(
            "The coordinator only sees the sum of the updates and cannot isolate one",
            _hidden(found),
            f"nor does it need to where the sum is of few windows: error of the windows of all members, reconstructed "
            f"from their secure sum, over that of guessing: {_by_windows(found)} of each member.",
        )


def _by_windows(found: list[tuple[float, Spread]]) -> str:
    return ", ".join(f"{own.text('.2g')} for {batch:g} window{'s' * (batch != 1)}" for batch, own in found)


def _hidden(found: list[tuple[float, Spread]]) -> str:
    """Yes where even the smallest batch is as good as guessed, no where even the largest is not."""
    errors = [own.mean for _, own in found]
    return YES if min(errors) >= GUESSING else NO if max(errors) < GUESSING else PARTLY


def _noise(table: FederatedTable) -> Found:
    noisy = [(noise, batch) for view, batch, noise in table.attacked if view == NOISY]
    found = [(noise, own) for noise, batch in noisy if (own := table.inversion(NOISY, batch, noise))]
    if not found:
        return
    told = ", ".join(f"{own.text('.2g')} at {noise:g} of the norm" for noise, own in found)
    last = found[-1][1].mean
    yield Answer(
        "Noise limits what can be inferred about any single client's data",
        YES if last >= GUESSING else PARTLY if last > LEARNT else NO,
        f"error over that of guessing, of the update that is attacked best without noise: {told}.",
    )


def _drop_outs(table: FederatedTable) -> Found:
    counts = table.survivors
    if len(counts) < 2:
        return
    least = counts[-1]
    promised, right, naive = (table.spent(way, least) for way in ("promised", "right", "naive"))
    worst = max(table.spent("right", own) - table.spent("promised", own) for own in counts)
    yield Answer(
        "Client-side noise keeps its promise when clients drop out",
        YES if worst <= 1e-9 * promised else NO,
        f"with {least:g} of {counts[0]:g} members left, ε is {right:.3g} where {promised:.3g} is promised, for shares "
        f"of noise are sized for the fewest members that a round may end with; shares that are sized for all members "
        f"would spend {naive:.3g}.",
    )


def _rounds(table: FederatedTable) -> Found:
    one = table.value("exact", "bytes", method=FEDERATED, forecaster=LINEAR)
    many = table.value("averaging", "bytes", method=AVERAGED, wrong=NOTHING_WRONG, aggregate=WEIGHTED_MEAN)
    if np.isfinite(one) and np.isfinite(many):
        yield Answer(
            "Many rounds of sending model weights back and forth",
            YES if many > one else NO,
            f"averaging the Mixer sends {size(many)}, one secure sum of a linear forecaster {size(one)}.",
        )


def _malicious(table: FederatedTable) -> Found:
    found = {wrong: own for wrong in (SCALED, POISONED) if (own := table.under(wrong, WEIGHTED_MEAN))}
    if not found:
        return
    told = ", ".join(f"{own.text('.3g')} times with a {wrong} update" for wrong, own in found.items())
    hurt = [own.mean > BROKEN for own in found.values()]
    yield Answer(
        "A malicious client could inject a manipulated update to influence the global model",
        YES if all(hurt) else PARTLY if any(hurt) else NO,
        f"MSE of the weighted mean: {told}.",
    )


def _robust(table: FederatedTable) -> Found:
    worst: dict[str, Spread] = {}
    for own in table.aggregates:
        found = [one for wrong in (SCALED, POISONED) if (one := table.under(wrong, own))]
        if own != WEIGHTED_MEAN and found:
            worst[own] = max(found, key=lambda one: one.mean)
    if not worst:
        return
    # Rules that only the first seed tried do not win by it.
    seeds = {own: len(table.by_seed("attacked", "mse", aggregate=own)) for own in worst}
    best = min(worst, key=lambda own: (-seeds[own], worst[own].mean))
    price, dropped = table.under(NOTHING_WRONG, best), table.under(DROPPED, WEIGHTED_MEAN)
    said = f"the {AGGREGATE_NAMES[best]} keeps the MSE within {worst[best].mean:.3g} times that without an attack"
    said += f", and where nobody attacks changes it by {gap_text(Spread.at(100 * (price.mean - 1)))}" if price else ""
    others = [f"{value.mean:.3g} ({AGGREGATE_NAMES[own]})" for own, value in worst.items() if own != best]
    said += f"; other rules: {', '.join(others)}" if others else ""
    said += f"; a member that vanishes leaves it at {dropped.text('.3g')} times" if dropped else ""
    yield Answer(
        "Robust aggregation survives a malicious member",
        YES if worst[best].mean <= SURVIVED else PARTLY if worst[best].mean <= BROKEN else NO,
        f"{said}. Robust rules look at single updates, which secure summation hides: one has either.",
    )


def _subtle(table: FederatedTable) -> Found:
    counts = sorted(map(float, table.values("traffic", "n_changed")))
    if not counts:
        return
    told = {n: table.spread("traffic", "difference_relative", n_changed=n) for n in counts}
    said = ", ".join(f"{own.text('.2g')} where {n:g} leave{'s' * (n == 1)} at once" for n, own in told.items() if own)
    alone, last = told[counts[0]], told[counts[-1]]
    if not alone or not last:
        return
    yield Answer(
        "Leakage of the global model is much more subtle than outright sharing of data",
        NO if alone.mean <= LEARNT else YES if alone.mean >= GUESSING else PARTLY,
        "who keeps the totals before and after a withdrawal reconstructs the customer's mean day with an error, over "
        f"that of guessing the mean customer's, of {said}.",
    )


def _leaves(table: FederatedTable) -> Found:
    found = [(case, own) for case in table.cases if (own := table.unlearnt(case, EXACT))]
    if not found:
        return
    told = ", ".join(f"{write(table.most('unlearning', 'distance', case=case, method=EXACT), '.1g')} for "
                     f"{CASE_NAMES[case]}" for case, _ in found)  # fmt: skip
    yield Answer(
        "Exact subtraction gives the model that never had the leaver",
        YES if table.exact_distance <= SAME else NO,
        f"largest distance of forecasts to the never-joined model: {told}.",
    )


def _rollback(table: FederatedTable) -> Found:
    back, half = (table.unlearnt(LATE, way) for way in (ROLLED_BACK, HALF_BACK))
    anew = table.unlearnt(UTILITY, RETRAINED, "bytes")
    sent = {case: table.unlearnt(case, ROLLED_BACK, "bytes") for case in (LATE, UTILITY)}
    if not back or not anew:
        return
    other = table.unlearnt(UTILITY, OTHER_SEED)
    said = f"a utility that joined late: distance of forecasts to never-joined {back.text('.2g')} if all rounds since "
    said += "are repeated" + (f", {half.text('.2g')} if half of them are" if half else "")
    said += f"; two seeds that never had it are {other.text('.2g')} apart" if other else ""
    late, first = (own.mean / anew.mean if own else np.nan for own in sent.values())
    said += f". It sends {write(late, '.0%')} of what averaging anew sends, for a member of the first round "
    said += f"{write(first, '.0%')}; for a customer of one, nothing but averaging anew is known."
    cheaper = [share < SAVES for share in (late, first) if np.isfinite(share)]
    answer = NO if back.mean > SAME or not any(cheaper) else YES if all(cheaper) else PARTLY
    yield Answer("Rolling back removes a member as averaging anew does, for less", answer, said)


def _sums_unseen(table: FederatedTable) -> Found:
    seen, looked = table.value("traffic", "sums_seen"), table.value("traffic", "looked_at")
    if np.isfinite(seen):
        yield Answer(
            "Nobody's sums are seen by anyone else",
            YES if table.most("traffic", "sums_seen") == 0 else NO,
            f"of {looked:,.0f} messages of the secure sum, and their differences, {seen:g} hold a member's sums.",
        )
