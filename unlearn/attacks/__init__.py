"""Attacks: they take arrays and callables, and say how much of its training data something gives away."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.attacks.attributes import (
        BoostedTrees,
        Guesses,
        NearestProfile,
        Trial,
        accuracy_of,
        gain_of,
        infer_attribute,
        leak_of,
        majority_guesses,
    )
    from unlearn.attacks.base import (
        ATTACKS,
        CLASSIFIERS,
        Attack,
        Classifier,
        OutlierOptions,
        make_attack,
        make_classifier,
        require_attacks,
        require_enough_records,
    )
    from unlearn.attacks.differencing import Differencing, Finding, PublishedSums, composed, find_differences
    from unlearn.attacks.epsilon import EpsilonBound, audit_epsilon
    from unlearn.attacks.gradient_inversion import Inversion, invert_update
    from unlearn.attacks.inference import inference_risk
    from unlearn.attacks.inversion_errors import InversionError, guesses_from, inversion_error
    from unlearn.attacks.inversion_prior import Prior, prior_of
    from unlearn.attacks.inversion_search import InversionOptions
    from unlearn.attacks.linkability import linkability_risk
    from unlearn.attacks.linkage import Linkage, Ranking, link_by_distance, link_by_match
    from unlearn.attacks.member_update import UpdateRule, WindowShapes, make_update
    from unlearn.attacks.membership import (
        Density,
        Discriminator,
        Distance,
        Nearest,
        RelativeDistance,
        household_scores,
        membership_scores,
        nearest_records,
    )
    from unlearn.attacks.outcome import Estimate, Outcome, bootstrap_weights, measure_attack
    from unlearn.attacks.outliers import (
        Similarity,
        check_copies,
        draw_outliers,
        exact_copies,
        inject_outliers,
        make_outliers,
        most_similar,
    )
    from unlearn.attacks.published import PublishedSeries, known_readings
    from unlearn.attacks.reconstruction import Closeness, closeness_test, compromised_shares, relative_radius
    from unlearn.attacks.relinking import Relinking, relink, usage_features
    from unlearn.attacks.risk import Risk, exact_rate, measure_risk, wilson_rate
    from unlearn.attacks.shadow import fit_heads, likelihood_ratio_scores, loss_scores, random_subsets, residuals_of
    from unlearn.attacks.singling_out import singling_out_risk
    from unlearn.attacks.sums import SumOptions, attack_sums, sum_scores
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the one measure
    "Estimate", "Outcome", "measure_attack", "require_enough_records",
    # membership in the training of a model, by what it does on a record
    "likelihood_ratio_scores", "loss_scores",
    # shadow models of a forecaster's head
    "bootstrap_weights", "fit_heads", "random_subsets", "residuals_of",
    # membership in the training of a generator, from its release
    "ATTACKS", "Attack", "Density", "Discriminator", "Distance", "RelativeDistance", "household_scores", "make_attack",
    "membership_scores", "require_attacks",
    # outliers
    "OutlierOptions", "draw_outliers", "inject_outliers", "make_outliers",
    # reconstruction
    "Closeness", "closeness_test", "compromised_shares", "relative_radius",
    # copies
    "Similarity", "exact_copies", "check_copies", "most_similar",
    # attributes
    "CLASSIFIERS", "BoostedTrees", "Classifier", "Guesses", "NearestProfile", "Trial", "accuracy_of", "gain_of",
    "infer_attribute", "leak_of", "majority_guesses", "make_classifier",
    # who fits a few known readings
    "Linkage", "PublishedSeries", "Ranking", "known_readings", "link_by_distance", "link_by_match",
    # the same households in releases of other times
    "Relinking", "relink", "usage_features",
    # membership in published sums
    "SumOptions", "attack_sums", "sum_scores",
    # a release's own risk: attacks on originals against attacks on controls
    "Risk", "exact_rate", "inference_risk", "linkability_risk", "measure_risk",
    "singling_out_risk", "wilson_rate",
    # what sums tell of few when they are added and subtracted
    "Differencing", "Finding", "PublishedSums", "composed", "find_differences",
    # the promise of a private mechanism
    "EpsilonBound", "audit_epsilon",
    # load windows that are rebuilt from a member's update
    "Inversion", "InversionError", "InversionOptions", "Prior", "UpdateRule", "WindowShapes",
    "guesses_from", "inversion_error", "invert_update", "make_update", "prior_of",
    # neighbours
    "Nearest", "nearest_records",
]  # fmt: skip
