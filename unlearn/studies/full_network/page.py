"""The full-network study as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.full_network.verdict import NOTE, TITLE, conditions_table, sentences_of


def write_full_network_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page.

    Args:
        records: of the study.
        figure: its PNG file.
        path: where the page goes.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        title=TITLE,
        note=NOTE,
        source=records["data"].iloc[0],
        sentences=sentences_of(records),
        rows=conditions_table(records),
        png=embedded(figure),
    )
