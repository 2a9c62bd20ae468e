"""Utility of released daily profiles as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.utility.seeds import UtilityTable
from unlearn.studies.utility.text import ANSWERS, summarise_utility, utility_table, verdict_text
from unlearn.studies.utility.verdict import COST_LIMIT, verdicts


def write_utility_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: the answer, sentences, figure, every number, and what was trained on what.

    Args:
        records: of `measure_utility`, any number of seeds.
        figure: PNG file of `save_utility`.
        path: where the page goes.

    Raises:
        InputError: records without utility, or numbers that occur twice for a seed.
    """
    table = UtilityTable(records)
    answered = verdicts(table)
    about, *sentences = summarise_utility(records)
    said = set(map(verdict_text, answered))
    grids = [str(name) for name in records["grid"].dropna().unique()]
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        grid=", ".join(grids),
        about=about,
        tasks=table.tasks,
        verdicts=answered,
        answers=ANSWERS,
        limit=COST_LIMIT,
        sentences=[sentence for sentence in sentences if sentence not in said],
        rows=utility_table(records),
        parts=utility_table(records, main=False),
        png=embedded(figure),
    )
