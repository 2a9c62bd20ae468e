"""Scoring a division: validation chooses between candidates, then test windows are scored, once."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn.detectors.base import FittedDetector, WindowScores
from unlearn.detectors.division import Division
from unlearn.detectors.metrics import Ranking
from unlearn.detectors.reduction import reduced, reductions_of
from unlearn.errors import InputError
from unlearn.studies.detection.archive import SPLITS, ScoreArchive, scored_hours, scored_windows


def require_labels(division: Division) -> None:
    """Refuse a division that nothing can be measured on.

    Raises:
        InputError: no labels, or windows of validation or test buildings that are all normal or all anomalous.
    """
    for split in SPLITS:
        label = getattr(division, split).label
        if label.all() or not label.any():
            what = "anomalous" if label.all() else "normal"
            raise InputError(
                f"{division.scaled.series.name}: expected normal and anomalous windows of {split} buildings after "
                f"training time, got {len(label)} that are all {what}. Give more buildings, or change the share that "
                "is injected."
            )


def score_division(
    candidates: Sequence[FittedDetector], division: Division, name: str, seed: int
) -> tuple[ScoreArchive, FittedDetector]:
    """Score validation and test buildings.

    Of all candidates, and all ways to score a window by its hours, the one with the highest area under the
    precision-recall curve of validation windows is taken.

    Args:
        candidates: fitted on `division.train`.
        division: of labelled readings.
        name: of the detector.
        seed: of division and detector.

    Returns:
        The scores, and the candidate that was taken.

    Raises:
        InputError: readings without labels, or a part without normal or anomalous windows.
    """
    require_labels(division)
    chosen, how, validation = _choose(candidates, division)
    test = reduced(chosen.score(division.test), how)
    series = division.scaled.series
    archive = ScoreArchive(
        detector=name,
        variant=chosen.name if how == "own" else f"{chosen.name}, {how} over hours",
        seed=seed,
        data=series.name,
        buildings=series.buildings,
        kinds=series.kinds,
        first_hour=str(series.hours[0]),
        length=division.test.length,
        validation_window=scored_windows(division.validation, validation),
        validation_hour=scored_hours(division.validation, validation),
        test_window=scored_windows(division.test, test),
        test_hour=scored_hours(division.test, test),
    )
    return archive, chosen


def _choose(candidates: Sequence[FittedDetector], division: Division) -> tuple[FittedDetector, str, WindowScores]:
    """The candidate, the reduction and the validation scores of the highest area; the first of equals."""
    best: tuple[float, FittedDetector, str, WindowScores] | None = None
    for candidate in candidates:
        scores = candidate.score(division.validation)
        for how in reductions_of(scores):
            own = reduced(scores, how)
            area = Ranking(division.validation.label, own.window).pr_auc()
            if best is None or area > best[0]:
                best = (area, candidate, how, own)
    assert best is not None
    return best[1:]
