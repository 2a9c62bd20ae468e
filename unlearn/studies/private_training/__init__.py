"""Forecasters of single households: their error, what they cost on the grid, whether they give households away."""

from unlearn.studies.private_training.household_load import HouseholdLoadOptions, measure_household_load
from unlearn.studies.private_training.verdict import summarise_private_training

__all__ = ["HouseholdLoadOptions", "measure_household_load", "summarise_private_training"]
