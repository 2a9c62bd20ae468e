"""The study of utility: what a generator's releases are good for, and those of baselines, seed by seed, each kept."""

from __future__ import annotations

import pandas as pd

from unlearn.errors import InputError
from unlearn.generators.base import Generator
from unlearn.grid import OperatingCost
from unlearn.studies._shared.releases import Releases, numbered, with_baselines
from unlearn.studies._shared.utility.measure import measure_utility
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
