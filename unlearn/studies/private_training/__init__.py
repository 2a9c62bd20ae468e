"""What privacy costs: a generator, and forecasters of single households, trained at several ε."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.private_training.household_load import measure_household_load
    from unlearn.studies.private_training.measure import PrivateTraining
    from unlearn.studies.private_training.options import (
        HouseholdLoadOptions,
        OverfitOptions,
        PrivateTrainingOptions,
    )
    from unlearn.studies.private_training.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "HouseholdLoadOptions", "OverfitOptions", "PrivateTraining", "PrivateTrainingOptions", "measure_household_load",
    "summarise",
]  # fmt: skip
