"""Households of a study, their division by seed, and what generators release of them; each release is kept on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import unlearn
from unlearn.checks import short_repr
from unlearn.errors import DataError
from unlearn.generators.base import Generator, make_generator, settings
from unlearn.grid import OperatingCost
from unlearn.households import (
    DailyProfiles,
    HouseholdProfiles,
    load_profiles,
    save_profiles,
    split_households,
    with_attribute_as_segment,
)
from unlearn.records import RecordTable, config_hash, kept_table, provenance, read_card, source_fingerprint
from unlearn.store import create_folder, kept
from unlearn.studies._shared.synthesis import SynthesisOptions
from unlearn.studies._shared.utility.bus_loads import training_days

log = logging.getLogger(__name__)

#: Rooms of the library whose source releases depend on, and those that records of them depend on, too.
GENERATING = ("data", "households", "grid", "dp", "generators")
MEASURING = (*GENERATING, "forecasters", "attacks", "studies")

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
        folder = self.folder_of(generator, division, seed)

        def fill(temporary: Path) -> None:
            released = generator.release(
                division.train, self.options.profiles, seed, temporary / MODEL, shared=self.folder
            )
            save_profiles(released, temporary / PROFILES)

        def make() -> None:
            start = time.perf_counter()
            _only_for_owner(folder.parent)  # names of these folders depend on the data
            create_folder(folder, fill)
            log.info("%s released in %.1f s, kept in %s", generator.name, time.perf_counter() - start, folder)

        def read() -> DailyProfiles:
            if (folder / MODEL).is_dir():
                read_card(folder / MODEL)
            return load_profiles(folder / PROFILES)

        if generator.private and folder.exists():
            try:
                released = read()
            except DataError as error:
                # A second fit would be a second release of the same households.
                raise DataError(
                    f"{error} A private release is not made anew by itself: the same privacy would be spent once more. "
                    f"Remove {folder} to do so."
                ) from error
        else:
            released = kept(folder, read, make)
        return replace(released, name=generator.name)

    def folder_of(self, generator: Generator, division: Division, seed: int) -> Path:
        """Where a release is kept: named after everything that it depends on, which its generator's name is not."""
        kind = type(generator)
        key: dict[str, Any] = {"generator": [kind.__module__, kind.__qualname__, settings(generator)], "seed": seed}
        key |= {"n": self.options.profiles, "train": division.train.fingerprint, "made_of": _made_of(GENERATING)}
        return self.folder / "releases" / f"{kind.__name__}-{config_hash(key)}"

    def card(self, generator: Generator, division: Division, seed: int) -> dict[str, Any]:
        """What a generator says of itself; its settings where it has no card of its own."""
        folder = self.folder_of(generator, division, seed) / MODEL
        return read_card(folder) if folder.is_dir() else {"kind": generator.name, "options": settings(generator)}

    def table(self, name: str, key: dict[str, Any], make: Callable[[], RecordTable | pd.DataFrame]) -> pd.DataFrame:
        """Records that were measured before with the same key, or that `make` measures."""
        file = self.folder / "records" / f"{name}-{config_hash({**key, 'made_of': _made_of(MEASURING)})}.parquet"

        def measure() -> pd.DataFrame:
            start = time.perf_counter()
            _only_for_owner(file.parent)
            found = make()
            log.info("%s measured in %.1f s, kept in %s", name, time.perf_counter() - start, file)
            return found.to_frame() if isinstance(found, RecordTable) else found

        return kept_table(file, measure)


def with_baselines(generator: Generator, baselines: Iterable[str | Generator]) -> list[Generator]:
    """A generator, and those that it is measured beside, by name or as objects; each name once."""
    others = map(make_generator, baselines)
    return [generator, *(other for other in others if other.name != generator.name)]


def fingerprints(**parts: DailyProfiles) -> dict[str, str]:
    """What identifies profiles, by their role."""
    return {name: part.fingerprint for name, part in parts.items()}


def priced_by(cost: OperatingCost | None) -> dict[str, str] | None:
    """What prices depend on: the content of a case, which may change its file and keep its name."""
    return {"case": cost.case.fingerprint, "backend": cost.backend, "bounds": cost.bounds} if cost else None


def _only_for_owner(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _made_of(rooms: Sequence[str]) -> dict[str, Any]:
    """Versions, and the source of some rooms of the library."""
    library = Path(unlearn.__file__).parent
    sources = {room: source_fingerprint(library / room) for room in rooms}
    return {"versions": provenance()["versions"], "sources": sources}
