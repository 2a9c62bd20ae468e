"""Self-contained HTML pages: one look, one way to fill templates and to embed figures."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from unlearn.checks import require_package
from unlearn.reporting.labels import NOT_A_RESULT, is_tiny
from unlearn.store import write

require_package("unlearn.reporting", "jinja2", '"unlearn[experiments]"')

import jinja2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a page of numbers that were measured on real data says.
FOR_THE_OWNER = (
    "Internal: this page and its records compare with real data, without noise. Their folder is for the owner of that "
    "data only, and goes with no release."
)


def write_page(template: Path, path: Path, records: pd.DataFrame, internal: bool = False, **content: Any) -> Path:
    """Fill a template and write it, all or nothing.

    Args:
        template: the file; it extends "layout.html" and may use "tables.html".
        path: where the page goes.
        records: what the page shows; if they are no result, it says so above all else.
        internal: whether it says that it is for the owner of the data only.
        content: of the template's blocks.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template(template.name).render(
        n_records=len(records),
        not_a_result=NOT_A_RESULT if is_tiny(records) else "",
        for_the_owner=FOR_THE_OWNER if internal else "",
        **content,
    )
    write(path, page.encode())
    return Path(path)


def embedded(figure: Path) -> str:
    """The bytes of a figure as they stand in a page."""
    return base64.b64encode(figure.read_bytes()).decode()


def drawn(figure: Figure) -> str:
    """A figure that has no file of its own, as PNG in a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
