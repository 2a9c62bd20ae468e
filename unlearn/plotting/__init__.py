"""Figures and pages, drawn from records alone."""

from unlearn.plotting.figures import paper_figures, save_all
from unlearn.plotting.full_network import save_full_network
from unlearn.plotting.full_network_page import write_full_network_page
from unlearn.plotting.full_network_text import summary
from unlearn.plotting.report import write_report
from unlearn.plotting.spread import is_spread, save_spread

__all__ = [
    # the paper
    "is_spread", "paper_figures", "save_all", "save_spread", "write_report",
    # the whole network
    "save_full_network", "summary", "write_full_network_page",
]  # fmt: skip
