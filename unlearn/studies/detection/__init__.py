"""How well detectors of anomalies do: scores that are kept, thresholds chosen on validation, metrics on test."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.detection.archive import ScoreArchive, load_archive, save_archive, score_division
    from unlearn.studies.detection.measure import measure_detector, measure_thresholds
    from unlearn.studies.detection.options import DetectionOptions, ThresholdsOptions
    from unlearn.studies.detection.run import DetectionStudy, Judged, try_thresholds
    from unlearn.studies.detection.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the study
    "DetectionOptions", "DetectionStudy", "Judged", "ThresholdsOptions", "try_thresholds",
    # scores and what they are worth
    "ScoreArchive", "load_archive", "measure_detector", "measure_thresholds", "save_archive", "score_division",
    # sentences
    "summarise",
]  # fmt: skip
