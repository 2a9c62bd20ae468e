"""What thresholds do, in sentences and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.studies.detection.seeds import named, rule_named
from unlearn.studies.detection.thresholds_table import ThresholdTable

_LEVELS = ("window", "hour")


def summarise_thresholds(records: pd.DataFrame) -> list[str]:
    """Sentences on which rule validation prefers, what it does on test, and what a threshold from test would pretend.

    Args:
        records: of `thresholds`, any number of detectors and seeds.

    Raises:
        InputError: records of something else.
    """
    table = ThresholdTable(records)
    sentences = [
        f"Thresholds of {len(table.detectors)} detectors, {table.n_seeds} seed{'s' * (table.n_seeds > 1)}, from kept "
        "scores; nothing was fitted again. Rules look at validation buildings, results are of test buildings."
    ]
    for level in _LEVELS:
        sentences += [_of_detector(table, name, level) for name in table.detectors]
    return sentences


def rule_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per level, detector and rule: threshold, and metrics on validation and on test, means over seeds."""
    table = ThresholdTable(records)
    rows = []
    for level in _LEVELS:
        for name in table.detectors:
            thresholds = [sweep.chosen for sweep in table.sweeps(name, level)]
            for rule in table.rules:
                row = {"level": level, "detector": named(name), "rule": rule_named(rule)}
                row["threshold"] = f"{np.mean([chosen[rule] for chosen in thresholds]):.4g}"
                for split in ("validation", "test"):
                    for metric in ("precision", "recall", "f1", "specificity"):
                        row[f"{metric}, {split}"] = _short(table.values(name, level, split, rule, metric))
                rows.append(row)
    return rows


def _of_detector(table: ThresholdTable, name: str, level: str) -> str:
    f1 = {rule: table.values(name, level, "validation", rule, "f1").mean() for rule in table.rules}
    rule = max(f1, key=lambda own: f1[own])
    fair = table.values(name, level, "test", rule, "f1").mean()
    sweeps = table.sweeps(name, level)
    most = float(np.mean([sweep.splits["test"].f1.max() for sweep in sweeps]))
    return (
        f"{named(name)}, {level}s: validation prefers {rule_named(rule)} (F1 {f1[rule]:.3f}), with {fair:.3f} on test; "
        f"the best threshold of the sweep on test would pretend {most:.3f}."
    )


def _short(values: pd.Series) -> str:
    found = values.dropna()
    return "–" if found.empty else f"{found.mean():.3f}"
