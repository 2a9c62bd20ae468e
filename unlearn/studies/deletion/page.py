"""An audited deletion as one self-contained HTML page: evidence for a privacy officer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.deletion.table import DeletionTable
from unlearn.studies.deletion.verdict import ANSWERS, answer_list, attack_table, model_table, summarise_deletion


def write_deletion_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: the answer for each model, the test, figure, numbers, and what is not claimed.

    Args:
        records: of `Audit`, one deletion.
        figure: PNG file of `save_deletion`.
        path: where the page goes.

    Raises:
        InputError: records of something else, or of several deletions.
    """
    table = DeletionTable(records)
    lead, *sentences = summarise_deletion(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        grid=str(records["grid"].iloc[0]),
        about=lead,
        verdicts=answer_list(table),
        answers=ANSWERS,
        sentences=sentences,
        network=str(table.about["forecaster"]) != "linear",
        models=model_table(table),
        attacks=attack_table(table),
        png=embedded(figure),
    )
