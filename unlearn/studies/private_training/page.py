"""What privacy costs as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.private_training.forecasts import forecast_rows
from unlearn.studies.private_training.verdict import (
    accounting_table,
    mechanism_table,
    summarise_private_training,
    value_table,
)


def write_private_training_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, what the accountants say, every number.

    Args:
        records: of `private_training`.
        figure: PNG file of `save_private_training`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        sentences=summarise_private_training(records),
        accounting=accounting_table(records),
        mechanisms=mechanism_table(records),
        values=value_table(records),
        forecasts=forecast_rows(records),
        png=embedded(figure),
    )
