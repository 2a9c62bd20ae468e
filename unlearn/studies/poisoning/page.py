"""Poisoned training data as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.poisoning.table import PoisoningTable
from unlearn.studies.poisoning.verdict import cost_table, detection_table, summarise_poisoning, verdicts

ANSWERS = {"yes": "Yes", "no": "No", "unclear": "Unclear", "harmless": "Nothing to recover"}


def write_poisoning_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: what was poisoned, whether it was found, what unlearning recovers, and what is not claimed.

    Args:
        records: of `PoisonedStudy` over attacks, shares and seeds.
        figure: PNG file of `save_poisoning`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    table = PoisoningTable(records)
    lead, *sentences = summarise_poisoning(records)
    costs = cost_table(table)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        about=lead,
        grid=str(table.about["grid"]),
        share=f"{100 * table.share:g} %",
        verdicts=verdicts(table),
        answers=ANSWERS,
        sentences=sentences,
        network=str(table.about["forecaster"]) != "linear",
        costs=[row for row in costs if row["share"] == f"{100 * table.share:g} %"],
        all_costs=costs,
        detections=detection_table(table),
        png=embedded(figure),
    )
