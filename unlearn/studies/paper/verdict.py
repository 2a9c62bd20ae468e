"""What the records say about the paper's claims: sentences with a verdict each, and the published numbers beside ours.

Records may hold several seeds and years. Years differ in level far more than methods do, so what is said of several
runs is relative to the original model of the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from unlearn.reporting.style import CRITERIA, CRITERION_NAMES, FORECASTER_NAMES, protocols_of
from unlearn.reporting.verdict import NO, YES, Block, Page, agreed, counted, select, write

#: What tells one run from another.
RUN = ["data", "seed"]
PROTOCOL_NOTES = {
    "published": "Gradient and selection use the test rows that are reported. Loads are scaled over the whole year. "
    "This compares with the paper, and flatters every method.",
    "fair": "Gradient and selection use a validation slice. The test rows are untouched. Loads are scaled over "
    "training rows.",
}


@dataclass(frozen=True)
class Claim:
    """A sentence, whether the records support it, and the figures behind it."""

    sentence: str
    holds: bool
    figures: str


def page(
    records: pd.DataFrame,
    figures: Sequence[tuple[str, str, Path]],
    published: Mapping[str, Any],
    card: Mapping[str, Any],
    deviations: Sequence[str],
    more: Sequence[Block] = (),
) -> Page:
    """The page's contents.

    Args:
        records: rows of all experiments.
        figures: name, caption and PNG file of each figure; the name ends with its protocol.
        published: published numbers.
        card: configuration, versions, wall times (`seconds`, `stages`).
        deviations: what differs from the paper and why, a sentence or two each.
        more: what the page ends with, such as another study in short.
    """
    config = card["config"]
    won = {protocol: list(_won(select(records, protocol=protocol))) for protocol in protocols_of(records)}
    told = "; ".join(f"{protocol} protocol: {sum(held)} of {len(held)}" for protocol, held in won.items())
    hours = config["evaluation"]["hours"]
    priced = f"a sample of {hours} evenly spaced hours per split, the same for all methods" if hours else "every hour"
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    sections: list[Block] = []
    for protocol in protocols_of(records):
        own = select(records, protocol=protocol)
        claims = [_row(claim) for claim in (count_claims(own) if is_spread(own) else _each_claim(own))]
        sections += [
            Block(f"{protocol.capitalize()} protocol", PROTOCOL_NOTES[protocol], summarise(own)),
            Block(rows=claims, texts=3),
            Block(figures=[(caption, png) for name, caption, png in figures if name.endswith(f"_{protocol}")]),
        ]
    share = float(config["paper"]["share"])
    return Page(
        "What does it cost the grid to forget customers' data, and does TAMU win it back?",
        agreed(held for of in won.values() for held in of),
        "with the largest λ₁, TAMU operates the grid at less cost than complete unlearning. This holds in so many "
        f"forecasters and runs: {told}.",
        f"{config['data']['source']} loads on {config['grid']['case']}. Written {card['written_utc']}, after "
        f"{card['seconds']:.0f} s.",
        blocks=[
            *sections,
            *(() if is_spread(records) else _beside(records, published, share)),
            Block(
                "Where time went", rows=_stage_table(card["stages"]), texts=2,
                note=f"Seconds of each stage, {config['paper']['jobs']} jobs at a time. This run took "
                f"{card['seconds']:.0f} s of wall time; stages that earlier runs had finished are not counted.",
            ),
            Block(
                "Settings and versions", code=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
                lead=f"Python {card['python']} on {card['platform']}, {card['cpu_count']} cores; {versions}. Source "
                f"{card['source']}, configuration {card['config_hash']}.",
            ),
            *more,
        ],
        measured=[f"Priced hours: {priced}."],
        limits=[f"What differs from the paper: {deviation}" for deviation in deviations],
    )  # fmt: skip


def is_spread(records: pd.DataFrame) -> bool:
    """True if the records hold more than one run of the same forecaster and protocol."""
    return len(records.reindex(columns=RUN).drop_duplicates()) > 1


def runs_of(records: pd.DataFrame) -> str:
    """How many years and seeds the records hold."""
    return f"{counted(records['data'].nunique(), 'year')} and {counted(records['seed'].nunique(), 'seed')}"


def summarise(records: pd.DataFrame) -> list[str]:
    """Say for each forecaster and protocol what forgetting cost, and what TAMU brought back."""
    groups = [own for _, own in records.groupby(["protocol", "forecaster"], sort=False)]
    if is_spread(records):
        return [_of_runs(own) for own in groups]
    return [*(_of_run(own) for own in groups), *compare_gradients(records)]


def _of_run(records: pd.DataFrame) -> str:
    cost = select(records, experiment="tradeoff", metric="cost")
    level = cost.set_index("method")["value"]
    tamu = select(cost, criterion="cost").sort_values("l1_budget").iloc[-1]
    return (
        f"{FORECASTER_NAMES[str(tamu['forecaster'])]}: complete forgetting of {100 * tamu['proportion']:.0f} % of the "
        f"training hours moves the operating cost on the test hours from {level['original']:,.0f} to "
        f"{level['retrained']:,.0f} an hour; with TAMU at λ₁ = {tamu['l1_budget']:g} it is {tamu['value']:,.0f}."
    )


def _of_runs(records: pd.DataFrame) -> str:
    level, end, budget = _ends(records)
    complete, balanced = level["retrained"] / level["original"], end / level["original"]
    told = [
        f"{100 * own.median():.0f} % in the median ({100 * own.min():.0f} to {100 * own.max():.0f} %)"
        for own in (complete, balanced)
    ]
    return (
        f"{FORECASTER_NAMES[str(records['forecaster'].iloc[0])]}: complete unlearning moves the operating cost on the "
        f"test hours to {told[0]} of the original model's; TAMU at λ₁ = {budget:g} to {told[1]}. TAMU is below "
        f"complete unlearning in {int((balanced < complete).sum())} of {len(complete)} runs."
    )


def _ends(records: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, float]:
    """Cost of each run's original and retrained model, that of TAMU at the largest λ₁, and that λ₁."""
    own = records.reindex(columns=list(dict.fromkeys([*records.columns, *RUN]))).fillna(dict.fromkeys(RUN, 0))
    cost = select(own, experiment="tradeoff", metric="cost", split="test")
    level = select(cost, method=["original", "retrained"]).set_index([*RUN, "method"])["value"].unstack("method")
    tamu = select(cost, criterion="cost")
    budget = float(tamu["l1_budget"].max())
    # Runs stand in the order of their folders' names, which are hashes.
    return level, select(tamu, l1_budget=budget).set_index(RUN)["value"].reindex(level.index), budget


