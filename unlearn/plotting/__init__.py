"""Figures and pages, drawn from records alone."""

from unlearn.plotting.figures import paper_figures, save_all
from unlearn.plotting.report import write_report
from unlearn.plotting.spread import is_spread, save_spread

__all__ = ["is_spread", "paper_figures", "save_all", "save_spread", "write_report"]
