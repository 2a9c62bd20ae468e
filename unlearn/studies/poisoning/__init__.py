"""Poisoned training hours: detected without the truth, unlearnt, and priced."""

from unlearn.studies.poisoning.measure import PoisonedStudy
from unlearn.studies.poisoning.options import PoisoningOptions
from unlearn.studies.poisoning.verdict import summarise_poisoning

__all__ = ["PoisonedStudy", "PoisoningOptions", "summarise_poisoning"]
