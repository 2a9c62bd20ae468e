"""Leakage of releases: attacks on them, beside the same attacks on releases whose leakage is known."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.studies.leakage.measure import measure_attributes, measure_leakage
    from unlearn.studies.leakage.options import LeakageOptions
    from unlearn.studies.leakage.outliers import measure_outliers, pool_outliers, score_outliers
    from unlearn.studies.leakage.samples import known_releases
    from unlearn.studies.leakage.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "LeakageOptions",
    "known_releases",
    "measure_attributes",
    "measure_leakage",
    "measure_outliers",
    "pool_outliers",
    "score_outliers",
    "summarise",
]
