"""The study of utility: what releases of a generator and of baselines are good for, seed by seed, and over seeds."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.generators.base import Generator
from unlearn.grid import OperatingCost
from unlearn.reporting.verdict import Spread, require_columns, require_once
from unlearn.studies._shared.bus_loads import NOTHING
from unlearn.studies._shared.releases import Releases, numbered, with_baselines
from unlearn.studies._shared.utility import REAL, REDRAWN, measure_utility
from unlearn.studies.utility.options import UtilityStudyOptions


def study_utility(
    releases: Releases,
    generator: Generator,
    cost: OperatingCost | None = None,
    options: UtilityStudyOptions | None = None,
) -> pd.DataFrame:
    """Measure a generator's releases and those of baselines over the seeds.

    Args:
        releases: households, and how they are divided.
        generator: by which profiles are released.
        cost: the grid; only the task "load" needs it.
        options: how to measure; None takes the defaults.

    Returns:
        Records as `measure_utility` has them.

    Raises:
        InputError, MismatchError: as the generators and `measure_utility`.
    """
    options = options or UtilityStudyOptions()
    if "load" in options.tasks and cost is None:
        raise InputError("utility: the task 'load' prices forecasts; expected cost, an OperatingCost, got None.")
    generators = with_baselines(generator, options.baselines)
    labels = {"experiment": "utility", "data": releases.households.name, "grid": cost.case.name if cost else None}

    def measured(seed: int) -> pd.DataFrame:
        division = releases.divide(seed)
        train, holdout = division.whole_train, division.whole_holdout
        found = [releases.release(own, division, seed) for own in generators]
        test_every = releases.options.test_every
        return releases.table(
            "utility",
            make=lambda: measure_utility(found, train, holdout, cost, options, seed, labels, test_every),
            options={"options": options, "cost": cost, "seed": seed, "test_every": test_every},
            data={**numbered(found), "train": train, "holdout": holdout},
            code=(measure_utility,),
        )

    return pd.concat([measured(seed) for seed in releases.options.seeds], ignore_index=True)


#: What was trained on, and the forecaster.
Source: TypeAlias = tuple[str, str]

_KEY = ["task", "generator", "forecaster", "metric", "seed"]


class UtilityTable:
    """Values of `measure_utility` by task, generator, forecaster, metric and seed.

    Args:
        records: any number of seeds of one data set and grid.

    Attributes:
        generators: what was trained on, real data first, then releases in their order.
        releases: generators apart from real data.
        tasks: tasks that the records hold.
        n_seeds: seeds that occur.

    Raises:
        InputError: records without utility, or a number that occurs twice for a seed.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("utility", records, "task", "generator", run="measure_utility")
        own = records[records["task"].notna()]
        if own.empty:
            raise InputError("utility: expected records with a task; run measure_utility first.")
        require_once("utility", own, _KEY[:-1])
        self._values = own.set_index(_KEY)["value"].sort_index()
        self._units = own.groupby(_KEY[:-1], sort=False)["unit"].first()
        found = [str(name) for name in own["generator"].unique() if name != NOTHING]
        self.generators = [name for name in (REAL, REDRAWN) if name in found]
        self.releases = [name for name in found if name not in (REAL, REDRAWN)]
        self.generators += self.releases
        self.tasks = [str(task) for task in own["task"].unique()]
        self.n_seeds = own["seed"].nunique()

    def forecasters(self, task: str, metric: str, untrained: bool = False) -> list[str]:
        """Forecasters of a task that a metric is known of, in their order; those that need no training apart."""
        own = [(name, kind) for asked, name, kind, of in self.numbers() if (asked, of) == (task, metric)]
        return list(dict.fromkeys(kind for name, kind in own if (name == NOTHING) == untrained))

    def unit(self, task: str, metric: str, source: Source) -> str:
        return str(self._units[task, *source, metric])

    def numbers(self) -> list[tuple[str, str, str, str]]:
        """Task, generator, forecaster, metric of every number."""
        return [(str(task), str(name), str(kind), str(metric)) for task, name, kind, metric in self._units.index]

    def value(self, task: str, metric: str, source: Source) -> Spread | None:
        """A number over seeds; None where there is none."""
        values = self._seeds(task, metric, source)
        return Spread.of(values.to_numpy(np.float64)) if len(values) else None

    def ratio(self, task: str, metric: str, source: Source, other: Source) -> Spread | None:
        """A number divided by another of the same seed; None where no seed has both."""
        both = pd.concat([self._seeds(task, metric, one) for one in (source, other)], axis=1, join="inner")
        above, below = both.to_numpy(np.float64).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return Spread.of(above / below) if len(both) else None

    def _seeds(self, task: str, metric: str, source: Source) -> pd.Series:
        key = (task, *source, metric)
        return self._values.loc[key] if key in self._units.index else pd.Series(dtype=np.float64)
