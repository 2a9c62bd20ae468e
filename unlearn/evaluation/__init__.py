"""How good and how complete an unlearnt forecaster is, as tidy records."""

from unlearn.evaluation.anomaly.archive import ScoreArchive, load_archive, save_archive
from unlearn.evaluation.anomaly.measure import MeasureOptions, measure_detector
from unlearn.evaluation.anomaly.score import score_division
from unlearn.evaluation.anomaly.sweep import measure_thresholds
from unlearn.evaluation.completeness import completeness
from unlearn.evaluation.deletion.audit import PARTS, Audit
from unlearn.evaluation.deletion.options import AuditOptions
from unlearn.evaluation.derivative import published_derivative
from unlearn.evaluation.describe import describe_release
from unlearn.evaluation.describe_feeder import describe_feeder
from unlearn.evaluation.fidelity.compare import compare_fidelity, measure_fidelity
from unlearn.evaluation.fidelity.real import FidelityOptions
from unlearn.evaluation.full_network import SeedStudy, Truth, measure_seed
from unlearn.evaluation.groups import Group, plan_groups
from unlearn.evaluation.household_load.measure import HouseholdLoadOptions, measure_household_load
from unlearn.evaluation.leakage.calibration import known_releases
from unlearn.evaluation.leakage.options import LeakageOptions
from unlearn.evaluation.leakage.outliers import measure_outliers, pool_outliers, score_outliers
from unlearn.evaluation.leakage.release import measure_attributes, measure_leakage
from unlearn.evaluation.measure import METRICS, HourlyMetrics, measure, measure_forecast, sample_hours
from unlearn.evaluation.network_curvature import Prediction
from unlearn.evaluation.network_problem import NetworkProblem
from unlearn.evaluation.network_quality import assess
from unlearn.evaluation.poisoning.measure import PoisonedStudy
from unlearn.evaluation.poisoning.options import PoisoningOptions
from unlearn.evaluation.sensitivity import sensitivity
from unlearn.evaluation.study import PROTOCOLS, Study
from unlearn.evaluation.tradeoff import tradeoff
from unlearn.evaluation.utility.measure import UtilityOptions, measure_utility, training_part

__all__ = [
    # what is measured
    "METRICS", "HourlyMetrics", "measure", "measure_forecast", "sample_hours",
    # one forecaster under one protocol
    "PROTOCOLS", "Study",
    # the experiments of the paper
    "completeness", "sensitivity", "tradeoff",
    # how much the published gradient matters
    "published_derivative",
    # evidence that a deletion happened
    "PARTS", "Audit", "AuditOptions",
    # detectors of anomalies: their scores, kept, and what they are worth
    "MeasureOptions", "ScoreArchive", "load_archive", "measure_detector", "measure_thresholds", "save_archive",
    "score_division",
    # poisoned training hours: found, unlearnt, priced
    "PoisonedStudy", "PoisoningOptions",
    # influence and Newton steps of a whole network against true refits
    "Group", "NetworkProblem", "Prediction", "SeedStudy", "Truth", "assess", "measure_seed", "plan_groups",
    # how near released meter data is to real households
    "FidelityOptions", "compare_fidelity", "measure_fidelity",
    # what it is good for
    "UtilityOptions", "measure_utility", "training_part",
    # what it gives away of the households that it was learnt from
    "LeakageOptions", "known_releases", "measure_attributes", "measure_leakage", "measure_outliers", "pool_outliers",
    "score_outliers",
    # forecasters of households under differential privacy
    "HouseholdLoadOptions", "measure_household_load",
    # what a release, or a generated feeder, looks like
    "describe_feeder", "describe_release",
]  # fmt: skip
