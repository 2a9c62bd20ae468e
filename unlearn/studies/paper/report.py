"""The paper's figures and its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from unlearn.reporting.comparison import compare
from unlearn.reporting.figure import (
    draw_completeness,
    draw_derivative,
    draw_distance,
    draw_sensitivity,
    draw_tradeoff,
    new_figure,
    save_figure,
)
from unlearn.reporting.labels import FORECASTER_NAMES, protocols_of
from unlearn.reporting.page import embedded, write_page
from unlearn.studies.paper.spread import count_claims, is_spread, summarise_spread
from unlearn.studies.paper.verdict import Claim, check_claims, compare_gradients, summarise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Number of the paper's figure per network.
NETWORK_FIGURES = {"cnn": 8, "mixer": 9}


def paper_figures(records: pd.DataFrame, samples: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """Draw every figure that the records allow.

    Args:
        records: rows of the experiments completeness, tradeoff and sensitivity.
        samples: influences per sample, with columns forecaster and protocol.

    Yields:
        Name of the file ("fig4_published"), caption, and figure.
    """
    for protocol in protocols_of(records):
        for forecaster in FORECASTER_NAMES:
            own = records[(records["protocol"] == protocol) & (records["forecaster"] == forecaster)]
            points = samples[(samples["protocol"] == protocol) & (samples["forecaster"] == forecaster)]
            if own.empty:
                continue
            if forecaster == "linear":
                yield from _linear_figures(own, points, protocol)
            else:
                yield _network_figure(own, points, protocol, forecaster)
        if (records.loc[records["protocol"] == protocol, "experiment"] == "derivative").any():
            yield _derivative_figure(records[records["protocol"] == protocol], protocol)


def save_all(records: pd.DataFrame, samples: pd.DataFrame, folder: Path) -> list[tuple[str, str, Path]]:
    """Draw and save all figures as PNG and PDF; return name, caption and PNG of each."""
    saved = []
    for name, caption, figure in paper_figures(records, samples):
        png, _ = save_figure(figure, folder / name, records)
        saved.append((name, caption, png))
    return saved


def _linear_figures(records: pd.DataFrame, samples: pd.DataFrame, protocol: str) -> Iterator[tuple[str, str, Figure]]:
    share = _share(records)
    figure, axes = new_figure(1, 3, f"Complete unlearning, linear forecaster ({protocol} protocol)")
    draw_completeness(axes[0], records)
    yield f"fig4_{protocol}", "Fig 4. Criteria on the remain, unlearn and test rows as more is forgotten.", figure
    figure, axes = new_figure(1, 3, f"Influence of remaining samples, linear forecaster ({protocol} protocol)")
    draw_sensitivity(axes[0], records, samples)
    yield f"fig5_{protocol}", "Fig 5. Influence of each remaining sample on pairs of criteria.", figure
    figure, axes = new_figure(1, 3, f"PAMU and TAMU, linear forecaster, {share} forgotten ({protocol} protocol)")
    draw_tradeoff(axes[0], records)
    yield f"fig6_{protocol}", "Fig 6. Test criteria as remaining samples may be re-weighted.", figure
    figure, axes = new_figure(1, 1, f"Completeness against cost ({protocol})")
    draw_distance(axes[0][0], records)
    yield f"fig7_{protocol}", "Fig 7. TAMU's distance to the retrained model against operating cost.", figure


def _network_figure(
    records: pd.DataFrame, samples: pd.DataFrame, protocol: str, forecaster: str
) -> tuple[str, str, Figure]:
    name = FORECASTER_NAMES[forecaster]
    figure, axes = new_figure(3, 3, f"{name} forecaster, {_share(records)} forgotten below ({protocol} protocol)")
    draw_completeness(axes[0], records)
    draw_sensitivity(axes[1], records, samples)
    draw_tradeoff(axes[2], records)
    number = NETWORK_FIGURES[forecaster]
    caption = f"Fig {number}. {name}: complete unlearning, sensitivity, PAMU and TAMU."
    return f"fig{number}_{protocol}", caption, figure


def _derivative_figure(records: pd.DataFrame, protocol: str) -> tuple[str, str, Figure]:
    kinds = [kind for kind in FORECASTER_NAMES if kind in set(records["forecaster"])]
    figure, axes = new_figure(1, len(kinds), f"TAMU by two gradients ({protocol})")
    for axis, kind in zip(axes[0], kinds, strict=True):
        draw_derivative(axis, records[records["forecaster"] == kind])
        axis.set_title(FORECASTER_NAMES[kind])
    axes[0][-1].legend(title="gradient", loc="upper left", bbox_to_anchor=(1.02, 1.0))
    caption = "TAMU by the exact gradient and by cvxpylayers' default derivative in the angle form, as published."
    return f"derivative_{protocol}", caption, figure


def _share(records: pd.DataFrame) -> str:
    share = records.loc[records["experiment"] == "tradeoff", "proportion"].dropna()
    return f"{100 * float(share.iloc[0]):.0f} %" if len(share) else ""


_PROTOCOLS = {
    "published": "Gradient and selection on the same test rows that are reported, loads scaled over the whole year. "
    "For comparison with the paper; it flatters every method.",
    "fair": "Gradient and selection on a validation slice, the test rows untouched, loads scaled over training rows.",
}


def write_report(
    records: pd.DataFrame,
    figures: Sequence[tuple[str, str, Path]],
    published: Mapping[str, Any],
    card: Mapping[str, Any],
    deviations: Sequence[str],
    path: Path,
) -> Path:
    """Write the page.

    Args:
        records: rows of all experiments.
        figures: name, caption and PNG file of each figure; the name ends with its protocol.
        published: published numbers.
        card: configuration, versions, wall times (`seconds`, `stages`).
        deviations: what differs from the paper and why, a sentence or two each.
        path: where the page goes.
    """
    share = float(card["config"]["unlearning"]["share"])
    spread = is_spread(records)
    sections = []
    for protocol in protocols_of(records):
        own = records[records["protocol"] == protocol]
        drawn = [(name, caption, png) for name, caption, png in figures if name.endswith(f"_{protocol}")]
        section = {
            "protocol": protocol,
            "about": _PROTOCOLS[protocol],
            "summary": summarise_spread(own) if spread else _summary(own),
            "claims": count_claims(own) if spread else _claims(own),
            "figures": [{"caption": caption, "name": name, "png": embedded(png)} for name, caption, png in drawn],
        }
        sections.append(section)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        sections=sections,
        comparison=None if spread else _rows(compare(records, published, share)),
        stages=_stage_table(card["stages"]),
        source=published["source"],
        deviations=deviations,
        card=card,
        config=yaml.safe_dump(card["config"], sort_keys=False, allow_unicode=True),
    )


def _summary(records: pd.DataFrame) -> list[str]:
    return [*(summarise(own) for own in _by_forecaster(records)), *compare_gradients(records)]


def _claims(records: pd.DataFrame) -> list[Claim]:
    return [claim for own in _by_forecaster(records) for claim in check_claims(own)]


def _stage_table(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds of each stage by protocol and forecaster, summed over seeds and years, with totals."""
    if not stages:
        return {"columns": [], "rows": []}
    frame = pd.DataFrame(list(stages))
    table = frame.pivot_table(
        index=["protocol", "forecaster"],
        columns="stage",
        values="seconds",
        aggfunc="sum",
        margins=True,
        margins_name="all",
        sort=False,
    )
    rows = [[*names, *(f"{value:.1f}" if pd.notna(value) else "–" for value in row)] for names, row in _rows_of(table)]
    return {"columns": ["protocol", "forecaster", *table.columns], "rows": rows}


def _rows_of(table: pd.DataFrame) -> list[tuple[tuple[str, ...], list[float]]]:
    return [(names, row.tolist()) for names, row in zip(table.index, table.to_numpy(), strict=True)]


def _by_forecaster(records: pd.DataFrame) -> list[pd.DataFrame]:
    kinds = [kind for kind in FORECASTER_NAMES if kind in set(records["forecaster"])]
    return [records[records["forecaster"] == kind] for kind in kinds]


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    text = table.copy()
    for column in text.columns[2:]:
        text[column] = [f"{value:.4g}" if pd.notna(value) else "–" for value in table[column]]
    text["forecaster"] = [FORECASTER_NAMES[kind] for kind in text["forecaster"]]
    return {"columns": list(text.columns), "rows": text.to_numpy().tolist()}
