"""The same experiments over several seeds and years: bands on every curve, and how often a claim holds.

Years differ in level far more than methods do, so every curve is shown relative to the original model of its
own run. The line is the mean over runs, the band reaches from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from unlearn.reporting.figure import CRITERIA, CRITERION_COLOURS, SPLIT_COLOURS, new_figure, save_figure, styled
from unlearn.reporting.labels import CRITERION_NAMES, FORECASTER_NAMES, METRIC_LABELS
from unlearn.studies.paper.verdict import Claim, check_claims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What tells one run from another.
RUN = ["data", "seed"]


def is_spread(records: pd.DataFrame) -> bool:
    """True if the records hold more than one run of the same forecaster and protocol."""
    return len(records.reindex(columns=RUN).drop_duplicates()) > 1


def save_spread(records: pd.DataFrame, folder: Path) -> list[tuple[str, str, Path]]:
    """Draw and save a figure per forecaster and protocol; return name, caption and PNG of each."""
    saved = []
    for name, caption, figure in spread_figures(records):
        png, _ = save_figure(figure, folder / name, records)
        saved.append((name, caption, png))
    return saved


def spread_figures(records: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """Complete unlearning above, trade-off below, for every forecaster and protocol of the records."""
    for (protocol, forecaster), own in records.groupby(["protocol", "forecaster"], sort=False):
        name = FORECASTER_NAMES[str(forecaster)]
        runs = _runs(own)
        figure, axes = new_figure(2, 3, f"{name} forecaster over {runs} ({protocol} protocol)")
        _draw_completeness(axes[0], own)
        _draw_tradeoff(axes[1], own)
        caption = (
            f"{name}: criteria after complete unlearning (above) and with PAMU and TAMU (below), relative to the "
            f"original model of the same run; mean and range of {runs}."
        )
        yield f"spread_{forecaster}_{protocol}", caption, figure


def count_claims(records: pd.DataFrame) -> list[Claim]:
    """Check every claim in every run; it holds if it does in all, and the figures say in how many."""
    held: dict[str, list[bool]] = {}
    for _, forecaster in records.groupby("forecaster", sort=False):
        for _, run in forecaster.groupby(RUN):
            for claim in check_claims(run):
                held.setdefault(claim.sentence, []).append(claim.holds)
    return [
        Claim(sentence, all(verdicts), f"in {sum(verdicts)} of {len(verdicts)} runs")
        for sentence, verdicts in held.items()
    ]


def summarise_spread(records: pd.DataFrame) -> list[str]:
    """Say for each forecaster how far forgetting moved the cost, and TAMU after it, over the runs."""
    sentences = []
    for forecaster, own in records[records["experiment"] == "tradeoff"].groupby("forecaster", sort=False):
        cost = own[own["metric"] == "cost"]
        level = cost[cost["method"] != "reweighted"].set_index([*RUN, "method"])["value"].unstack("method")
        tamu = cost[cost["criterion"] == "cost"]
        end = tamu[tamu["l1_budget"] == tamu["l1_budget"].max()].set_index(RUN)["value"]
        complete, balanced = level["retrained"] / level["original"], end / level["original"]
        sentences.append(
            f"{FORECASTER_NAMES[str(forecaster)]}: complete unlearning moves the operating cost on the test hours to "
            f"{_range(complete)} of the original model's; TAMU at λ₁ = {tamu['l1_budget'].max():g} to "
            f"{_range(balanced)}. TAMU is below complete unlearning in {int((balanced < complete).sum())} of "
            f"{len(complete)} runs."
        )
    return sentences


@styled
def _draw_completeness(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    chosen = records[records["experiment"] == "completeness"]
    for axis, metric in zip(axes, CRITERIA, strict=True):
        here = chosen[chosen["metric"] == metric].set_index([*RUN, "split", "proportion", "method"])["value"]
        both = here.unstack("method")
        ratio = (both["unlearnt"] / both["original"]).dropna()
        for split, colour in SPLIT_COLOURS.items():
            curves = pd.DataFrame(100 * ratio.xs(split, level="split").unstack("proportion"))
            _band(axis, curves, colour, split, 100)
        axis.set(xlabel="share unlearnt [%]", ylabel=_label(metric))
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), title="unlearnt")


@styled
def _draw_tradeoff(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    chosen = records[(records["experiment"] == "tradeoff") & (records["split"] == "test")]
    for axis, metric in zip(axes, CRITERIA, strict=True):
        here = chosen[chosen["metric"] == metric]
        original = here[here["method"] == "original"].set_index(RUN)["value"]
        for criterion, colour in CRITERION_COLOURS.items():
            curves = here[here["criterion"] == criterion].set_index([*RUN, "l1_budget"])["value"].unstack("l1_budget")
            name = f"{'TAMU' if criterion == 'cost' else 'PAMU'} ({CRITERION_NAMES[criterion]})"
            _band(axis, 100 * curves.div(original, axis=0), colour, name)
        axis.set(xlabel="$\\lambda_1$", ylabel=_label(metric))
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))


def _band(axis: Axes, curves: pd.DataFrame, colour: str, label: str, scale: float = 1.0) -> None:
    """Mean and range of curves (runs, points)."""
    at = scale * np.asarray(curves.columns, dtype=float)
    axis.plot(at, curves.mean(axis=0), "o-", color=colour, label=label, markersize=3)
    axis.fill_between(at, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axis.axhline(100, linestyle=":", color="0.35", linewidth=1)


def _label(metric: str) -> str:
    return f"{METRIC_LABELS[metric].split(' [')[0]} [% of original]"


def _runs(records: pd.DataFrame) -> str:
    years, seeds = records["data"].nunique(), records["seed"].nunique()
    return f"{years} {'years' if years > 1 else 'year'} and {seeds} {'seeds' if seeds > 1 else 'seed'}"


def _range(ratio: pd.Series) -> str:
    return f"{100 * ratio.median():.0f} % in the median ({100 * ratio.min():.0f} to {100 * ratio.max():.0f} %)"
