"""Names and colours that sentences, tables and figures share; no drawing, so that verdicts need no matplotlib."""

from __future__ import annotations

import pandas as pd

CRITERION_NAMES = {"mse": "MSE", "mape": "MAPE", "cost": "Cost"}
METRIC_LABELS = {"mse": "MSE [p.u.²]", "mape": "MAPE [%]", "cost": "Operating cost [money/h]"}
#: Releases take a colour each, in their order.
RELEASE_COLOURS = ("#2b6ca3", "#c8403f", "#2f8f4e", "#dd8452", "#6b4c9a", "#8c6d31", "#4aa5b5")
FORECASTER_NAMES = {"linear": "Linear", "cnn": "CNN", "mixer": "MLP-Mixer"}
#: Protocols in the order in which they are shown.
PROTOCOLS = ("published", "fair")
#: Column of records that says whether their run was too small to be a result, and what is then said of it.
TINY = "tiny"
NOT_A_RESULT = (
    "Not a result: a tiny run, with too little data and training to mean anything. It shows that everything runs."
)


def protocols_of(records: pd.DataFrame) -> list[str]:
    """Protocols that the records hold, the published one first."""
    return [protocol for protocol in PROTOCOLS if protocol in set(records["protocol"])]


def is_tiny(records: pd.DataFrame) -> bool:
    """Whether any of the records comes from a run that was too small to be a result."""
    return TINY in records and bool(records[TINY].eq(True).any())
