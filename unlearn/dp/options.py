"""Options of differential privacy, without what it takes to import the mechanisms."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_count, require_not_negative, require_positive
from unlearn.errors import InputError


@dataclass(frozen=True)
class SgdOptions:
    """Settings of private training.

    Attributes:
        clip: Euclidean norm that a household's gradient is clipped to.
        noise_multiplier: standard deviation of the noise over `clip`; `noise_multiplier_for` finds it.
        sampling_rate: chance of a household to take part in a step, q in (0, 1].
        steps: how many; fixed in advance, so that when to stop tells nothing.
    """

    clip: float
    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        require_positive("clip", self.clip)
        require_not_negative("noise_multiplier", self.noise_multiplier)
        require_sampling_rate(self.sampling_rate)
        require_count("steps", self.steps)


def require_sampling_rate(value: float) -> float:
    """Return `value` if it is a probability above 0."""
    if require_positive("sampling_rate", value) > 1:
        raise InputError(f"sampling_rate: expected at most 1, got {value:g}: it is the chance to take part in a step.")
    return float(value)
