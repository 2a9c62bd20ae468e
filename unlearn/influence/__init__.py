"""Influence of training samples on what a forecaster is judged by."""

from unlearn.influence.module import ModuleObjective, mean_squared_error
from unlearn.influence.scores import CriterionGradient, criterion_gradient, influence_scores

__all__ = [
    "CriterionGradient",
    "ModuleObjective",
    "criterion_gradient",
    "influence_scores",
    "mean_squared_error",
]
