"""Metrics of detectors and of thresholds, from kept scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, require_count
from unlearn.detectors.metrics import (
    AT_THRESHOLD,
    Confusion,
    Ranking,
    Threshold,
    ThresholdRule,
    building_draws,
    choose_threshold,
    confusion,
    delays_h,
    find_events,
    interval,
)
from unlearn.records import RecordTable
from unlearn.studies.detection.archive import LEVELS, SPLITS, ScoreArchive, Scored
from unlearn.studies.detection.options import ThresholdsOptions

#: An event counts as found in time if one of its hours is flagged this soon.
WITHIN_H = 24
#: False positive rates and recalls that curves are kept at.
_CURVE = np.linspace(0, 1, 51)


def thresholds_of(archive: ScoreArchive, rule: ThresholdRule) -> dict[str, Threshold]:
    """The threshold of each level, chosen on validation."""
    found = {level: archive.of("validation", level) for level in LEVELS}
    return {level: choose_threshold(own.score, own.label, rule) for level, own in found.items()}


def measure_detector(archive: ScoreArchive, rule: ThresholdRule | None = None, draws: int = 200) -> RecordTable:
    """Measure one detector and seed.

    Records have the columns `detector`, `variant`, `level` ("window", "hour", "event"), `split`, `rule`, `seed`, and
    `low` and `high` of a 95 % interval over redrawn buildings, with the threshold as it is. The rule "best F1 on test"
    is the highest F1 that any threshold could have had on test: what choosing it there would pretend.

    Args:
        archive: scores.
        rule: how the threshold is chosen, on validation; None takes the one of the best F1.
        draws: of whole buildings, for the intervals.

    Raises:
        InputError: a rule that validation scores do not allow.
    """
    rule = rule or ThresholdRule()
    require_count("draws", draws)
    table = _table("detection", archive)
    chosen = thresholds_of(archive, rule)
    for level in LEVELS:
        value = chosen[level].value
        table.add("threshold", value, level=level, rule=str(rule))
        for split in SPLITS:
            own = archive.of(split, level)
            columns = {"level": level, "split": split}
            add_confusion(table, own, value, draws, rule=str(rule), **columns)
            _add_ranking(table, own, draws, **columns)
        _add_unfair(table, archive.of("test", level), level)
        _add_curves(table, archive.of("test", level), level)
    _add_events(table, archive, chosen["hour"], draws)
    return table


def _table(experiment: str, archive: ScoreArchive) -> RecordTable:
    about = {name: getattr(archive, name) for name in ("data", "detector", "variant", "seed")}
    return RecordTable(experiment=experiment, **about)


def add_confusion(table: RecordTable, own: Scored, threshold: float, draws: int, **columns: object) -> None:
    """Record counts and metrics at a threshold, with intervals over buildings."""
    names, group = np.unique(own.building, return_inverse=True)
    by_building = confusion(own.label, own.score >= threshold, group, len(names))
    counts = np.stack([by_building.tp, by_building.fp, by_building.fn, by_building.tn])
    whole = Confusion(*counts.sum(axis=1))
    drawn = Confusion(*(counts @ building_draws(len(names), draws).T))
    for name in AT_THRESHOLD:
        low, high = interval(getattr(drawn, name))
        table.add(name, getattr(whole, name), "1", low=low, high=high, **columns)
    for name in ("tp", "fp", "fn", "tn"):
        table.add(name, getattr(whole, name), "rows", **columns)
    table.add("buildings", len(names), "buildings", **columns)


def _add_ranking(table: RecordTable, own: Scored, draws: int, **columns: object) -> None:
    names, group = np.unique(own.building, return_inverse=True)
    ranking = own.ranking()
    redrawn = building_draws(len(names), draws)
    drawn = np.array([ranking.areas(draw[group]) for draw in tqdm(redrawn, desc="redraws", leave=False, delay=1)])
    for name, area, own_draws in zip(("roc_auc", "pr_auc"), ranking.areas(), drawn.T, strict=True):
        low, high = interval(own_draws)
        table.add(name, area, "1", low=low, high=high, **columns)
    table.add("prevalence", own.label.mean(), "1", **columns)


def _add_unfair(table: RecordTable, test: Scored, level: str) -> None:
    ranking = test.ranking()
    f1 = ranking.confusion().f1
    columns = {"level": level, "split": "test", "rule": "best F1 on test"}
    table.add("f1", np.max(f1), "1", **columns)
    table.add("threshold", ranking.thresholds[np.argmax(f1)], "", **columns)


def _add_curves(table: RecordTable, test: Scored, level: str) -> None:
    """Recall at false positive rates, on the line between thresholds; and the best precision that reaches a recall."""
    tp, fp = test.ranking().counts()
    recall, fpr = tp / tp[-1], fp / fp[-1]
    at_fpr = np.interp(_CURVE, np.append(0.0, fpr), np.append(0.0, recall))
    precision = np.maximum.accumulate((tp / (tp + fp))[::-1])[::-1]
    at_recall = precision[np.searchsorted(recall, _CURVE - 1e-12).clip(max=len(recall) - 1)]
    for at, on_roc, on_pr in zip(_CURVE, at_fpr, at_recall, strict=True):
        table.add("recall_at_fpr", on_roc, "1", at=at, level=level, split="test")
        table.add("precision_at_recall", on_pr, "1", at=at, level=level, split="test")


def _add_events(table: RecordTable, archive: ScoreArchive, threshold: Threshold, draws: int) -> None:
    """How soon events on test are found, and the recall of each kind."""
    own = archive.test_hour
    flagged = own.score >= threshold.value
    events = find_events(own.building, own.start, own.label, own.kind)
    delays = delays_h(events, own.building, own.start, flagged)
    columns = {"split": "test", "rule": str(threshold.rule)}
    names, group = np.unique(own.building, return_inverse=True)
    redrawn = building_draws(len(names), draws)
    of_event = np.searchsorted(names, events.building)

    def add_found(chosen: np.ndarray, **more: object) -> None:
        weights = redrawn[:, of_event[chosen]]
        in_time = delays[chosen] < WITHIN_H
        low, high = interval(_shares(weights, in_time))
        table.add("found_within_24h", in_time.mean(), "1", level="event", low=low, high=high, **columns, **more)
        table.add("found", np.isfinite(delays[chosen]).mean(), "1", level="event", **columns, **more)
        table.add("events", len(chosen), "events", level="event", **columns, **more)
        found = delays[chosen][np.isfinite(delays[chosen])]
        table.add("median_delay", np.median(found) if found.size else np.nan, "h", level="event", **columns, **more)

    add_found(np.arange(len(events)))
    for code, name in enumerate(archive.kinds):
        hours = own.kind == code
        if not hours.any():
            continue
        weights = redrawn[:, group[hours]]
        low, high = interval(_shares(weights, flagged[hours]))
        table.add("recall", flagged[hours].mean(), "1", level="hour", kind=name, low=low, high=high, **columns)
        add_found(np.flatnonzero(events.kind == code), kind=name)


def _shares(weights: FloatArray, true: np.ndarray) -> FloatArray:
    """Weighted share of true in each draw; NaN where nothing was drawn."""
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ true / weights.sum(axis=1))


def measure_thresholds(archive: ScoreArchive, options: ThresholdsOptions | None = None) -> RecordTable:
    """Measure one detector and seed at the threshold of each rule, and count what is flagged along a sweep.

    Records of rules have the columns of `measure_detector`. Those of the sweep are `flagged_anomalous` and
    `flagged_normal` with the threshold in `at`; the highest threshold flags nothing.

    Args:
        archive: scores.
        options: rules, intervals and sweep.

    Raises:
        InputError: a rule that validation scores do not allow.
    """
    options = options or ThresholdsOptions()
    table = _table("thresholds", archive)
    chosen = [(rule, thresholds_of(archive, rule)) for rule in options.rules]
    for rule, found in chosen:
        for level in LEVELS:
            table.add("threshold", found[level].value, level=level, rule=str(rule))
            for split in SPLITS:
                own = archive.of(split, level)
                add_confusion(table, own, found[level].value, options.draws, level=level, split=split, rule=str(rule))
    for level in LEVELS:
        stops = _stops(archive, level, options.steps, [found[level].value for _, found in chosen])
        for split in SPLITS:
            own = archive.of(split, level)
            columns = {"level": level, "split": split}
            table.add("anomalous", own.label.sum(), "rows", **columns)
            table.add("normal", (~own.label).sum(), "rows", **columns)
            for at, tp, fp in zip(stops, *flagged_at(own.ranking(), stops), strict=True):
                table.add("flagged_anomalous", tp, "rows", at=at, **columns)
                table.add("flagged_normal", fp, "rows", at=at, **columns)
    return table


def flagged_at(ranking: Ranking, thresholds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Anomalous and normal rows with `score >= threshold`, each of the thresholds' shape."""
    tp, fp = (np.append(0.0, counts) for counts in ranking.counts())
    # Scores from the highest: how many distinct ones are no less than each threshold.
    reached = np.searchsorted(-ranking.thresholds, -thresholds, side="right")
    return tp[reached], fp[reached]


def _stops(archive: ScoreArchive, level: str, steps: int, also: Sequence[float]) -> FloatArray:
    """Thresholds from below all scores to above them, half evenly by rank, half closer and closer to the top."""
    scores = np.concatenate([archive.of(split, level).score for split in SPLITS])
    half = max(steps // 2, 2)
    at = np.concatenate([np.linspace(0, 1, half), 1 - np.geomspace(1, 1 / len(scores), half)])
    quantiles = np.quantile(scores, at, method="lower")
    above = np.nextafter(max(scores.max(), *also), np.inf)
    return np.unique(np.concatenate([quantiles, also, [above]]))
