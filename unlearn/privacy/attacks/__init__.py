"""Attacks: they take arrays and callables, and say how much of its training data something gives away."""

from unlearn.privacy.attacks.attributes import Guesses, accuracy_of, gain_of, infer_attribute, majority_guesses
from unlearn.privacy.attacks.likelihood_ratio import likelihood_ratio_scores
from unlearn.privacy.attacks.membership import ATTACKS, household_scores, membership_scores
from unlearn.privacy.attacks.nearest import Nearest, nearest_records
from unlearn.privacy.attacks.outcome import Estimate, Outcome, measure_attack, require_enough_records
from unlearn.privacy.attacks.outliers import (
    OutlierOptions,
    OutlierSets,
    draw_outliers,
    inject_outliers,
    make_outliers,
)
from unlearn.privacy.attacks.reconstruction import (
    Closeness,
    closeness_test,
    compromised_shares,
    relative_radius,
    share_of,
)
from unlearn.privacy.attacks.similarity import Similarity, Verdict, exact_copies, judge_copies, most_similar

__all__ = [
    # the one measure
    "Estimate",
    "Outcome",
    "measure_attack",
    "require_enough_records",
    # membership in the training of a model
    "likelihood_ratio_scores",
    # membership in the training of a generator, from its release
    "ATTACKS",
    "membership_scores",
    "household_scores",
    # outliers
    "OutlierOptions",
    "OutlierSets",
    "draw_outliers",
    "make_outliers",
    "inject_outliers",
    # reconstruction
    "Closeness",
    "closeness_test",
    "relative_radius",
    "compromised_shares",
    "share_of",
    # copies
    "Similarity",
    "most_similar",
    "exact_copies",
    "Verdict",
    "judge_copies",
    # attributes
    "Guesses",
    "infer_attribute",
    "majority_guesses",
    "accuracy_of",
    "gain_of",
    # neighbours
    "Nearest",
    "nearest_records",
]
