"""Thresholds as one self-contained HTML page with a slider, over counts of flagged rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.reporting.pages import embedded, write_page
from unlearn.studies.detection.seeds import named, rule_named
from unlearn.studies.detection.thresholds_table import Sweep, ThresholdTable
from unlearn.studies.detection.thresholds_verdict import rule_table, summarise_thresholds


def write_thresholds_page(records: pd.DataFrame, figure: Path, path: Path) -> Path:
    """Write the page: slider, sentences, figure, every rule.

    Args:
        records: of `thresholds`.
        figure: PNG file of `save_thresholds`.
        path: where the page goes.

    Raises:
        InputError: records of something else.
    """
    table = ThresholdTable(records)
    sweeps = [s for level in ("window", "hour") for name in table.detectors for s in table.sweeps(name, level)]
    return write_page(
        Path(__file__).with_name("thresholds.html"),
        path,
        records,
        source=records["data"].iloc[0],
        sentences=summarise_thresholds(records),
        rules=rule_table(records),
        sweeps=[_plain(sweep) for sweep in sweeps],
        png=embedded(figure),
    )


def _plain(sweep: Sweep) -> dict[str, Any]:
    """A sweep as it stands in the page; thresholds are not rounded, so that each flags exactly what is counted."""
    splits = {
        split: {
            "tp": [int(count) for count in own.tp],
            "fp": [int(count) for count in own.fp],
            "anomalous": int(own.anomalous),
            "normal": int(own.normal),
        }
        for split, own in sweep.splits.items()
    }
    place = {float(value): i for i, value in enumerate(sweep.thresholds)}
    return {
        "detector": named(sweep.detector),
        "seed": sweep.seed,
        "level": sweep.level,
        "thresholds": [float(value) for value in sweep.thresholds],
        "chosen": {rule_named(rule): place[value] for rule, value in sweep.chosen.items()},
        **splits,
    }
