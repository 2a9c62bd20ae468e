"""Utility of releases: train on them, test on real households, and price the forecasts on a grid."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies._shared.options import UtilityOptions
    from unlearn.studies._shared.utility import measure_utility, training_part
    from unlearn.studies.utility.measure import study_utility
    from unlearn.studies.utility.options import UtilityStudyOptions
    from unlearn.studies.utility.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "UtilityOptions", "UtilityStudyOptions", "measure_utility", "study_utility", "summarise", "training_part",
]  # fmt: skip
