"""Numbers of `anomaly` over seeds, with the ends of their intervals over buildings."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from unlearn.errors import InputError

#: The rule that looks at the labels it is reported on; shown only to say how much that would pretend.
UNFAIR = "best F1 on test"

#: The detector of the published work.
GAN = "gan"

DETECTOR_NAMES = {
    "level": "level",
    "seasonal": "day or week before",
    "linear": "linear forecast",
    "cnn": "CNN forecast",
    "mixer": "MLP-Mixer forecast",
    "ecod": "ECOD",
    "iforest": "isolation forest",
    "lof": "local outlier factor",
    "autoencoder": "LSTM autoencoder",
    "gan": "GAN-LSTM",
}


_KEY = ["detector", "metric", "level", "split", "rule", "kind"]


class _Row(NamedTuple):
    seed: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Number:
    """A number over seeds.

    Attributes:
        mean: over seeds.
        low: lowest end of the seeds' 95 % intervals over buildings, or the least value where there are none.
        high: highest end of them.
        values: of each seed, by seed.
    """

    mean: float
    low: float
    high: float
    values: pd.Series

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


class AnomalyTable:
    """Records of `anomaly`, any number of seeds.

    Attributes:
        detectors: in their order.
        kinds: injected anomalies, in their order; none where labels came with the data.
        rule: how thresholds were chosen.
        n_seeds: seeds that occur.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        if not {"detector", "level", "rule"} <= set(records):
            raise InputError("anomaly: expected records with the columns detector, level and rule; run anomaly first.")
        require_one_setting("anomaly", records)
        missing = sorted({"kind", "low", "high", "at"} - set(records))
        self._records = records.reindex(columns=[*records.columns, *missing])
        numbers = self._records[self._records["at"].isna()]
        self._numbers: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
        keys = zip(*(numbers[column].astype(object).fillna("") for column in _KEY), strict=True)
        rows = zip(*(numbers[column] for column in _Row._fields), strict=True)
        for key, row in zip(keys, rows, strict=True):
            self._numbers[key].append(_Row(*row))
        self.detectors = [str(name) for name in records["detector"].unique()]
        self.kinds = [str(kind) for kind in self._records["kind"].dropna().unique()]
        rules = [str(rule) for rule in records["rule"].dropna().unique() if rule != UNFAIR]
        self.rule = rules[0]
        self.n_seeds = int(records["seed"].nunique())

    def number(
        self,
        detector: str,
        metric: str,
        level: str | None = None,
        *,
        split: str | None = "test",
        rule: str | None = None,
        kind: str | None = None,
    ) -> Number | None:
        """A number over seeds; None where there is none."""
        own = self._numbers.get((detector, metric, level or "", split or "", rule or "", kind or ""), [])
        values = pd.Series({row.seed: row.value for row in own}, dtype=np.float64).sort_index()
        if values.isna().all():
            return None
        ends = np.array([(row.value, row.low, row.high) for row in own], dtype=np.float64)
        return Number(float(values.mean()), float(np.nanmin(ends)), float(np.nanmax(ends)), values)

    def fair(self, detector: str, metric: str, level: str, kind: str | None = None) -> Number | None:
        """A number on test at the threshold that validation chose."""
        return self.number(detector, metric, level, rule=self.rule, kind=kind)

    def everything(self, level: str) -> float:
        """F1 on test of flagging every row, mean over seeds: `2 p / (1 + p)` with p the share of anomalous rows."""
        found = self.number(self.detectors[0], "prevalence", level)
        if found is None:
            return np.nan
        return float((2 * found.values / (1 + found.values)).mean())

    def curve(self, detector: str, metric: str, level: str) -> pd.Series:
        """Mean over seeds of a curve on test, by what it is kept at."""
        own = self._records
        own = own[(own["detector"] == detector) & (own["metric"] == metric) & (own["level"] == level)]
        return own.groupby("at")["value"].mean()

    def variants(self, detector: str) -> str:
        """What validation chose, over the seeds."""
        own = self._records.loc[self._records["detector"] == detector, "variant"]
        return "; ".join(sorted(map(str, own.unique())))


def require_one_setting(experiment: str, records: pd.DataFrame) -> None:
    """Refuse records that hold a number twice for a seed, detectors with other seeds than the others, or several data.

    Raises:
        InputError: names the experiment, and what differs.
    """
    data = [str(name) for name in records["data"].unique()]
    if len(data) > 1:
        raise InputError(f"{experiment}: expected records of one data set, got {', '.join(data)}.")
    twice = records[records.duplicated([name for name in (*_KEY, "at", "seed") if name in records])]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"{experiment}: expected each number once for every seed, got {first['metric']} of {first['detector']} "
            f"twice for seed {first['seed']}. Name the folder of one run."
        )
    seeds = {str(name): sorted(own["seed"].unique().tolist()) for name, own in records.groupby("detector", sort=False)}
    most = max(seeds, key=lambda name: len(seeds[name]))
    for name, own in seeds.items():
        if own != seeds[most]:
            raise InputError(
                f"{experiment}: expected the same seeds of every detector, got {own} of {name} and {seeds[most]} of "
                f"{most}. Run {experiment} anew."
            )


def rule_named(rule: str) -> str:
    """A rule as people call it."""
    return "best F1 on validation" if rule == "best_f1" else rule


def named(detector: str) -> str:
    """A detector as people call it."""
    return DETECTOR_NAMES.get(detector, detector)
