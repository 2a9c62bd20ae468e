"""Influence and Newton steps of a whole network against true refits."""

from unlearn.studies.full_network.curvature import Prediction, assess
from unlearn.studies.full_network.groups import Group, plan_groups
from unlearn.studies.full_network.measure import SeedStudy, Truth, measure_seed
from unlearn.studies.full_network.problem import NetworkProblem

__all__ = ["Group", "NetworkProblem", "Prediction", "SeedStudy", "Truth", "assess", "measure_seed", "plan_groups"]
