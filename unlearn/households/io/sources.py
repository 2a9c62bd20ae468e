"""Sources of households and buildings: a class of options each, by name; what reads them is imported when it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from unlearn.checks import require_choice, require_fraction
from unlearn.data.sources import chosen, read_with
from unlearn.errors import InputError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from unlearn.households.buildings import BuildingSeries
    from unlearn.households.by_household import HouseholdProfiles


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


class HouseholdSource(Protocol):
    """Where households come from: a dataclass of options that reads them."""

    name: ClassVar[str]

    def read(self) -> HouseholdProfiles:
        """Read the households, all or those that were chosen."""
        ...


@dataclass(frozen=True)
class _Chosen:
    """Which households are kept.

    Attributes:
        max_households: keep the first so many that have enough days; None keeps all.
        min_days: complete days that a household must have; others are dropped and counted.
    """

    max_households: int | None = field(default=None, kw_only=True)
    min_days: int = field(default=1, kw_only=True)


#: What `load_households` chooses among the households that a source has read.
CHOICE = ("max_households", "min_days")


@dataclass(frozen=True)
class Simulator(_Chosen):
    """London-like households made on the spot, labelled, no network needed. See `simulate_households`."""

    name: ClassVar[str] = "simulator"

    n_households: int = 200
    start: str = "2013-01-01"
    n_days: int = 365
    random_state: int = 0
    ev_share: float = 0.03
    heat_pump_share: float = 0.01
    solar_share: float = 0.02

    def read(self) -> HouseholdProfiles:
        return read_with("unlearn.households.simulator:simulate_households", self, CHOICE)


@dataclass(frozen=True)
class Npz(_Chosen):
    """A NumPy archive without gaps. See `read_npz`."""

    name: ClassVar[str] = "npz"

    path: str = field(metadata={"expected": "a NumPy archive of households, such as sample.npz"})

    def read(self) -> HouseholdProfiles:
        return read_with("unlearn.households.io.wide:read_npz", self, CHOICE)


@dataclass(frozen=True)
class Lcl(_Chosen):
    """The files of the Low Carbon London trial. See `read_lcl`."""

    name: ClassVar[str] = "lcl"

    path: str = field(metadata={"expected": "Low Carbon London's file or folder"})
    year: int | None = None
    tariff: str | None = None
    stamps: str = "start"

    def read(self) -> HouseholdProfiles:
        return read_with("unlearn.households.io.lcl:read_lcl", self)


@dataclass(frozen=True)
class WideTable(_Chosen):
    """One's own meters: a column of times, a column of kWh per household. See `read_wide`."""

    name: ClassVar[str] = "table"

    path: str = field(metadata={"expected": "a table of meters, such as meters.csv"})
    labels: str | None = None
    timestamp: str = "timestamp"
    segment: str = "all"
    date_format: str | None = None

    def read(self) -> HouseholdProfiles:
        return read_with("unlearn.households.io.wide:read_wide", self, CHOICE)


HOUSEHOLD_SOURCES: Registry[type[HouseholdSource]] = Registry(
    "source", {own.name: own for own in (Lcl, Npz, Simulator, WideTable)}
)


@dataclass(frozen=True)
class Lead:
    """Labelled buildings: timestamp, building_id, meter_reading, anomaly. See `read_lead`."""

    name: ClassVar[str] = "lead"

    path: str = field(metadata={"expected": "a table in LEAD's layout, such as train.csv"})
    max_buildings: int | None = None
    date_format: str | None = None

    def read(self) -> BuildingSeries:
        return read_with("unlearn.households.buildings:read_lead", self)


@dataclass(frozen=True)
class OfHouseholds:
    """Households in hours, with anomalies injected anew for every seed: labels are exact.

    Attributes:
        start: first day; None is the first of the households.
        end: day after the last.
        injection: what is injected.
    """

    name: ClassVar[str] = "households"

    start: str | None = None
    end: str | None = None
    injection: InjectionOptions = field(default_factory=InjectionOptions)


BUILDING_SOURCES: Registry[type[Lead | OfHouseholds]] = Registry(
    "source", {own.name: own for own in (OfHouseholds, Lead)}
)


def load_households(source: str | HouseholdSource, *, min_households: int = 2, **options: Any) -> HouseholdProfiles:
    """Load the daily profiles of households by the name of their source.

    Args:
        source: a name of `HOUSEHOLD_SOURCES`, or an object such as `Lcl("halfhourly.csv", year=2013)`.
        min_households: fewer households are refused; the default is what a split needs.
        **options: fields of the named source, such as `path`, `max_households` and `min_days`.

    Raises:
        InputError: an unknown source or option, a missing option, or inverted bounds.
        DataError: whatever the reader refuses, or too few households.
    """
    found = chosen(source, HOUSEHOLD_SOURCES, options)
    from unlearn.households.by_household import check_choice, select_households

    max_households, min_days = getattr(found, "max_households", None), getattr(found, "min_days", 1)
    check_choice(max_households, min_days, min_households)
    return select_households(found.read(), max_households, min_days, min_households)


def load_buildings(source: str | Lead | HouseholdSource, **options: Any) -> BuildingSeries:
    """Load hourly readings by the name of their source.

    Args:
        source: "lead" (labelled buildings), or a source of households, whose series have no labels.
        **options: fields of the named source, such as `path`.

    Raises:
        InputError: an unknown source or option, or a missing one.
        DataError: whatever the reader refuses.
    """
    if source == Lead.name or isinstance(source, Lead):
        return chosen(source, Registry("source", {Lead.name: Lead}), options).read()
    if isinstance(source, str) and source not in HOUSEHOLD_SOURCES:
        names = (Lead.name, *HOUSEHOLD_SOURCES.names())
        raise InputError(f"source: expected one of {', '.join(names)}; got {source!r}.")
    from unlearn.households.buildings import buildings_of

    return buildings_of(load_households(source, **options))
