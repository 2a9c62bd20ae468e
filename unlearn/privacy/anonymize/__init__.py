"""De-identification: pseudonyms, aggregation with its rules, generalisation, coarser time.

None of them is a guarantee: `unlearn.attacks` measures what each leaves.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.anonymize.aggregation import Aggregated, aggregate
    from unlearn.privacy.anonymize.coarsening import Coarser, DailyExtremes, coarser, daily_extremes, rounded
    from unlearn.privacy.anonymize.generalisation import (
        Generalised,
        Losses,
        achieved_k,
        achieved_l,
        equivalence_classes,
        k_anonymous,
    )
    from unlearn.privacy.anonymize.hierarchies import Hierarchy, Intervals, Names
    from unlearn.privacy.anonymize.identities import IdentityKey, IdentityMap
    from unlearn.privacy.anonymize.meters import Pseudonymised, pseudonymised, pseudonymised_by_period
    from unlearn.privacy.anonymize.microaggregation import Microaggregated, crowd_sizes, microaggregated
    from unlearn.privacy.anonymize.pseudonyms import PseudonymKeys, pseudonyms_of
    from unlearn.privacy.anonymize.suppression import REASONS, AggregationRule, suppressed
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # pseudonyms
    "IdentityKey", "IdentityMap", "Pseudonymised", "PseudonymKeys", "pseudonymised", "pseudonymised_by_period",
    "pseudonyms_of",
    # sums over groups of customers, without those that tell of few
    "REASONS", "Aggregated", "AggregationRule", "aggregate", "suppressed",
    # coarser time and energy
    "Coarser", "DailyExtremes", "coarser", "daily_extremes", "rounded",
    # labels in common with k others, and l values of what shall stay unknown
    "Generalised", "Hierarchy", "Intervals", "Losses", "Names", "achieved_k", "achieved_l", "equivalence_classes",
    "k_anonymous",
    # curves in common with k others
    "Microaggregated", "crowd_sizes", "microaggregated",
]  # fmt: skip
