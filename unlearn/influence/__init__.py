"""Influence of training samples on what a model is judged by: forecasters and criteria, or any PyTorch model.

The modules for any model take the place of torch-influence: its names, arguments and meanings.

There are two kinds of training problem. `unlearn.linalg.Objective` is a sum over samples in memory, each with a weight:
re-weighting needs these weights, and a head gives its gradients and Hessian in closed form (`HeadObjective`; of a
small module, `ModuleObjective` has them by autograd). `BaseObjective` is the mean loss of a batch and its
regularisation, streamed from a loader of any size. They are not one, because a user's batch loss has no place for
weights, and because a head that were only a batch loss would lose its closed form. They share θ as a flat vector
(`FlatModel`), the block preconditioner and the solvers.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.influence.base import BaseInfluenceModule
    from unlearn.influence.cg import AutogradInfluenceModule, CGInfluenceModule
    from unlearn.influence.customers import CustomerInfluence, customer_influence
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
    # customers: all of them in one product
    "CustomerInfluence", "customer_influence",
    # any model
    "AutogradInfluenceModule", "BaseInfluenceModule", "BaseObjective", "CGInfluenceModule", "KFACInfluenceModule",
    "LiSSAInfluenceModule", "PairObjective",
]  # fmt: skip
