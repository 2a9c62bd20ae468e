"""The study of a release: a generator's profiles, and their description with and without the real ones beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.generators.base import Generator
from unlearn.households import DailyProfiles
from unlearn.studies._shared.releases import Releases
from unlearn.studies.release.measure import REAL, describe_release


@dataclass(frozen=True, eq=False)
class Released:
    """A release and what is said of it.

    Attributes:
        profiles: what was released.
        folder: where profiles and model are kept.
        card: what the generator says of itself.
        records: description of the release, beside a private one its public start; to be handed over with it.
        comparison: description beside the real households, for their owner alone; None where they are too few for any
            number not to be about single ones.
    """

    profiles: DailyProfiles
    folder: Path
    card: dict[str, Any]
    records: pd.DataFrame
    comparison: pd.DataFrame | None


def study_release(releases: Releases, generator: Generator, seed: int = 0) -> Released:
    """Make a release and describe it.

    Args:
        releases: households, and how they are divided.
        generator: by which profiles are released.
        seed: of division and generator.

    Raises:
        InputError: whatever the generator refuses.
    """
    division = releases.divide(seed)
    profiles = releases.release(generator, division, seed)
    labels = {"data": releases.households.name, "seed": seed}
    public = generator.public(division.train, releases.options.profiles, seed, releases.folder)
    comparison = describe_release(profiles, division.train, labels).to_frame()
    return Released(
        profiles,
        releases.folder_of(generator, division, seed),
        releases.card(generator, division, seed),
        describe_release(profiles, None, labels, public).to_frame(),
        comparison if REAL in set(comparison["generator"]) else None,
    )
