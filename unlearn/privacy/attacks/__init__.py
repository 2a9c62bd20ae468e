"""Attacks: they take arrays and callables, and say how much of its training data something gives away."""

from unlearn.privacy.attacks.likelihood_ratio import likelihood_ratio_scores
from unlearn.privacy.attacks.outcome import Estimate, Outcome, measure_attack, require_enough_records

__all__ = ["Estimate", "Outcome", "measure_attack", "require_enough_records", "likelihood_ratio_scores"]
