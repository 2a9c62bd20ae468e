"""What the study of detectors fits and how it is judged, and the thresholds that are tried afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_count, require_each_once
from unlearn.detectors.base import Detector
from unlearn.detectors.metrics import ThresholdRule
from unlearn.detectors.windows import DivisionOptions


@dataclass(frozen=True)
class DetectionOptions:
    """Settings of the comparison of detectors.

    Attributes:
        detectors: names of `unlearn.detectors.DETECTORS` for their default settings, or objects.
        seeds: of injection, division of the buildings, and detectors.
        rule: how thresholds are chosen, on validation.
        draws: of whole buildings, for the intervals.
        division: who is seen when.
        folder: where fitted detectors, their scores and records are kept and reused.
    """

    detectors: tuple[str | Detector, ...] = ("level", "seasonal", "linear", "ecod", "autoencoder", "gan")
    seeds: tuple[int, ...] = (0, 1, 2)
    rule: ThresholdRule = field(default_factory=ThresholdRule)
    draws: int = 200
    division: DivisionOptions = field(default_factory=DivisionOptions)
    folder: str = field(default="results/detection", compare=False)

    def __post_init__(self) -> None:
        for name in ("detectors", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_each_once("detection.seeds", self.seeds)
        require_count("detection.draws", self.draws)


@dataclass(frozen=True)
class ThresholdsOptions:
    """Thresholds that are tried on the scores of a finished run.

    Attributes:
        run: its folder.
        rules: how thresholds are chosen, on validation.
        draws: of whole buildings, for the intervals.
        steps: thresholds of the sweep that the page's slider stops at, beside those of the rules.
    """

    run: str | None = None
    rules: tuple[ThresholdRule, ...] = (
        ThresholdRule("percentile", 90),
        ThresholdRule("percentile", 95),
        ThresholdRule("percentile", 99),
        ThresholdRule(),
    )
    draws: int = 200
    steps: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        require_each_once("thresholds.rules", self.rules)
        for name in ("draws", "steps"):
            require_count(f"thresholds.{name}", getattr(self, name))
