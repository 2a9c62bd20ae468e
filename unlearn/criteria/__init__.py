"""Criteria: what a forecast is judged by. One protocol, `criterion(forecast, load) -> (n,)`."""

from unlearn.criteria.base import Criterion
from unlearn.criteria.named import CRITERIA, make_criterion
from unlearn.criteria.operating import OperatingCostCriterion
from unlearn.criteria.statistical import MAPE, MSE, Weighted

__all__ = ["CRITERIA", "MAPE", "MSE", "Criterion", "OperatingCostCriterion", "Weighted", "make_criterion"]
