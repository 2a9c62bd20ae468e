"""Thresholds tried on kept scores: rules that look at validation alone, and a sweep that shows what each would do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unlearn.checks import FloatArray, require_count
from unlearn.detectors.metrics import Ranking
from unlearn.detectors.thresholds import ThresholdRule
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.detection.archive import LEVELS, SPLITS, ScoreArchive
from unlearn.studies.detection.measure import MeasureOptions, add_confusion, thresholds_of


def measure_thresholds(
    archive: ScoreArchive, rules: Sequence[ThresholdRule], draws: int = 200, steps: int = 200
) -> RecordTable:
    """Measure one detector and seed at the threshold of each rule, and count what is flagged along a sweep.

    Records of rules have the columns of `measure_detector`. Those of the sweep are `flagged_anomalous` and
    `flagged_normal` with the threshold in `at`; the highest threshold flags nothing.

    Args:
        archive: scores.
        rules: how thresholds are chosen, on validation.
        draws: of whole buildings, for the intervals.
        steps: thresholds of the sweep, beside those of the rules.

    Raises:
        InputError: no rule or one twice, or one that validation scores do not allow.
    """
    require_count("thresholds.steps", steps)
    if not rules or len(set(rules)) < len(rules):
        raise InputError(f"thresholds.rules: expected at least one, each once, got {', '.join(map(str, rules))}.")
    table = RecordTable(
        experiment="thresholds",
        data=archive.data,
        detector=archive.detector,
        variant=archive.variant,
        seed=archive.seed,
    )
    chosen = [(rule, thresholds_of(archive, rule)) for rule in rules]
    for rule, found in chosen:
        options = MeasureOptions(rule, draws)
        for level in LEVELS:
            table.add("threshold", found[level].value, level=level, rule=str(rule))
            for split in SPLITS:
                own = archive.of(split, level)
                add_confusion(table, own, found[level].value, options, level=level, split=split, rule=str(rule))
    for level in LEVELS:
        stops = _stops(archive, level, steps, [found[level].value for _, found in chosen])
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
