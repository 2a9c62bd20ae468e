"""Poisoned training hours: detected without the truth, unlearnt, and priced."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.poisoning.measure import PoisonedStudy, measure_poisoning
    from unlearn.studies.poisoning.options import Poison, PoisonGan, PoisoningOptions
    from unlearn.studies.poisoning.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["Poison", "PoisonGan", "PoisonedStudy", "PoisoningOptions", "measure_poisoning", "summarise"]
