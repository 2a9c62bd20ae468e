"""One self-contained HTML page: figures, claims, numbers beside the published ones, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from unlearn.reporting.comparison import compare
from unlearn.reporting.labels import FORECASTER_NAMES, protocols_of
from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.paper.spread import count_claims, is_spread, summarise_spread
from unlearn.studies.paper.verdict import Claim, check_claims, compare_gradients, summarise

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
