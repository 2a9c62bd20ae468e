"""Figures and pages, drawn from records alone."""

from unlearn.plotting.figures import paper_figures, save_all
from unlearn.plotting.report import write_report

__all__ = ["paper_figures", "save_all", "write_report"]
