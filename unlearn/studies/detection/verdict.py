"""What detectors are worth, in numbers over seeds and sentences."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from unlearn.detectors.base import label_of
from unlearn.detectors.gan.options import Gan
from unlearn.errors import InputError

#: The rule that looks at the labels it is reported on; shown only to say how much that would pretend.
UNFAIR = "best F1 on test"
#: The detector of the published work.
GAN = Gan.name
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


#: A kind of which no detector finds more events in time.
_HARDLY = 0.2


def summarise_anomaly(records: pd.DataFrame) -> list[str]:
    """Sentences on who is best, whether a baseline beats the GAN, what an unfair threshold pretends, kinds not found.

    Args:
        records: of `anomaly`, any number of seeds.

    Raises:
        InputError: records of something else.
    """
    table = AnomalyTable(records)
    sentences = [_judged(table)]
    for level in ("window", "hour"):
        sentences += [_best(table, level), _against_gan(table, level, "f1"), _against_gan(table, level, "pr_auc")]
        sentences.append(_no_better_than_everything(table, level))
    sentences += [_unfair(table, level) for level in ("window", "hour")]
    sentences += [_events(table), _missed(table), _left_out(table)]
    return [sentence for sentence in sentences if sentence]


def detector_table(records: pd.DataFrame, level: str) -> list[dict[str, str]]:
    """A row per detector: metrics on test at the threshold of validation, with intervals; areas; times."""
    table = AnomalyTable(records)
    rows = []
    for name in table.detectors:
        row = {"detector": label_of(name), "chosen on validation": table.variants(name)}
        row["F1"] = str(table.fair(name, "f1", level) or "–")
        unfair = table.number(name, "f1", level, rule=UNFAIR)
        row["best on test"] = "–" if unfair is None else f"{unfair.mean:.3f}"
        for metric, title in (("pr_auc", "PR-AUC"), ("roc_auc", "ROC-AUC")):
            row[title] = str(table.number(name, metric, level) or "–")
        for metric in ("precision", "recall", "specificity", "accuracy"):
            row[metric] = str(table.fair(name, metric, level) or "–")
        for metric, title in (("fit_seconds", "fit [s]"), ("score_seconds", "score [s]")):
            found = table.number(name, metric, split=None)
            row[title] = "–" if found is None else f"{found.mean:.3g}"
        rows.append(row)
    return rows


def event_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per detector and kind: events, share found within a day and at all, delay, recall of hours."""
    table = AnomalyTable(records)
    rows = []
    for kind in (None, *table.kinds):
        for name in table.detectors:
            events = table.fair(name, "events", "event", kind)
            if events is None:
                continue
            delay = table.fair(name, "median_delay", "event", kind)
            found = table.fair(name, "found", "event", kind)
            rows.append(
                {
                    "kind": "all" if kind is None else kind.replace("_", " "),
                    "detector": label_of(name),
                    "events a seed": f"{events.mean:.0f}",
                    "found within 24 h": str(table.fair(name, "found_within_24h", "event", kind) or "–"),
                    "found at all": "–" if found is None else f"{found.mean:.3f}",
                    "median delay [h]": "–" if delay is None else f"{delay.mean:.3g}",
                    "recall of hours": str(table.fair(name, "recall", "hour", kind) or "–"),
                }
            )
    return rows


def _judged(table: AnomalyTable) -> str:
    first = table.detectors[0]
    windows = {level: table.number(first, "prevalence", level) for level in ("window", "hour")}
    buildings = table.fair(first, "buildings", "window")
    if buildings is None or windows["window"] is None or windows["hour"] is None:
        return ""
    return (
        f"{len(table.detectors)} detectors, {table.n_seeds} seed{'s' * (table.n_seeds > 1)}: judged on "
        f"{buildings.mean:.0f} buildings that no detector was fitted to, after training time, at thresholds chosen on "
        f"other buildings ({rule_named(table.rule)}). {100 * windows['window'].mean:.0f} % of their windows and "
        f"{100 * windows['hour'].mean:.1f} % of their hours are anomalous."
    )


def _ranked(table: AnomalyTable, metric: str, level: str) -> list[tuple[str, pd.Series]]:
    """Detectors with the values of their seeds, the best mean first."""
    found = []
    for name in table.detectors:
        number = table.fair(name, metric, level) if metric == "f1" else table.number(name, metric, level)
        if number is not None:
            found.append((name, number.values))
    return sorted(found, key=lambda pair: -pair[1].mean())