def _won(records: pd.DataFrame) -> Iterator[bool]:
    """Of each forecaster and run whether TAMU ends below complete unlearning."""
    for _, own in records.groupby("forecaster", sort=False):
        level, end, _ = _ends(own)
        yield from (end < level["retrained"]).tolist()


def compare_gradients(records: pd.DataFrame) -> list[str]:
    """Say for each forecaster where TAMU ends with the exact gradient and with the published code's."""
    sentences = []
    for forecaster, own in records.groupby("forecaster"):
        ends = select(own, criterion="cost", metric="cost").sort_values("l1_budget")
        last = {experiment: rows.iloc[-1] for experiment, rows in ends.groupby("experiment")}
        if "derivative" in last:
            gap, cosine = (select(own, metric=f"gradient_{m}")["value"].iloc[0] for m in ("difference", "cosine"))
            sentences.append(
                f"{FORECASTER_NAMES[str(forecaster)]}: with cvxpylayers' default derivative, as published, the "
                f"gradient of the cost in the parameters is off by {100 * gap:.0f} % (cosine {cosine:.3f}) and TAMU "
                f"ends at {last['derivative']['value']:,.0f} an hour at λ₁ = {last['tradeoff']['l1_budget']:g}; with "
                f"the exact one at {last['tradeoff']['value']:,.0f}."
            )
    return sentences


def check_claims(records: pd.DataFrame) -> list[Claim]:
    """Check the records of one forecaster, protocol and run (experiments completeness and tradeoff)."""
    tradeoff = select(records, experiment="tradeoff")
    curves = {
        (criterion, metric): select(tradeoff, criterion=criterion, metric=metric)
        .sort_values("l1_budget")["value"]
        .to_numpy()
        for criterion in CRITERIA
        for metric in CRITERIA
    }
    level = select(tradeoff, method=["original", "retrained"]).set_index(["method", "metric"])["value"]
    name = FORECASTER_NAMES[str(records["forecaster"].iloc[0])]
    exact = select(records, metric="distance_to_retrained", method="unlearn_gradient")
    worst = float(exact["value"].max())
    claims = [
        Claim(
            f"{name}: complete unlearning equals retraining (relative parameter difference at most 1e-8).",
            worst <= 1e-8,
            f"worst {worst:.1e} over shares {100 * exact['proportion'].min():.0f} to "
            f"{100 * exact['proportion'].max():.0f} %",
        )
    ]
    if tradeoff["l1_budget"].min() == 0:
        gap = max(abs(curve[0] / level["retrained", metric] - 1) for (_, metric), curve in curves.items())
        said = "at λ₁ = 0 every curve starts at the complete-unlearning value (relative gap at most 1e-6)."
        claims.append(Claim(f"{name}: {said}", gap <= 1e-6, f"largest relative gap {gap:.1e}"))
    if tradeoff["l1_budget"].nunique() > 1:
        claims += [_monotone(curves[criterion, criterion], criterion, name) for criterion in CRITERIA]
    ends = {criterion: float(curves[criterion, "cost"][-1]) for criterion in CRITERIA}
    listed = ", ".join(f"{CRITERION_NAMES[criterion]} {value:.0f}" for criterion, value in ends.items())
    lowest = Claim(
        f"{name}: at the largest λ₁, TAMU reaches the lowest operating cost of the three.",
        ends["cost"] == min(ends.values()),
        f"balanced for {listed}; original {level['original', 'cost']:.0f}, complete {level['retrained', 'cost']:.0f}",
    )
    return [*claims, lowest]


