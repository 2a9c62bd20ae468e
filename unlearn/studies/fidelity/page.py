"""Fidelity of released meter data as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.fidelity.verdict import distance_table, headline_table, summarise_fidelity


def write_fidelity_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, ratios and every distance.

    Args:
        records: of `compare_fidelity`.
        figure: PNG file of `save_fidelity`.
        path: where the page goes.

    Raises:
        InputError: records without fidelity.
    """
    about, *sentences = summarise_fidelity(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        about=about,
        sentences=sentences,
        headlines=headline_table(records),
        distances=distance_table(records, inside=False),
        inside=distance_table(records, inside=True),
        png=embedded(figure),
    )
