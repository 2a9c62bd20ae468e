"""What private training measured, in sentences and tables."""

from __future__ import annotations

import pandas as pd

from unlearn.reporting.verdict import Block, Page, Spread, agreed, capital, text
from unlearn.studies.private_training.table import (
    ASPECTS,
    TASKS,
    PrivateTable,
    Way,
    forecast_rows,
    forecast_sentences,
    strongest,
)

#: What is known before any household is looked at.
START = Way("start", 0.0)


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = PrivateTable(records)
    pairs = [
        (own, start, better)
        for way in table.private
        for own, start, better in (
            (table.headline(way), table.headline(START), "lower"),
            *((table.task(task, way), table.task(task, START), TASKS[task][2]) for task in table.tasks),
        )
        if own and start
    ]
    won = [_against_start(*pair).startswith("better") for pair in pairs]
    return Page(
        "Is it worth training on households privately?",
        agreed(won),
        f"in {sum(won)} of {len(won)} comparisons of fidelity and tasks over all ε, private training is better than "
        "the start that has seen no household.",
        f"{records['data'].iloc[0]}. A generator of daily profiles is trained so that one household more or less "
        "changes what it releases by no more than ε and δ allow. A smaller ε promises more and learns less.",
        "Fidelity, use and leakage of releases against epsilon, with real training and guessing",
        [
            Block("What was found", points=summarise(records)),
            Block(
                "What was spent", rows=accounting_table(records), texts=0,
                note="Three independent accountants. Privacy loss distributions (PLD) give the number that is "
                "reported. PRV encloses it, RDP lies above.",
            ),
            Block(
                rows=mechanism_table(records), texts=2,
                note="σ is the noise over the clip, q the chance of a household to take part in a step. Noise comes "
                "from the operating system and cannot be drawn again. With noise=simulated it comes from a seed, on "
                "simulated data, and protects nobody.",
            ),
            Block(
                "Every number", rows=value_table(records),
                note='"No household seen" is the start of private training, fitted on simulated households or not at '
                'all: it needs no privacy, and can win. "No noise" is the same training without noise, "not private" '
                "the generator as it is otherwise fitted, on these households alone.",
            ),
            Block("Forecasters of households", rows=forecast_rows(records), texts=2),
        ],
        measured=[
            "Neighbours differ by one household with all its days, more or less. Households are drawn for each step by "
            "Poisson sampling.",
            "Better and no better are said of means; over several seeds, better only where every seed is better than "
            "every seed of the start. An attack tells households from others where its interval lies above 0.5.",
            "Forecasters: day-ahead forecasts of single households, trained privately, are summed up to the buses of "
            "the grid and priced there, for customers and weeks that nothing was trained on. A linear forecaster is "
            "private by noise on its sums, a network by DP-SGD. Each household counts once.",
        ],
        limits=[
            "The number of households, the names of segments and the first and last date count as public. Settings "
            "count as chosen without these households.",
        ],
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """One sentence each on what was promised, fidelity, each task, attacks and outliers; "no better" where it is so.

    Args:
        records: of `private_training`, any number of seeds.

    Raises:
        InputError: records of something else.
    """
    table = PrivateTable(records)
    sentences = [_promised(table)]
    sentences += [_fidelity(table, way) for way in table.private]
    sentences += [sentence for task in table.tasks for sentence in _used(table, task)]
    sentences += [_attacked(table, way) for way in table.ways if len(table.attacks(way))]
    return [sentence for sentence in (*sentences, *_outliers(table), *forecast_sentences(records)) if sentence]


def accounting_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per ε: N, δ, what three accountants say."""
    table = PrivateTable(records)
    rows = []
    for way in table.private:
        spent = table.spent(way)
        rows.append(
            {
                "ε asked for": f"{way.epsilon:g}",
                "households N": f"{spent['n_units']:.0f}",
                "δ": f"{spent['delta']:.2g}",
                "ε by PLD": f"{spent['epsilon_pld']:.4f}",
                "ε by PRV, from": f"{spent['epsilon_prv_low']:.4f}",
                "to": f"{spent['epsilon_prv_high']:.4f}",
                "ε by RDP": f"{spent['epsilon_rdp']:.4f}",
            }
        )
    return rows


def mechanism_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per ε and part: noise multiplier σ, sampling rate q, steps, clip, and what it spends by itself."""
    table = PrivateTable(records)
    return [
        {
            "ε asked for": f"{way.epsilon:g}",
            "part": str(part),
            "σ": f"{row['noise_multiplier']:.3f}",
            "q": f"{row['sampling_rate']:g}",
            "steps": f"{row['steps']:.0f}",
            "clip": f"{row['clip']:g}",
            "ε by itself": f"{row['epsilon_alone']:.4f}",
        }
        for way in table.private
        for part, row in table.mechanisms(way).iterrows()
    ]


def value_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per way to train: ratios of fidelity, classifier, tasks, and the strongest attack on households."""
    table = PrivateTable(records)
    rows = []
    for way in table.ways:
        row = {"trained": _said(way)}
        row |= {aspect: text(table.headline(way, aspect)) for aspect in ASPECTS}
        row["AUC against real days"] = text(table.discriminator(way))
        row |= {
            f"{task}: {TASKS[task][0]}".replace("_", " "): text(table.task(task, way), "short") for task in table.tasks
        }
        row["strongest attack"] = strongest(table.attacks(way))
        rows.append(row)
    return rows


def _said(way: Way) -> str:
    if way.method == "private":
        return f"ε = {way.epsilon:g}"
    return {"start": "no household seen", "without noise": "no noise", "not private": "not private"}[way.method]


def _promised(table: PrivateTable) -> str:
    if not table.private:
        return "Nothing was trained privately."
    kept = [way for way in table.private if table.spent(way)["epsilon_pld"] <= way.epsilon * (1 + 1e-9)]
    first = table.spent(table.private[0])
    whole = "Every promise is kept" if len(kept) == len(table.private) else "NOT every promise is kept"
    return (
        f"{whole} by the accountant that is reported (PLD, at most the ε asked for): one household more or less, of "
        f"{first['n_units']:.0f}, at δ = {first['delta']:.2g}, for everything that was learnt."
    )


def _fidelity(table: PrivateTable, way: Way) -> str:
    own, start = table.headline(way), table.headline(START)
    if own is None:
        return ""
    said = f"At {_said(way)}, distances to real households are {text(own)} times the floor on average"
    if start is None:
        return f"{said}."
    return (
        f"{said}: {_against_start(own, start, 'lower')} those of the start that has seen no household, {text(start)}."
    )


def _against_start(own: Spread, start: Spread, better: str) -> str:
    """Whether learning from households privately was worth it; over several seeds only where all agree."""
    sign = 1 if better == "lower" else -1
    gap = sorted(sign * (a - b) for a, b in ((own.low, start.high), (own.high, start.low)))
    once = " (one seed only)" if own.n == 1 else ""
    if gap[1] < 0:
        return f"better than{once}"
    return f"no better than{once}" if sign * (own.mean - start.mean) >= 0 else f"not clearly better than{once}"


def _used(table: PrivateTable, task: str) -> list[str]:
    _, title, better = TASKS[task]
    real, start = table.baselines(task)["real households"], table.task(task, START)
    sentences = [f"{capital(title)} ({better} is better): after training on real households {text(real, 'short')}."]
    for way in table.private:
        own = table.task(task, way)
        if own and start:
            against = f"{_against_start(own, start, better)} no household seen, {text(start, 'short')}"
            said = f"{_said(way)}: {text(own, 'short')}, {against}"
            times = f"; {own.mean / real.mean:.2f} times real households" if real else ""
            sentences.append(f"{said}{times}.")
    return [" ".join(sentences)]


def _attacked(table: PrivateTable, way: Way) -> str:
    attacks = table.attacks(way)
    found = {name: own for name, own in attacks.items() if own.low > 0.5}
    who = f"Trained with {_said(way)}" if way.method == "private" else capital(_said(way))
    if not found:
        none = "the attack tells no" if len(attacks) == 1 else f"none of {len(attacks)} attacks tells"
        return (
            f"{who}: {none} trained households from others better than guessing (highest AUC "
            f"{max(own.mean for own in attacks.values()):.3f}; intervals reach down to 0.5)."
        )
    named = ", ".join(f"{name.replace('_', ' ')} {own.text('.3f')}" for name, own in found.items())
    return f"{who}: trained households are told from others by {named}."


def _outliers(table: PrivateTable) -> list[str]:
    sentences = []
    for attack, own in table.outliers().groupby("attack", sort=False):
        by_method = {row["method"]: row for _, row in own.iterrows()}
        if not {"not private", "private"} <= set(by_method):
            continue
        before, after = by_method["not private"], by_method["private"]
        noiseless = by_method.get("without noise")
        found = "tells" if before["low"] > 0.5 else "does not tell"
        then = "still does" if after["low"] > 0.5 else "no longer does" if before["low"] > 0.5 else "does not either"
        same = f" The same training without noise: AUC {_interval(noiseless)}." if noiseless is not None else ""
        sentences.append(
            f"Outliers among few households: the attack {str(attack).replace('_', ' ')} {found} {before['n']:.0f} that "
            f"were overfit from others of their kind (AUC {_interval(before)}); after private training at ε = "
            f"{after['epsilon']:g} it {then} (AUC {_interval(after)}).{same}"
        )
    return sentences


def _interval(row: pd.Series) -> str:
    return f"{row['value']:.2f}, {row['low']:.2f} to {row['high']:.2f}"
