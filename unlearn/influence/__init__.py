"""Influence of training samples on what a model is judged by: forecasters and criteria, or any PyTorch model.

The second half takes the place of torch-influence: its names, arguments and meanings.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.influence.base import BaseInfluenceModule
    from unlearn.influence.cg import AutogradInfluenceModule, CGInfluenceModule
    from unlearn.influence.kronecker import KFACInfluenceModule
    from unlearn.influence.lissa import LiSSAInfluenceModule
    from unlearn.influence.module import ModuleObjective, mean_squared_error
    from unlearn.influence.risk import BaseObjective
    from unlearn.influence.scores import CriterionGradient, PairObjective, criterion_gradient, influence_scores
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # forecasters
    "CriterionGradient", "ModuleObjective", "criterion_gradient", "influence_scores", "mean_squared_error",
    # any model
    "AutogradInfluenceModule", "BaseInfluenceModule", "BaseObjective", "CGInfluenceModule", "KFACInfluenceModule",
    "LiSSAInfluenceModule", "PairObjective",
]  # fmt: skip
