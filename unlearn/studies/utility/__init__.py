"""Utility of releases: train on them, test on real households, and price the forecasts on a grid."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.studies.utility.measure import UtilityOptions, measure_utility, training_part
    from unlearn.studies.utility.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["UtilityOptions", "measure_utility", "summarise", "training_part"]
