"""Leakage of releases: attacks on them, beside the same attacks on releases whose leakage is known."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies._shared.attributes import known_releases
    from unlearn.studies._shared.leakage import (
        measure_attributes,
        measure_leakage,
        measure_outliers,
        pool_outliers,
        score_outliers,
    )
    from unlearn.studies._shared.options import LeakageOptions
    from unlearn.studies.leakage.measure import study_leakage
    from unlearn.studies.leakage.options import LeakageStudyOptions
    from unlearn.studies.leakage.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "LeakageOptions", "LeakageStudyOptions", "known_releases", "measure_attributes", "measure_leakage",
    "measure_outliers", "pool_outliers", "score_outliers", "study_leakage", "summarise",
]  # fmt: skip
