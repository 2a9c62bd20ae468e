"""Differential privacy of statistics: what a utility can publish with it, and how far off that is."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.dp_release.measure import study_dp_release
    from unlearn.studies.dp_release.options import DpReleaseOptions
    from unlearn.studies.dp_release.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["DpReleaseOptions", "study_dp_release", "summarise"]
