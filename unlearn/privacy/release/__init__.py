"""Differentially private statistics of meters: queries, mechanisms, budgets, what answers are worth."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.release.accuracy import error_bound, scale_for_error
    from unlearn.privacy.release.base import Answer, Contribution, Query, Sensitivity, View
    from unlearn.privacy.release.bounding import bounded_steps
    from unlearn.privacy.release.budget import Budget, Filter, Spent
    from unlearn.privacy.release.consistent import Hierarchy, consistent_scale, make_consistent, non_negative
    from unlearn.privacy.release.local import distributed_sum, local_sum
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
    # noise, and how far it takes an answer
    "MECHANISMS", "PromiseError", "error_bound", "scale_for_error",
    # answers that add up
    "Hierarchy", "consistent_scale", "make_consistent", "non_negative",
    # noise that meters add themselves
    "distributed_sum", "local_sum",
]  # fmt: skip
