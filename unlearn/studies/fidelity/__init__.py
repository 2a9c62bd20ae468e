"""Fidelity of releases: distances of profiles to held-out households, beside those of real households."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies._shared.fidelity.measure import compare_fidelity, measure_fidelity
    from unlearn.studies._shared.options import FidelityOptions
    from unlearn.studies.fidelity.measure import study_fidelity
    from unlearn.studies.fidelity.options import FidelityStudyOptions
    from unlearn.studies.fidelity.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "FidelityOptions", "FidelityStudyOptions", "compare_fidelity", "measure_fidelity", "study_fidelity", "summarise",
]  # fmt: skip
