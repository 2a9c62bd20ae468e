"""The paper's claims: influence, complete unlearning and re-weighting, priced on the grid."""

from unlearn.studies._shared.measure import METRICS, HourlyMetrics, measure, measure_forecast, sample_hours
from unlearn.studies._shared.study import PROTOCOLS, Study
from unlearn.studies.paper.measure import completeness, published_derivative, sensitivity, tradeoff

__all__ = [
    "HourlyMetrics",
    "METRICS",
    "PROTOCOLS",
    "Study",
    "completeness",
    "measure",
    "measure_forecast",
    "published_derivative",
    "sample_hours",
    "sensitivity",
    "tradeoff",
]
