"""Differentially private statistics of meters: queries, mechanisms, budgets, what answers are worth."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.release.base import Answer, Contribution, Query, Sensitivity, View
    from unlearn.privacy.release.bounding import bounded_steps
    from unlearn.privacy.release.budget import Budget, Filter, Spent
    from unlearn.privacy.release.mechanisms import MECHANISMS, PromiseError
    from unlearn.privacy.release.queries import Count, Histogram, LoadCurve, Mean, Peak, Sum
    from unlearn.privacy.release.selections import Quantile
    from unlearn.privacy.release.session import PrivateRelease
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # answers within a budget
    "PrivateRelease", "Answer", "Budget", "Filter", "Spent",
    # what one contributor may move
    "Contribution", "Sensitivity", "View", "bounded_steps",
    # queries
    "Query", "Sum", "LoadCurve", "Peak", "Mean", "Count", "Histogram", "Quantile",
    # noise
    "MECHANISMS", "PromiseError",
]  # fmt: skip
