"""How households are divided, what is released, and over which seeds it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count
from unlearn.errors import InputError
from unlearn.generators.base import GENERATORS


@dataclass(frozen=True)
class SynthesisOptions:
    """How households are divided, what is released, and over which seeds it is measured.

    Attributes:
        profiles: of a release.
        holdout: share of the households that generators never see.
        test_every: every so many calendar weeks is kept from generators and forecasters.
        seeds: of division, generator and measurement.
        folder: releases and records of each seed are kept here and reused.
    """

    profiles: int = 40_000
    holdout: float = 0.5
    test_every: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    folder: str = field(default="results/synthetic", compare=False)

    def __post_init__(self) -> None:
        require_count("synthesis.profiles", self.profiles)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"synthesis.seeds: expected at least one seed, each once, got {list(self.seeds)}.")


def require_generators(name: str, generators: tuple[str, ...]) -> None:
    """Refuse names that are no generators'.

    Raises:
        InputError: an unknown name.
    """
    for generator in generators:
        require_choice(name, generator, GENERATORS)
