"""What a generator is: one class with its settings that releases daily profiles, and the names of those built in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from unlearn.registry import Registry

if TYPE_CHECKING:
    from unlearn.households.by_household import HouseholdProfiles
    from unlearn.households.profiles import DailyProfiles


class Generator(Protocol):
    """A generator of daily profiles: a frozen dataclass of plain settings, with the work as a method.

    A generator of one's own inherits from this class, has a `name` and writes `release`; the rest says that it learns
    from households, is not private, and has nothing else to show.

    Attributes:
        name: what records and figures call its releases.
        learns: whether it learns from the training households. One that does not has nobody to give away.
        private: whether its releases carry a promise of privacy. Fitting it again would spend the same privacy once
            more, so a release that is damaged is not made again by itself, and it is not fitted for attacks.
    """

    name: str
    learns: ClassVar[bool] = True
    private: ClassVar[bool] = False

    def release(
        self, train: HouseholdProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Learn from training households and release profiles.

        Args:
            train: training households, without the days that are tested on.
            n: profiles to release.
            seed: of everything that is drawn.
            folder: where a model is saved, if there is one, with a card (`unlearn.records.write_card`) that says what
                it is; not there yet. None saves none.
            shared: a folder that all releases of a run share, such as for a public start; None shares nothing.

        Returns:
            Exactly n profiles with labels, of this generator's name.
        """
        ...

    def public(
        self, train: HouseholdProfiles, n: int, seed: int = 0, shared: Path | None = None
    ) -> DailyProfiles | None:
        """What was known before any household was looked at, as n profiles; None where that is nothing."""
        return None

    def feeder(self, seed: int, folder: Path) -> dict[str, Any] | None:
        """Write the documented files of a feeder and its meters into a folder, and return its tables; None of others.

        The tables are those of `unlearn.generators.feeder.SyntheticDataPipeline.generate_all`.
        """
        return None


#: Generators by name. A class of one's own needs no name: whatever takes a name takes an object, too.
GENERATORS: Registry[type[Generator]] = Registry(
    "generator",
    {
        "faraday": "unlearn.generators.faraday.generators:FaradayGenerator",
        "private_faraday": "unlearn.generators.faraday.generators:PrivateFaradayGenerator",
        "feeder": "unlearn.generators.feeder.config:FeederGenerator",
        "simulator": "unlearn.generators.baselines:SimulatorGenerator",
        "resampled": "unlearn.generators.baselines:Resampled",
        "shuffled_hours": "unlearn.generators.baselines:ShuffledHours",
        "independent_gaussian": "unlearn.generators.baselines:IndependentGaussian",
    },
)
#: A generator by its name with its default settings; an object is returned as it is.
make_generator: Callable[[str | Generator], Generator] = GENERATORS.make
