"""What detectors are worth, in numbers over seeds and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.detectors.base import label_of
from unlearn.reporting.style import GAN, rule_named
from unlearn.reporting.verdict import (
    NO,
    YES,
    Block,
    Page,
    Spread,
    by_key,
    counted,
    require_columns,
    require_one_setting,
    text,
    write,
)

#: The rule that looks at the labels it is reported on; shown only to say how much that would pretend.
UNFAIR = "best F1 on test"
#: A kind of which no detector finds more events in time.
_HARDLY = 0.2
_LEVELS = ("window", "hour")
_KEY = ["detector", "metric", "level", "split", "rule", "kind"]
_ROW = ["seed", "value", "low", "high"]


class AnomalyTable:
    """Records of `detection`, any number of seeds.

    Attributes:
        detectors: in their order.
        kinds: injected anomalies, in their order; none where labels came with the data.
        rule: how thresholds were chosen.
        n_seeds: seeds that occur.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("detection", records, "detector", "level", "rule")
        require_one_setting("detection", records, [*_KEY, "at"])
        missing = sorted({"kind", "low", "high", "at"} - set(records))
        self._records = records.reindex(columns=[*records.columns, *missing])
        self._numbers = by_key(self._records[self._records["at"].isna()], _KEY, _ROW)
        self.detectors = [str(name) for name in records["detector"].unique()]
        self.kinds = [str(kind) for kind in self._records["kind"].dropna().unique()]
        rules = [str(rule) for rule in records["rule"].dropna().unique() if rule != UNFAIR]
        self.rule = rules[0]
        self.n_seeds = int(records["seed"].nunique())

    def number(
        self,
        detector: str,
        metric: str,
        level: str = "",
        *,
        split: str = "test",
        rule: str = "",
        kind: str | None = None,
    ) -> Spread | None:
        """A number over seeds, from the lowest to the highest end of their 95 % intervals; None where there is none."""
        own = self._numbers.get((detector, metric, level, split, rule, kind or ""), [])
        return Spread.of_intervals(pd.DataFrame(own, columns=_ROW))

    def values(self, detector: str, metric: str, level: str, rule: str = "") -> pd.Series:
        """A number on test by seed."""
        own = self._numbers.get((detector, metric, level, "test", rule, ""), [])
        return pd.Series({seed: value for seed, value, *_ in own}, dtype=np.float64).sort_index()

    def fair(self, detector: str, metric: str, level: str, kind: str | None = None) -> Spread | None:
        """A number on test at the threshold that validation chose."""
        return self.number(detector, metric, level, rule=self.rule, kind=kind)

    def everything(self, level: str) -> float:
        """F1 on test of flagging every row, mean over seeds: `2 p / (1 + p)` with p the share of anomalous rows."""
        share = self.values(self.detectors[0], "prevalence", level)
        return float((2 * share / (1 + share)).mean())

    def ranked(self, metric: str, level: str) -> dict[str, pd.Series]:
        """Values by seed of each detector, the best mean first."""
        rule = self.rule if metric == "f1" else ""
        found = {name: self.values(name, metric, level, rule) for name in self.detectors}
        known = {name: values for name, values in found.items() if values.notna().any()}
        return dict(sorted(known.items(), key=lambda pair: -pair[1].mean()))

    def curve(self, detector: str, metric: str, level: str) -> pd.Series:
        """Mean over seeds of a curve on test, by what it is kept at."""
        own = self._records
        own = own[(own["detector"] == detector) & (own["metric"] == metric) & (own["level"] == level)]
        return own.groupby("at")["value"].mean()

    def variants(self, detector: str) -> str:
        """What validation chose, over the seeds."""
        own = self._records.loc[self._records["detector"] == detector, "variant"]
        return "; ".join(sorted(map(str, own.unique())))


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    table = AnomalyTable(records)
    best, values = next(iter(table.ranked("f1", "window").items()))
    everything = table.everything("window")
    return Page(
        "Does a detector find anomalies in meter readings?",
        YES if values.mean() > everything else NO,
        f"the best, {label_of(best)}, has F1 {text(table.fair(best, 'f1', 'window'), '.3f')} of windows. Flagging "
        f"every window has {everything:.3f}.",
        f"{records['data'].iloc[0]}. Detectors are fitted to normal windows of training buildings, and score windows "
        "of other buildings. Each building is scaled by its own training time. Thresholds come from validation "
        "buildings.",
        "F1, areas and curves of each detector, and the kinds of anomalies each finds",
        [
            Block("What was found", points=summarise(records)),
            Block(
                "Windows", rows=detector_table(records, "window"), texts=2,
                note="Means over seeds; in brackets from the lowest to the highest end of the seeds' 95 % intervals, "
                'each from redraws of whole buildings with the threshold as it is. "Best on test" is the highest F1 '
                "that any threshold had on test: no result, it only says how much choosing there would pretend. "
                "Variants (lag; own score, mean or highest hour of a window) were chosen by the area under the "
                "precision-recall curve of validation windows, among the same ways for every detector.",
            ),
            Block("Hours", rows=detector_table(records, "hour"), texts=2),
            Block("Events", rows=event_table(records), texts=2),
        ],
        measured=[
            "A window is anomalous where any of its hours is. An hour's score is the mean over all windows that it "
            "lies in. Hours that were missing and filled do not count.",
            "An event is a run of labelled hours of one kind, at most a day apart. It is found once one of the hours "
            "from its first to its last is flagged. A detector that flags much finds much: read it with specificity.",
            '"Day or week before" and the forecasts also look at earlier hours of the same building; the others see '
            "the window alone.",
        ],
        limits=[
            "Scores of an hour rest on windows that may end after it: a detector in operation knows them that much "
            "later.",
            "Kinds of anomalies that are not in these labels were not tried.",
        ],
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Sentences on who is best, whether a baseline beats the GAN, what an unfair threshold pretends, kinds not found.

    Args:
        records: of `detection`, any number of seeds.

    Raises:
        InputError: records of something else.
    """
    table = AnomalyTable(records)
    sentences = [_judged(table)]
    for level in _LEVELS:
        sentences += [_best(table, level), _against_gan(table, level, "f1"), _against_gan(table, level, "pr_auc")]
        sentences.append(_no_better_than_everything(table, level))
    sentences += [_unfair(table, level) for level in _LEVELS]
    sentences += [_events(table), _missed(table), _left_out(table)]
    return [sentence for sentence in sentences if sentence]


def detector_table(records: pd.DataFrame, level: str) -> list[dict[str, str]]:
    """A row per detector: metrics on test at the threshold of validation, with intervals; areas; times."""
    table = AnomalyTable(records)
    rows = []
    for name in table.detectors:
        row = {"detector": label_of(name), "chosen on validation": table.variants(name)}
        row["F1"] = text(table.fair(name, "f1", level), ".3f")
        row["best on test"] = write(table.number(name, "f1", level, rule=UNFAIR), ".3f")
        for metric, title in (("pr_auc", "PR-AUC"), ("roc_auc", "ROC-AUC")):
            row[title] = text(table.number(name, metric, level), ".3f")
        for metric in ("precision", "recall", "specificity", "accuracy"):
            row[metric] = text(table.fair(name, metric, level), ".3f")
        for metric, title in (("fit_seconds", "fit [s]"), ("score_seconds", "score [s]")):
            row[title] = write(table.number(name, metric, split=""))
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
            delay, found = (table.fair(name, metric, "event", kind) for metric in ("median_delay", "found"))
            row = {"kind": "all" if kind is None else kind.replace("_", " "), "detector": label_of(name)}
            row |= {"events a seed": f"{events.mean:.0f}"}
            row |= {"found within 24 h": text(table.fair(name, "found_within_24h", "event", kind), ".3f")}
            row |= {"found at all": write(found, ".3f"), "median delay [h]": write(delay)}
            rows.append(row | {"recall of hours": text(table.fair(name, "recall", "hour", kind), ".3f")})
    return rows


def _judged(table: AnomalyTable) -> str:
    first = table.detectors[0]
    window, hour = (table.number(first, "prevalence", level) for level in _LEVELS)
    buildings = table.fair(first, "buildings", "window")
    if not (buildings and window and hour):
        return ""
    return (
        f"{counted(len(table.detectors), 'detector')}, {counted(table.n_seeds, 'seed')}: judged on "
        f"{buildings.mean:.0f} buildings that no detector was fitted to, after training time, at thresholds chosen on "
        f"other buildings ({rule_named(table.rule)}). {100 * window.mean:.0f} % of their windows and "
        f"{100 * hour.mean:.1f} % of their hours are anomalous."
    )


def _best(table: AnomalyTable, level: str) -> str:
    told = [f"{label_of(name)}, {text(table.fair(name, 'f1', level), '.3f')}" for name in table.ranked("f1", level)]
    return f"Best F1 of {level}s: {'; then '.join(told[:2])}." if told else ""


def _against_gan(table: AnomalyTable, level: str, metric: str) -> str:
    """Whether baselines beat the GAN, each seed against itself."""
    ranked = table.ranked(metric, level)
    gan = ranked.pop(GAN, None)
    if gan is None or not ranked:
        return ""
    title = "F1" if metric == "f1" else "area under the precision-recall curve"
    ahead = {name: (values > gan).sum() for name, values in ranked.items() if values.mean() > gan.mean()}
    own = f"{title} of {level}s, {gan.mean():.3f} in the mean"
    if not ahead:
        second, values = next(iter(ranked.items()))
        return (
            f"No baseline beats the {label_of(GAN)} in {own}: the next, {label_of(second)}, has {values.mean():.3f} "
            f"and is behind in {int((gan > values).sum())} of {len(gan)} seeds."
        )
    told = ", ".join(
        f"{label_of(name)} ({ranked[name].mean():.3f}; ahead in {count} of {len(gan)} seeds)"
        for name, count in ahead.items()
    )
    what = "A baseline beats" if len(ahead) == 1 else f"{len(ahead)} of {len(ranked)} baselines beat"
    return f"{what} the {label_of(GAN)} in {own}: {told}."


def _no_better_than_everything(table: AnomalyTable, level: str) -> str:
    everything = table.everything(level)
    poor = [label_of(name) for name, values in table.ranked("f1", level).items() if values.mean() <= everything]
    return f"No better than flagging every {level} (F1 {everything:.3f}): {', '.join(poor)}." if poor else ""


def _unfair(table: AnomalyTable, level: str) -> str:
    gaps = {
        name: float((table.values(name, "f1", level, UNFAIR) - values).mean())
        for name, values in table.ranked("f1", level).items()
        if table.number(name, "f1", level, rule=UNFAIR)
    }
    if not gaps:
        return ""
    most = max(gaps, key=lambda name: gaps[name])
    return (
        f"A threshold chosen on the test {level}s themselves would have shown an F1 higher by "
        f"{sum(gaps.values()) / len(gaps):.3f} in the mean, and by {gaps[most]:.3f} of the {label_of(most)}: no result."
    )


def _events(table: AnomalyTable) -> str:
    # Who flags everything finds every event: only those that do better than that are looked at.
    ranked, everything = table.ranked("f1", "hour"), table.everything("hour")
    found = {name: table.fair(name, "found_within_24h", "event") for name in ranked if ranked[name].mean() > everything}
    known = {name: number for name, number in found.items() if number}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name].mean)
    specificity = table.fair(best, "specificity", "hour")
    alarms = f" while {100 * (1 - specificity.mean):.1f} % of normal hours are flagged" if specificity else ""
    return f"Most events found within a day of their start: {label_of(best)}, {known[best].text('.3f')}{alarms}."


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
    numbers = [table.number(table.detectors[0], name, split="") for name in ("few_readings", "constant")]
    few, constant = (int(number.high) if number else 0 for number in numbers)
    if not few + constant:
        return ""
    return f"Left out: {few} buildings with too few readings in training time, {constant} of nearly one value only."
