"""Claims of a blueprint for private analytics of smart meters, and what the records say of them."""

from __future__ import annotations

from unlearn.reporting.verdict import NO, YES, Answer, text, write
from unlearn.studies.comparison.options import (
    CLASSES,
    DP,
    DP_HOME,
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
    TOTALS,
)
from unlearn.studies.comparison.table import ComparisonTable, Row

PARTLY = "partly"
#: A home counts as found where its record is, with this chance; a curve as read off with less than this error.
FOUND, READ = 0.5, 0.1
#: From this AUC on, membership counts as found.
TOLD = 0.6
#: So many times the bytes of plain sums count as heavy.
HEAVY = 2.0


def claims(table: ComparisonTable) -> list[Answer]:
    """Claims of a blueprint for private analytics of smart meters that the records say something of."""
    found = []
    secure = table.lost(Row(SECURE, None), TOTALS, "mape")
    if secure:
        difference = table.spread("attack", "difference", Row(SECURE, None))
        said = f"totals differ by {write(secure.mean, '.1g')} points of MAPE from those without protection"
        said += f"; a home's curve is read off two of them with error {text(difference, '.2g')}" if difference else ""
        found.append(Answer("Exact results, no added noise (secure sum)", YES if abs(secure.mean) < 1e-6 else NO,
                            f"{said}."))  # fmt: skip
    noisy = [(row, own) for row in table.rows if row.technique == DP and (own := table.lost(row, TOTALS, "mape"))]
    if len(noisy) > 1:
        said = ", ".join(f"{write(own, 'short')} points at ε = {row.epsilon:g}" for row, own in noisy)
        falls = noisy[0][1].mean > noisy[-1][1].mean
        found.append(Answer("Accuracy loss at low ε", YES if falls else NO, f"MAPE of totals lost: {said}."))
    linked = {own: table.spread("attack", "linked", Row(own, None)) for own in (PSEUDONYMS, CLASSES)}
    if (named := linked[PSEUDONYMS]) is not None:
        said = f"{write(100 * named.mean, '.3g')} % of pseudonyms are found by {table.setting('known'):.0f} readings"
        if (grouped := linked[CLASSES]) is not None:
            said += f", {write(100 * grouped.mean, '.3g')} % of records that a class shares"
        found.append(Answer("Anonymisation by itself is weak", YES if named.mean > FOUND else NO, f"{said}."))
    found += [own for own in (_at_home(table), _leaks(table), *_heavy(table), _strong(table), _together(table)) if own]
    if len(table.rows) > 1:
        found.append(_no_single(table))
    return found


def _at_home(table: ComparisonTable) -> Answer | None:
    """Whether readings stay where they are."""
    own = Row(FEDERATED, None)
    seen, n_bytes, plain = (
        table.spread("attack", "seen", own),
        table.spread("spent", "bytes", own),
        table.spread("spent", "bytes", Row(SUMS, None)),
    )
    if seen is None or n_bytes is None:
        return None
    said = f"{write(100 * seen.mean, '.3g')} % of retailers' loads stand in a message"
    said += f"; messages have {write(n_bytes.mean / plain.mean, '.2g')} times the bytes of readings" if plain else ""
    return Answer("No raw data leaves its host (federated learning)", YES if seen.high == 0 else NO, f"{said}.")


def _leaks(table: ComparisonTable) -> Answer | None:
    """Whether sums of a federation tell of a home."""
    found = table.spread("attack", "difference", Row(FEDERATED, None))
    if found is None:
        return None
    said = f"from sums before and after a home left, its mean day is read with error {text(found, '.2g')}"
    return Answer(
        "Leakage if unsecured (federated learning)",
        YES if found.mean < 1 else NO,
        f"{said}, where guessing has 1; the secure sum hides members, not homes. No gradients are sent here.",
    )


def _heavy(table: ComparisonTable) -> list[Answer]:
    """What computing in secret takes against plain sums."""
    plain, found = table.spread("spent", "bytes", Row(SUMS, None)), []
    for claim, techniques in (
        ("Heavy communication and computation (secure multiparty computation)", (SECURE, MPC, MPC_FIT)),
        ("Performance overhead (homomorphic encryption)", (HE, HE_FORECAST)),
    ):
        said, times = [], []
        for row in table.rows:
            seconds, n_bytes = (table.spread("spent", own, row) for own in ("seconds", "bytes"))
            if row.technique in techniques and plain and seconds and n_bytes:
                times.append(n_bytes.mean / plain.mean)
                said.append(f"{row.name}: {write(times[-1], '.2g')} times its bytes, {write(seconds, '.2g')} s")
        if said:
            heavy = YES if min(times) > HEAVY else PARTLY if max(times) > HEAVY else NO
            found.append(Answer(claim, heavy, f"against plain sums, {'; '.join(said)}."))
    return found


def _strong(table: ComparisonTable) -> Answer | None:
    """Whether computing in secret is exact, and what is computed so."""
    secret = [row for row in table.rows if row.technique in (SECURE, MPC, HE) and table.lost(row, TOTALS, "mape")]
    if not secret:
        return None
    exact = all(row in table.exact for row in secret)
    said = f"totals are {'exact' if exact else 'NOT exact'}"
    for row in (Row(HE_FORECAST, None), Row(MPC_FIT, None)):
        differs, lost = table.utility(row, FORECAST, "differs"), table.lost(row, FORECAST, "cost")
        if differs and lost:
            said += f"; {row.name} differs from the same in plain by {write(differs.high, '.1g')} p.u. at most"
            said += f" and costs {write(lost, '+,.0f')} money/h" if row.technique == MPC_FIT else ""
    limits = "what was computed is sums, linear forecasts, and least squares with public columns"
    return Answer(
        "They give strong privacy and accuracy but are limited to specific computations",
        PARTLY if exact else NO,
        f"{said}; {limits}.",
    )


def _together(table: ComparisonTable) -> Answer | None:
    """Whether a combination does what neither of its parts does."""
    main = table.setting("main_epsilon")
    both, alone = (table.lost(Row(own, main), FORECAST, "cost") for own in (FEDERATED_DP, DP_HOME))
    if both is None or alone is None:
        return None
    said = (
        f"a model of a federation with (ε, δ) of a home costs {write(both, '+,.0f')} money/h, one that learns from "
        f"totals with it {write(alone, '+,.0f')}; a trusted utility that asks for as few numbers "
        "would do as well, so what the federation adds is that none is needed"
    )
    return Answer("Techniques can complement each other", YES if both.mean < alone.mean else NO, f"{said}.")


def _no_single(table: ComparisonTable) -> Answer:
    """Whether one technique alone is exact and survives each attack that was tried on it."""
    safe = []
    for row in table.rows:
        linked, difference, auc = (
            table.spread("attack", own, row) for own in ("linked", "difference", "membership_auc")
        )
        refused = table.spread("attack", "refused", row)
        attacked = linked is not None or difference is not None or (refused is not None and refused.low == 1)
        holds = (linked is None or linked.mean < FOUND) and (difference is None or difference.mean > READ)
        holds = holds and (auc is None or auc.mean < TOLD)
        if row.technique != NONE and attacked and holds and row in table.exact:
            safe.append(row.name)
    said = f"exact totals that stood all attacks tried on them: {', '.join(safe) or 'none'}"
    if week := table.week_wins:
        said += f"; forecasts no cheaper than the load of a week before: {', '.join(row.name for row in week)}"
    said += "; none of them publishes records, or hides what an exact total tells" if safe else ""
    return Answer("No single technique is sufficient for all needs", PARTLY if safe else YES, f"{said}.")
