"""What a reader of households met: counts of everything that it kept and dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class ReadingReport:
    """Counts of one reading. A row is counted under the first reason that applies to it.

    Attributes:
        rows: rows (of long layouts) or readings (of wide ones) that were read.
        not_chosen: of other years or tariffs than were asked for.
        null: without energy.
        off_the_half_hour: stamped between two steps.
        duplicate: same household, time and energy as a row that was kept.
        conflicting: same household and time, different energy; none of them is kept, for nothing says which is right.
        incomplete_days: days with at least one usable reading that lack another.
        households_without_days: households that had rows but no complete day.
        households_with_few_days: households that had fewer complete days than were asked for.
        households: households kept.
        days: profiles kept.
    """

    rows: int = 0
    not_chosen: int = 0
    null: int = 0
    off_the_half_hour: int = 0
    duplicate: int = 0
    conflicting: int = 0
    incomplete_days: int = 0
    households_without_days: int = 0
    households_with_few_days: int = 0
    households: int = 0
    days: int = 0

    def __add__(self, other: ReadingReport) -> ReadingReport:
        return ReadingReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        """All counts in one line, as they are logged."""
        return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(self).items())

    def to_dict(self) -> dict[str, Any]:
        """The counts by name."""
        return asdict(self)

    def reduced_to(self, households: int, days: int, with_few_days: int) -> ReadingReport:
        """The report after a choice of households, some of which had too few days."""
        few = self.households_with_few_days + with_few_days
        return replace(self, households=households, days=days, households_with_few_days=few)
