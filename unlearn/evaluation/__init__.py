"""How good and how complete an unlearnt forecaster is, as tidy records."""

from unlearn.evaluation.completeness import completeness
from unlearn.evaluation.measure import METRICS, HourlyMetrics, measure, sample_hours
from unlearn.evaluation.sensitivity import sensitivity
from unlearn.evaluation.study import PROTOCOLS, Study
from unlearn.evaluation.tradeoff import tradeoff

__all__ = [
    # what is measured
    "METRICS", "HourlyMetrics", "measure", "sample_hours",
    # one forecaster under one protocol
    "PROTOCOLS", "Study",
    # the experiments of the paper
    "completeness", "sensitivity", "tradeoff",
]  # fmt: skip
