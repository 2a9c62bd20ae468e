"""Figures and pages, drawn from records alone."""
