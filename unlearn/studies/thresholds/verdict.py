"""What thresholds do, in numbers and sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.detectors.base import label_of
from unlearn.reporting.style import rule_named
from unlearn.reporting.verdict import Block, Page, agreed, counted, require_columns, require_one_setting, select, write

_KEY = ["detector", "metric", "level", "split", "rule"]
_LEVELS = ("window", "hour")
#: A threshold holds if its F1 on test is at most this much below the best of the sweep.
LOSS = 0.05


@dataclass(frozen=True, eq=False)
class Counts:
    """What is flagged in one split at each threshold of a sweep, each of shape (K,).

    Attributes:
        tp: anomalous rows flagged.
        fp: normal rows flagged.
        anomalous: of all rows.
        normal: of all rows.
    """

    tp: FloatArray
    fp: FloatArray
    anomalous: float
    normal: float

    @property
    def f1(self) -> FloatArray:
        """At each threshold; 0 where nothing is flagged."""
        return 2 * self.tp / (self.tp + self.fp + self.anomalous)


@dataclass(frozen=True, eq=False)
class Sweep:
    """One detector, seed and level.

    Attributes:
        detector: name.
        seed: of division and detector.
        level: "window" or "hour".
        thresholds: ascending, shape (K,).
        splits: counts by split.
        chosen: threshold of each rule; it is one of `thresholds`.
    """

    detector: str
    seed: int
    level: str
    thresholds: FloatArray
    splits: dict[str, Counts]
    chosen: dict[str, float]


class ThresholdTable:
    """Records of `thresholds`, any number of detectors and seeds.

    Attributes:
        detectors: in their order.
        rules: in their order.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("thresholds", records, metric="flagged_normal")
        require_one_setting("thresholds", records, [*_KEY, "at"])
        self.records = records
        self.detectors = [str(name) for name in records["detector"].unique()]
        self.rules = [str(rule) for rule in records["rule"].dropna().unique()]
        self.n_seeds = int(records["seed"].nunique())
        self._values: dict[tuple[str, ...], dict[int, float]] = {}
        at_rules = select(records, rule=..., split=...)
        for *key, seed, value in at_rules[[*_KEY, "seed", "value"]].itertuples(index=False):
            self._values.setdefault(tuple(map(str, key)), {})[int(seed)] = float(value)

    def sweeps(self, detector: str, level: str) -> list[Sweep]:
        """A sweep for each seed."""
        own = select(self.records, detector=detector, level=level)
        return [_sweep(detector, int(str(seed)), level, one) for seed, one in own.groupby("seed")]

    def values(self, detector: str, level: str, split: str, rule: str, metric: str) -> pd.Series:
        """A number at the threshold of a rule, by seed."""
        return pd.Series(self._values.get((detector, metric, level, split, rule), {}), dtype=np.float64)


def _sweep(detector: str, seed: int, level: str, own: pd.DataFrame) -> Sweep:
    thresholds = select(own, metric="threshold").set_index("rule")["value"]
    splits, at = {}, np.empty(0)
    for split, part in own.groupby("split"):
        by_metric = {metric: rows.sort_values("at") for metric, rows in part.groupby("metric")}
        at = by_metric["flagged_normal"]["at"].to_numpy(np.float64)
        tp, fp = (by_metric[f"flagged_{kind}"]["value"].to_numpy(np.float64) for kind in ("anomalous", "normal"))
        totals = (float(by_metric[kind]["value"].iloc[0]) for kind in ("anomalous", "normal"))
        splits[str(split)] = Counts(tp, fp, *totals)
    chosen = {str(rule): float(value) for rule, value in thresholds.items()}
    return Sweep(detector, seed, level, at, splits, chosen)


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = ThresholdTable(records)
    found = [_preferred(table, name, level) for level in _LEVELS for name in table.detectors]
    holds = [most - fair <= LOSS for _, _, fair, most in found]
    return Page(
        "Does a threshold that validation chooses hold on test?",
        agreed(holds),
        f"for {sum(holds)} of {len(holds)} detectors and levels, F1 on test is within {LOSS:g} of the best threshold "
        "there.",
        f"{records['data'].iloc[0]}. A row is flagged where its score is at least the threshold. Move it and see what "
        "happens to validation and test buildings.",
        "F1 of windows along all thresholds on validation and test, with what each rule chose",
        [
            Block("What was found", points=summarise(records)),
            Block(
                "Every rule", rows=rule_table(records), texts=3,
                note="Means over seeds. A percentile is taken over the scores of the normal validation rows. Rows of "
                "the same score are flagged together, so that it may flag more rows than its name says.",
            ),
        ],
        limits=["A threshold belongs to validation: one that was picked by looking at test is no result."],
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Sentences on which rule validation prefers, what it does on test, and what a threshold from test would pretend.

    Args:
        records: of `thresholds`, any number of detectors and seeds.

    Raises:
        InputError: records of something else.
    """
    table = ThresholdTable(records)
    sentences = [
        f"Thresholds of {counted(len(table.detectors), 'detector')}, {counted(table.n_seeds, 'seed')}, from kept "
        "scores; nothing was fitted again. Rules look at validation buildings, results are of test buildings."
    ]
    for level in _LEVELS:
        for name in table.detectors:
            rule, validation, fair, most = _preferred(table, name, level)
            sentences.append(
                f"{label_of(name)}, {level}s: validation prefers {rule_named(rule)} (F1 {validation:.3f}), with "
                f"{fair:.3f} on test; the best threshold of the sweep on test would pretend {most:.3f}."
            )
    return sentences


def rule_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per level, detector and rule: threshold, and metrics on validation and on test, means over seeds."""
    table = ThresholdTable(records)
    rows = []
    for level in _LEVELS:
        for name in table.detectors:
            thresholds = [sweep.chosen for sweep in table.sweeps(name, level)]
            for rule in table.rules:
                row = {"level": level, "detector": label_of(name), "rule": rule_named(rule)}
                row["threshold"] = f"{np.mean([chosen[rule] for chosen in thresholds]):.4g}"
                for split in ("validation", "test"):
                    for metric in ("precision", "recall", "f1", "specificity"):
                        row[f"{metric}, {split}"] = write(table.values(name, level, split, rule, metric).mean(), ".3f")
                rows.append(row)
    return rows


def _preferred(table: ThresholdTable, name: str, level: str) -> tuple[str, float, float, float]:
    """The rule that validation prefers, its F1 there and on test, and the best of the sweep on test."""
    f1 = {rule: table.values(name, level, "validation", rule, "f1").mean() for rule in table.rules}
    rule = max(f1, key=lambda own: f1[own])
    most = float(np.mean([sweep.splits["test"].f1.max() for sweep in table.sweeps(name, level)]))
    return rule, f1[rule], table.values(name, level, "test", rule, "f1").mean(), most
