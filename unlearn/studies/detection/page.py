"""The comparison of detectors as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.detection.verdict import detector_table, event_table, summarise_anomaly


def write_anomaly_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: sentences, figure, every number.

    Args:
        records: of `anomaly`.
        figure: PNG file of `save_anomaly`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        source=records["data"].iloc[0],
        sentences=summarise_anomaly(records),
        windows=detector_table(records, "window"),
        hours=detector_table(records, "hour"),
        events=event_table(records),
        png=embedded(figure),
    )
