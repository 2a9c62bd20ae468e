"""How good and how complete an unlearnt forecaster is, as tidy records."""

from unlearn.evaluation.completeness import completeness
from unlearn.evaluation.derivative import published_derivative
from unlearn.evaluation.measure import METRICS, HourlyMetrics, measure, measure_forecast, sample_hours
from unlearn.evaluation.sensitivity import sensitivity
from unlearn.evaluation.study import PROTOCOLS, Study
from unlearn.evaluation.tradeoff import tradeoff

__all__ = [
    # what is measured
    "METRICS", "HourlyMetrics", "measure", "measure_forecast", "sample_hours",
    # one forecaster under one protocol
    "PROTOCOLS", "Study",
    # the experiments of the paper
    "completeness", "sensitivity", "tradeoff",
    # how much the published gradient matters
    "published_derivative",
]  # fmt: skip
