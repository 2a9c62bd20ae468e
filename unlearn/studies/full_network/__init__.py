"""Influence and Newton steps of a whole network against true refits."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.full_network.curvature import Prediction, assess
    from unlearn.studies.full_network.options import FullNetworkOptions
    from unlearn.studies.full_network.problem import Group, NetworkProblem, plan_groups
    from unlearn.studies.full_network.run import FullNetworkRun, SeedStudy, Truth, measure_seed
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "FullNetworkOptions", "FullNetworkRun", "Group", "NetworkProblem", "Prediction", "SeedStudy", "Truth", "assess",
    "measure_seed", "plan_groups",
]  # fmt: skip