def _monotone(curve: np.ndarray, criterion: str, name: str) -> Claim:
    rises = np.diff(curve) / curve[0]
    return Claim(
        f"{name}: {CRITERION_NAMES[criterion]} falls monotonically as λ₁ grows when it is what is balanced.",
        bool((rises < 0).all()),
        f"{curve[0]:.4g} → {curve[-1]:.4g}; largest step up {max(0.0, 100 * rises.max()):.2g} %",
    )


def count_claims(records: pd.DataFrame) -> list[Claim]:
    """Check every claim in every run; it holds if it does in all, and the figures say in how many."""
    held: dict[str, list[bool]] = {}
    for _, run in records.groupby(["forecaster", *RUN], sort=False):
        for claim in check_claims(run):
            held.setdefault(claim.sentence, []).append(claim.holds)
    return [Claim(sentence, all(own), f"in {sum(own)} of {len(own)} runs") for sentence, own in held.items()]


def _each_claim(records: pd.DataFrame) -> list[Claim]:
    return [claim for _, own in records.groupby("forecaster", sort=False) for claim in check_claims(own)]


def _row(claim: Claim) -> dict[str, str]:
    return {"claim": claim.sentence, "holds": YES if claim.holds else NO, "figures": claim.figures}


def compare(records: pd.DataFrame, published: Mapping[str, Any], share: float) -> pd.DataFrame:
    """Put each forecaster's key quantities beside the published ones.

    Args:
        records: rows of the experiments, any protocols.
        published: published numbers by forecaster, as in `experiments/published.json`.
        share: share forgotten in the trade-off.

    Returns:
        Columns forecaster, quantity, published, and one per protocol.
    """
    rows = []
    for forecaster, numbers in published["forecasters"].items():
        columns = {"published": _published(numbers)}
        for protocol in protocols_of(records):
            own = select(records, forecaster=forecaster, protocol=protocol)
            columns[f"here, {protocol} protocol"] = {} if own.empty else _measured(own)
        for quantity in columns["published"]:
            values = {column: found.get(quantity) for column, found in columns.items()}
            rows.append({"forecaster": forecaster, "quantity": quantity, **values})
    return pd.DataFrame(rows)


def _published(numbers: Mapping[str, Any]) -> dict[str, float]:
    curves = numbers.get("tradeoff", {}).get("cost", {})
    ratios = {criterion: curve[-1] / curve[0] for criterion, curve in curves.items()}
    return _quantities(numbers["original"], numbers["unlearnt"], ratios, numbers["pearson"])


def _measured(records: pd.DataFrame) -> dict[str, float]:
    test = select(records, experiment="tradeoff", split="test")
    original, complete = (
        {str(row["metric"]): float(row["value"]) for _, row in select(test, method=method).iterrows()}
        for method in ("original", "retrained")
    )
    curves = select(test, criterion=CRITERIA, metric="cost").sort_values("l1_budget").groupby("criterion")["value"]
    ratios = {str(criterion): float(value) / complete["cost"] for criterion, value in curves.last().items()}
    drawn = select(records, experiment="sensitivity", split="drawn")
    drawn = drawn[drawn["metric"].str.startswith("pearson_")]
    pearson = dict(zip(drawn["metric"].str.removeprefix("pearson_"), drawn["value"], strict=True))
    return _quantities(original, complete, ratios, pearson)


def _quantities(
    original: Mapping[str, float],
    complete: Mapping[str, float],
    ends: Mapping[str, float],
    pearson: Mapping[str, float],
) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in CRITERIA:
        before, after = float(original[metric]), float(complete[metric])
        found |= {f"{metric} original": before, f"{metric} complete unlearning": after}
        found[f"{metric} complete / original"] = after / before
    for criterion in (own for own in CRITERIA if own in ends):
        found[f"cost balanced for {criterion}, largest λ₁ / complete"] = float(ends[criterion])
    return found | {f"Pearson {pair.replace('_', '–')}": float(value) for pair, value in pearson.items()}


def _beside(records: pd.DataFrame, published: Mapping[str, Any], share: float) -> Iterator[Block]:
    yield Block("Published numbers", published["source"], rows=_comparison(compare(records, published, share)), texts=2)


def _comparison(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"forecaster": FORECASTER_NAMES[row["forecaster"]], "quantity": row["quantity"]}
        | {str(column): write(row[column], ".4g") for column in table.columns[2:]}
        for _, row in table.iterrows()
    ]


def _stage_table(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Seconds of each stage by protocol and forecaster, summed over seeds and years, with totals."""
    if not stages:
        return []
    table = pd.DataFrame(list(stages)).pivot_table(
        "seconds", ["protocol", "forecaster"], "stage", "sum", margins=True, margins_name="all", sort=False
    )
    return [
        dict(zip(("protocol", "forecaster"), names, strict=True))
        | {str(stage): write(value, ".1f") for stage, value in zip(table, row, strict=True)}
        for names, row in zip(table.index, table.to_numpy(), strict=True)
    ]
