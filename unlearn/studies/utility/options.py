"""Options of the study of utility."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.studies._shared.options import UtilityOptions, require_generators


@dataclass(frozen=True)
class UtilityStudyOptions(UtilityOptions):
    """How utility is measured, see `UtilityOptions`, and

    Attributes:
        baselines: generators that are measured, too, by name.
    """

    baselines: tuple[str, ...] = ("independent_gaussian",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_generators("utility.baselines", self.baselines)
