"""Records of `thresholds` as sweeps and rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.errors import InputError
from unlearn.studies.detection.seeds import require_one_setting

_KEY = ["detector", "level", "split", "rule", "metric"]


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
        if "flagged_normal" not in set(records["metric"]):
            raise InputError("thresholds: expected records of flagged rows; run thresholds first.")
        require_one_setting("thresholds", records)
        self.records = records
        self.detectors = [str(name) for name in records["detector"].unique()]
        self.rules = [str(rule) for rule in records["rule"].dropna().unique()]
        self.n_seeds = int(records["seed"].nunique())
        self._values: dict[tuple[str, ...], dict[int, float]] = {}
        at_rules = records[records["rule"].notna() & records["split"].notna()]
        for *key, seed, value in at_rules[[*_KEY, "seed", "value"]].itertuples(index=False):
            self._values.setdefault(tuple(map(str, key)), {})[int(seed)] = float(value)

    def sweeps(self, detector: str, level: str) -> list[Sweep]:
        """A sweep for each seed."""
        own = self.records[(self.records["detector"] == detector) & (self.records["level"] == level)]
        return [_sweep(detector, int(str(seed)), level, one) for seed, one in own.groupby("seed")]

    def values(self, detector: str, level: str, split: str, rule: str, metric: str) -> pd.Series:
        """A number at the threshold of a rule, by seed."""
        return pd.Series(self._values.get((detector, level, split, rule, metric), {}), dtype=np.float64)


def _sweep(detector: str, seed: int, level: str, own: pd.DataFrame) -> Sweep:
    thresholds = own.loc[own["metric"] == "threshold"].set_index("rule")["value"]
    splits, at = {}, np.empty(0)
    for split, part in own.groupby("split"):
        by_metric = {metric: rows.sort_values("at") for metric, rows in part.groupby("metric")}
        at = by_metric["flagged_normal"]["at"].to_numpy(np.float64)
        tp, fp = (by_metric[f"flagged_{kind}"]["value"].to_numpy(np.float64) for kind in ("anomalous", "normal"))
        totals = (float(by_metric[kind]["value"].iloc[0]) for kind in ("anomalous", "normal"))
        splits[str(split)] = Counts(tp, fp, *totals)
    chosen = {str(rule): float(value) for rule, value in thresholds.items()}
    return Sweep(detector, seed, level, at, splits, chosen)