def _best(table: AnomalyTable, level: str) -> str:
    ranked = _ranked(table, "f1", level)
    if not ranked:
        return ""
    best, _ = ranked[0]
    said = f"Best F1 of {level}s: {label_of(best)}, {table.fair(best, 'f1', level)}"
    if len(ranked) == 1:
        return f"{said}."
    second, _ = ranked[1]
    return f"{said}; then {label_of(second)}, {table.fair(second, 'f1', level)}."


def _against_gan(table: AnomalyTable, level: str, metric: str) -> str:
    """Whether baselines beat the GAN, each seed against itself."""
    ranked = dict(_ranked(table, metric, level))
    gan = ranked.pop(GAN, None)
    if gan is None or not ranked:
        return ""
    title = "F1" if metric == "f1" else "area under the precision-recall curve"
    ahead = {name: (values > gan).sum() for name, values in ranked.items() if values.mean() > gan.mean()}
    own = f"{title} of {level}s, {gan.mean():.3f} in the mean"
    if not ahead:
        second = max(ranked, key=lambda name: ranked[name].mean())
        always = int((gan > ranked[second]).sum())
        return (
            f"No baseline beats the {label_of(GAN)} in {own}: the next, {label_of(second)}, has "
            f"{ranked[second].mean():.3f} and is behind in {always} of {len(gan)} seeds."
        )
    told = ", ".join(
        f"{label_of(name)} ({ranked[name].mean():.3f}; ahead in {count} of {len(gan)} seeds)"
        for name, count in ahead.items()
    )
    what = "A baseline beats" if len(ahead) == 1 else f"{len(ahead)} of {len(ranked)} baselines beat"
    return f"{what} the {label_of(GAN)} in {own}: {told}."


def _no_better_than_everything(table: AnomalyTable, level: str) -> str:
    everything = table.everything(level)
    poor = [label_of(name) for name, values in _ranked(table, "f1", level) if values.mean() <= everything]
    if not poor:
        return ""
    return f"No better than flagging every {level} (F1 {everything:.3f}): {', '.join(poor)}."


def _unfair(table: AnomalyTable, level: str) -> str:
    gaps = {}
    for name in table.detectors:
        fair, unfair = table.fair(name, "f1", level), table.number(name, "f1", level, rule=UNFAIR)
        if fair and unfair:
            gaps[name] = float((unfair.values - fair.values).mean())
    if not gaps:
        return ""
    most = max(gaps, key=lambda name: gaps[name])
    return (
        f"A threshold chosen on the test {level}s themselves would have shown an F1 higher by "
        f"{sum(gaps.values()) / len(gaps):.3f} in the mean, and by {gaps[most]:.3f} of the {label_of(most)}: no result."
    )


def _events(table: AnomalyTable) -> str:
    # Who flags everything finds every event: only those that do better than that are looked at.
    better = [name for name, values in _ranked(table, "f1", "hour") if values.mean() > table.everything("hour")]
    found = {name: table.fair(name, "found_within_24h", "event") for name in better}
    known = {name: number for name, number in found.items() if number is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name].mean)
    specificity = table.fair(best, "specificity", "hour")
    alarms = "" if specificity is None else f" while {100 * (1 - specificity.mean):.1f} % of normal hours are flagged"
    return (
        f"Most events found within a day of their start: {label_of(best)}, {known[best]}{alarms}. Scores of an hour "
        "rest on windows that may end after it; a detector in operation knows them that much later."
    )


def _missed(table: AnomalyTable) -> str:
    missed = []
    for kind in table.kinds:
        shares = [table.fair(name, "recall", "hour", kind) for name in table.detectors]
        best = max((number.mean for number in shares if number is not None), default=1.0)
        if best < _HARDLY:
            missed.append(f"{kind.replace('_', ' ')} (at most {100 * best:.0f} %)")
    return (
        f"Kinds of which no detector flags {100 * _HARDLY:.0f} % of the hours: {', '.join(missed)}." if missed else ""
    )


def _left_out(table: AnomalyTable) -> str:
    counts = [table.number(table.detectors[0], name, split=None) for name in ("few_readings", "constant")]
    few, constant = (0 if number is None else int(number.values.max()) for number in counts)
    if not few + constant:
        return ""
    return f"Left out: {few} buildings with too few readings in training time, {constant} of nearly one value only."
