"""Self-contained HTML pages: one template, filled with what a study's verdict says."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.checks import require_package
from unlearn.reporting.style import NOT_A_RESULT, is_tiny
from unlearn.reporting.verdict import NO, UNCLEAR, YES, Page
from unlearn.store import write

require_package("unlearn.reporting", "jinja2", '"unlearn[experiments]"')

import jinja2

#: What a page of numbers that were measured on real data says.
FOR_THE_OWNER = (
    "Internal: this page and its records compare with real data, without noise. Their folder is for the owner of that "
    "data only, and goes with no release."
)


def page_writer(contents: Callable[..., Page], inserted: Path | None = None) -> Callable[..., Path]:
    """Make a study's `write_page(records, png, path, *more)`; more goes to `contents`, as the records do.

    Args:
        contents: makes the page's contents.
        inserted: template of a part of its own above the figure, which knows the contents as `page`.
    """

    def write_page(records: pd.DataFrame, png: Path, path: Path, *more: Any) -> Path:
        """Write the page of some records and their figure, all or nothing; refuse records of something else."""
        return fill(contents(records, *more), records, png, path, inserted)

    return write_page


def fill(page: Page, records: pd.DataFrame, png: Path | None, path: Path, inserted: Path | None = None) -> Path:
    """Fill the template and write it, all or nothing.

    Args:
        page: its contents.
        records: what the page shows; if they are no result, it says so above all else.
        png: the figure's file.
        path: where the page goes.
        inserted: template of a part of its own above the figure.
    """
    folders = [Path(__file__).parent, *([inserted.parent] if inserted else [])]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    filled = environment.get_template("page.html").render(
        page=page,
        n_records=f"{len(records):,}",
        png=embedded(png) if png else "",
        embedded=embedded,
        inserted=inserted.name if inserted else "",
        looks={YES: "bad" if page.alarm else "good", NO: "good" if page.alarm else "bad", UNCLEAR: "open"},
        not_a_result=NOT_A_RESULT if is_tiny(records) else "",
        for_the_owner=FOR_THE_OWNER if page.internal else "",
    )
    write(path, filled.encode())
    return Path(path)


def embedded(figure: Any) -> str:
    """A figure, or the bytes of its file, as they stand in a page."""
    if isinstance(figure, Path):
        return base64.b64encode(figure.read_bytes()).decode()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
