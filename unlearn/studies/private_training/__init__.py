"""Forecasters of single households: their error, what they cost on the grid, whether they give households away."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.studies.private_training.household_load import HouseholdLoadOptions, measure_household_load
    from unlearn.studies.private_training.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["HouseholdLoadOptions", "measure_household_load", "summarise"]
