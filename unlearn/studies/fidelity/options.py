"""Options of the study of fidelity."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.studies._shared.options import FidelityOptions, require_generators


@dataclass(frozen=True)
class FidelityStudyOptions(FidelityOptions):
    """How fidelity is measured, see `FidelityOptions`, and

    Attributes:
        baselines: generators that are measured, too, by name.
        hourly: compare everything in steps of an hour, as a release of hours is anyway, so that one figure has both.
    """

    baselines: tuple[str, ...] = ("shuffled_hours", "independent_gaussian", "resampled")
    hourly: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_generators("fidelity.baselines", self.baselines)
