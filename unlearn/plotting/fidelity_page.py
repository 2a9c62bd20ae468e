"""Fidelity of released meter data as one self-contained HTML page."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2
import pandas as pd

from unlearn.plotting.fidelity_text import distance_table, headline_table, summarise_fidelity
from unlearn.records import write_atomically


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
    template = jinja2.Template(
        Path(__file__).with_name("fidelity.html").read_text(encoding="utf-8"), autoescape=True, trim_blocks=True
    )
    page = template.render(
        source=records["data"].iloc[0],
        n_records=len(records),
        about=about,
        sentences=sentences,
        headlines=headline_table(records),
        distances=distance_table(records, inside=False),
        inside=distance_table(records, inside=True),
        png=base64.b64encode(figure.read_bytes()).decode(),
    )
    return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))
