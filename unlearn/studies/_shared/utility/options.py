"""How utility is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count
from unlearn.forecasters.options import TrainingOptions
from unlearn.forecasters.specs import FORECASTERS

TASKS = ("season", "next_step", "load")


@dataclass(frozen=True)
class UtilityOptions:
    """How utility is measured.

    Attributes:
        tasks: among "season", "next_step", "load".
        profiles: profiles of each training and test set of the first two tasks at most.
        window: steps that a forecast of the next one sees.
        windows: windows drawn from each set at most.
        customers: households of each bus.
        forecasters: of bus loads, by their names in `unlearn.forecasters.FORECASTERS`.
        training: of the networks.
        hours: test hours that are priced; None prices all.
    """

    tasks: tuple[str, ...] = TASKS
    profiles: int = 15_000
    window: int = 8
    windows: int = 60_000
    customers: int = 60
    forecasters: tuple[str, ...] = FORECASTERS.names()
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hours: int | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            require_choice("utility.tasks", task, TASKS)
        for kind in self.forecasters:
            require_choice("utility.forecasters", kind, FORECASTERS)
        for name in ("profiles", "window", "windows", "customers"):
            require_count(f"utility.{name}", getattr(self, name))
