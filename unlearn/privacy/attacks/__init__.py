"""Attacks: they take arrays and callables, and say how much of its training data something gives away."""

from unlearn.privacy.attacks.likelihood_ratio import likelihood_ratio_scores
from unlearn.privacy.attacks.loss import loss_scores
from unlearn.privacy.attacks.outcome import Estimate, Outcome, measure_attack, require_enough_records
from unlearn.privacy.attacks.shadow_heads import bootstrap_weights, fit_heads, random_subsets, residuals_of

__all__ = [
    # the one measure
    "Estimate", "Outcome", "measure_attack", "require_enough_records",
    # scores
    "likelihood_ratio_scores", "loss_scores",
    # shadow models of a forecaster's head
    "bootstrap_weights", "fit_heads", "random_subsets", "residuals_of",
]  # fmt: skip
