"""Figures and pages, drawn from records alone; they need matplotlib and Jinja2 (extra `experiments`)."""

from unlearn.checks import require_package

for _module in ("matplotlib", "jinja2"):
    require_package("unlearn.plotting", _module, '"unlearn[experiments]"')

from unlearn.plotting.anomaly import save_anomaly
from unlearn.plotting.anomaly_images import save_detector_images
from unlearn.plotting.anomaly_page import write_anomaly_page
from unlearn.plotting.anomaly_text import summarise_anomaly
from unlearn.plotting.deletion import save_deletion
from unlearn.plotting.deletion_page import write_deletion_page
from unlearn.plotting.deletion_text import summarise_deletion
from unlearn.plotting.feeder import save_feeder
from unlearn.plotting.feeder_page import write_feeder_page
from unlearn.plotting.feeder_text import summarise_feeder
from unlearn.plotting.fidelity import save_fidelity
from unlearn.plotting.fidelity_page import write_fidelity_page
from unlearn.plotting.fidelity_text import summarise_fidelity
from unlearn.plotting.figures import paper_figures, save_all
from unlearn.plotting.full_network import save_full_network
from unlearn.plotting.full_network_page import write_full_network_page
from unlearn.plotting.full_network_text import summary
from unlearn.plotting.leakage import save_leakage
from unlearn.plotting.leakage_page import write_leakage_page
from unlearn.plotting.leakage_text import summarise_leakage
from unlearn.plotting.poisoning import save_poisoning
from unlearn.plotting.poisoning_page import write_poisoning_page
from unlearn.plotting.poisoning_text import summarise_poisoning
from unlearn.plotting.private_training import save_private_training
from unlearn.plotting.private_training_page import write_private_training_page
from unlearn.plotting.private_training_text import summarise_private_training
from unlearn.plotting.release import save_release
from unlearn.plotting.release_page import write_release_page
from unlearn.plotting.release_text import summarise_release
from unlearn.plotting.report import write_report
from unlearn.plotting.spread import is_spread, save_spread
from unlearn.plotting.thresholds import save_thresholds
from unlearn.plotting.thresholds_page import write_thresholds_page
from unlearn.plotting.thresholds_text import summarise_thresholds
from unlearn.plotting.utility import save_utility
from unlearn.plotting.utility_page import write_utility_page
from unlearn.plotting.utility_text import summarise_utility

__all__ = [
    # the paper
    "is_spread", "paper_figures", "save_all", "save_spread", "write_report",
    # fidelity of released meter data
    "save_fidelity", "summarise_fidelity", "write_fidelity_page",
    # utility of released meter data
    "save_utility", "summarise_utility", "write_utility_page",
    # what released meter data gives away
    "save_leakage", "summarise_leakage", "write_leakage_page",
    # what privacy costs
    "save_private_training", "summarise_private_training", "write_private_training_page",
    # a release of daily profiles
    "save_release", "summarise_release", "write_release_page",
    # a generated feeder
    "save_feeder", "summarise_feeder", "write_feeder_page",
    # an audited deletion
    "save_deletion", "summarise_deletion", "write_deletion_page",
    # detectors of anomalies
    "save_anomaly", "save_detector_images", "summarise_anomaly", "write_anomaly_page",
    # thresholds of a detector
    "save_thresholds", "summarise_thresholds", "write_thresholds_page",
    # poisoned training data
    "save_poisoning", "summarise_poisoning", "write_poisoning_page",
    # the whole network
    "save_full_network", "summary", "write_full_network_page",
]  # fmt: skip
