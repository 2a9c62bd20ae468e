"""A generated feeder as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.release.card import settings_rows
from unlearn.studies.release.feeder_verdict import anomaly_table, class_table, month_table, summarise_feeder


def write_feeder_page(records: pd.DataFrame, figure: Path, path: Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the page: sentences, figure, tables, and the generator's settings.

    Args:
        records: of `describe_feeder`, one feeder.
        figure: PNG file of `save_feeder`.
        path: where the page goes.
        card: settings of the generator.

    Raises:
        InputError: records of something else, or of several feeders.
    """
    about, *sentences = summarise_feeder(records)
    return write_page(
        Path(__file__).with_name("feeder.html"),
        path,
        records,
        about=about,
        sentences=sentences,
        classes=class_table(records),
        anomalies=anomaly_table(records),
        months=month_table(records),
        settings=settings_rows(card or {}),
        png=embedded(figure),
    )
