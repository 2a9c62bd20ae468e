"""Options of meters of households and buildings, without what it takes to import the meters."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_choice, require_fraction
from unlearn.errors import InputError

#: Kinds and the shortest and longest event of each, in hours.
KINDS: dict[str, tuple[int, int]] = {
    "spike": (1, 3),
    "dropout": (3, 24),
    "stuck": (12, 48),
    "shift": (24, 72),
    "theft": (168, 504),
    "level_shift": (48, 168),
    "night_bypass": (120, 336),
}


@dataclass(frozen=True)
class InjectionOptions:
    """How much is injected.

    Attributes:
        share: of each building's hours that lie in events, in the mean over draws.
        kinds: what is injected. All take the same number of hours in the mean: their events are drawn from a Poisson
            law.
    """

    share: float = 0.05
    kinds: tuple[str, ...] = tuple(KINDS)

    def __post_init__(self) -> None:
        require_fraction("injection.share", self.share)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError(f"injection.kinds: expected at least one, each once, got {list(self.kinds)}.")
        for kind in self.kinds:
            require_choice("injection.kinds", kind, KINDS)
