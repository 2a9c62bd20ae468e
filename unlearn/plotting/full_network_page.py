"""The full-network study as one self-contained HTML page."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2
import pandas as pd

from unlearn.plotting.full_network_text import NOTE, TITLE, conditions_table, sentences_of
from unlearn.records import write_atomically


def write_full_network_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page.

    Args:
        records: of the study.
        figure: its PNG file.
        path: where the page goes.
    """
    template = jinja2.Template(
        Path(__file__).with_name("full_network.html").read_text(encoding="utf-8"), autoescape=True, trim_blocks=True
    )
    page = template.render(
        title=TITLE,
        note=NOTE,
        source=records["data"].iloc[0],
        n_records=len(records),
        sentences=sentences_of(records),
        rows=conditions_table(records),
        png=base64.b64encode(figure.read_bytes()).decode(),
    )
    return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))
