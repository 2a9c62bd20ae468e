"""Households of a study, their division by seed, and what generators release of them; each release is kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.checks import short_repr
from unlearn.generators.base import Generator, make_generator
from unlearn.households import (
    DailyProfiles,
    HouseholdProfiles,
    load_profiles,
    save_profiles,
    split_households,
    with_attribute_as_segment,
)
from unlearn.records import RecordTable, read_card
from unlearn.registry import settings_of
from unlearn.store import Store
from unlearn.studies._shared.bus_loads import training_days
from unlearn.studies._shared.options import SynthesisOptions
from unlearn.studies._shared.study import PACKAGES

PROFILES, MODEL = "profiles.parquet", "model"


@short_repr
@dataclass(frozen=True, eq=False)
class Division:
    """Households of a seed.

    Attributes:
        train: days of training households that are not in test weeks, which generators learn from.
        holdout: the same days of the other households.
        whole_train: training households with all their days.
        whole_holdout: the other households with all their days.
    """

    train: HouseholdProfiles
    holdout: HouseholdProfiles
    whole_train: HouseholdProfiles
    whole_holdout: HouseholdProfiles

    def by_attribute(self, households: HouseholdProfiles, attribute: str) -> Division:
        """The same division, with an attribute of all households as everybody's segment."""
        values = with_attribute_as_segment(households, attribute).segments
        parts = (self.train, self.holdout, self.whole_train, self.whole_holdout)
        return Division(*(with_attribute_as_segment(part, attribute, values) for part in parts))


class Releases:
    """Households, and releases of generators that learn from them, each made once and kept.

    Attributes:
        households: all of them.
        options: how they are divided, and what is released.
        folder: where releases, records and what generators share are kept.
    """

    def __init__(self, households: HouseholdProfiles, options: SynthesisOptions) -> None:
        self.households, self.options = households, options
        self.folder = Path(options.folder)
        # Names of what is kept depend on the data.
        self.store = Store(self.folder, confidential=True)

    def divide(self, seed: int) -> Division:
        """Divide households and weeks."""
        whole = split_households(self.households, self.options.holdout, seed)
        train, holdout = (part.take(training_days(part.date, self.options.test_every)) for part in whole)
        return Division(train, holdout, *whole)

    def release(self, generator: Generator, division: Division, seed: int) -> DailyProfiles:
        """The release of a generator, made once and kept.

        Raises:
            InputError: whatever the generator refuses.
            DataError: the release of a private generator is damaged, which is not made anew by itself.
        """

        def make(folder: Path) -> None:
            released = generator.release(
                division.train, self.options.profiles, seed, folder / MODEL, shared=self.folder
            )
            save_profiles(released, folder / PROFILES)

        released = self.store.get(
            make=make,
            read=lambda folder: load_profiles(folder / PROFILES),
            remake=not generator.private,  # a second fit would be a second release of the same households
            **self._depends(generator, division, seed),
        )
        return replace(released, name=generator.name)

    def folder_of(self, generator: Generator, division: Division, seed: int) -> Path:
        """Where a release is kept: named after everything that it depends on, which its generator's name is not."""
        return self.store.artefact(**self._depends(generator, division, seed)).folder

    def _depends(self, generator: Generator, division: Division, seed: int) -> dict[str, Any]:
        return {
            "kind": "release",
            "name": type(generator).__name__,
            "options": {**described(generator), "n": self.options.profiles, "seed": seed},
            # Without names: the same households called otherwise would spend privacy once more.
            "data": {"train": division.train.fingerprint, "households": self.households.fingerprint},
            "code": (type(generator), save_profiles),
            "packages": PACKAGES,
        }

    def card(self, generator: Generator, division: Division, seed: int) -> dict[str, Any]:
        """What a generator says of itself; its settings where it has no card of its own."""
        folder = self.folder_of(generator, division, seed) / MODEL
        return read_card(folder) if folder.is_dir() else {"kind": generator.name, "options": settings_of(generator)}

    def table(
        self,
        study: str,
        name: str | None = None,
        *,
        make: Callable[[], RecordTable | pd.DataFrame],
        options: dict[str, Any],
        data: dict[str, DailyProfiles],
        code: Sequence[object],
    ) -> pd.DataFrame:
        """Records that were measured before with the same settings, data and code, or that `make` measures.

        They stand in the folder of the study, under its name or their own. `options` are everything that they depend on
        beside profiles, by role, and the functions and classes that measure.
        """

        def measured() -> pd.DataFrame:
            found = make()
            return found.to_frame() if isinstance(found, RecordTable) else found

        everything = {**data, "households": self.households}
        return self.store.table(
            study, name, make=measured, options=options, data=everything, code=code, packages=PACKAGES
        )


def with_baselines(generator: Generator, baselines: Iterable[str | Generator]) -> list[Generator]:
    """A generator, and those that it is measured beside, by name or as objects; each name once."""
    others = map(make_generator, baselines)
    return [generator, *(other for other in others if other.name != generator.name)]


def described(generator: Generator) -> dict[str, Any]:
    """The class of a generator, and its settings that releases depend on."""
    own = type(generator)
    return {"class": f"{own.__module__}.{own.__qualname__}", "settings": settings_of(generator)}


def numbered(releases: Iterable[DailyProfiles]) -> dict[str, DailyProfiles]:
    """Releases by their role in a table, in their order."""
    return {f"release_{i}": release for i, release in enumerate(releases)}
