"""Six techniques and their combinations on the same two tasks: what each costs, and what it hides from whom."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.comparison.measure import study_comparison
    from unlearn.studies.comparison.options import ComparisonOptions
    from unlearn.studies.comparison.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["ComparisonOptions", "study_comparison", "summarise"]
