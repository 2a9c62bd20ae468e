"""Leakage of releases as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.leakage.verdict import attack_table, calibration, findings


def write_leakage_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: verdicts, figure and every membership attack.

    Args:
        records: of `measure_leakage` and `pool_outliers`.
        figure: PNG file of `save_leakage`.
        path: where the page goes.

    Raises:
        InputError: records without attacks.
    """
    answered = findings(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=True,
        source=records["data"].iloc[0],
        seeds=records["seed"].nunique(),
        calibration=calibration(records),
        findings=answered,
        attacks=attack_table(records),
        png=embedded(figure),
    )
