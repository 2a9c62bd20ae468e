"""Fidelity of releases: distances of profiles to held-out households, beside those of real households."""

from unlearn.studies.fidelity.measure import compare_fidelity, measure_fidelity
from unlearn.studies.fidelity.samples import FidelityOptions
from unlearn.studies.fidelity.verdict import summarise_fidelity

__all__ = ["FidelityOptions", "compare_fidelity", "measure_fidelity", "summarise_fidelity"]
