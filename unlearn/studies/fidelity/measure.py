"""The study of fidelity: a generator's releases and those of baselines, seed by seed, each measured once and kept."""

from __future__ import annotations

import pandas as pd

from unlearn.generators.base import Generator
from unlearn.studies._shared.fidelity.measure import compare_fidelity
from unlearn.studies._shared.releases import Releases, numbered, with_baselines
from unlearn.studies.fidelity.options import FidelityStudyOptions


def study_fidelity(
    releases: Releases, generator: Generator, options: FidelityStudyOptions | None = None
) -> pd.DataFrame:
    """Measure a generator's releases and those of baselines over the seeds.

    Args:
        releases: households, and how they are divided.
        generator: by which profiles are released.
        options: how to measure; None takes the defaults.

    Returns:
        Records as `compare_fidelity` has them.

    Raises:
        InputError, MismatchError: as the generators and `compare_fidelity`.
    """
    options = options or FidelityStudyOptions()
    generators = with_baselines(generator, options.baselines)

    def measured(seed: int) -> pd.DataFrame:
        division = releases.divide(seed)
        train, holdout = division.train, division.holdout
        found = [releases.release(own, division, seed) for own in generators]
        if options.hourly:
            train, holdout = train.to_hourly(), holdout.to_hourly()
            found = [release.to_hourly() for release in found]
        labels = {"data": releases.households.name}
        return releases.table(
            "fidelity",
            make=lambda: compare_fidelity(found, train, holdout, options, seed, labels),
            options={"options": options, "seed": seed},
            data={**numbered(found), "train": train, "holdout": holdout},
            code=(compare_fidelity,),
        )

    return pd.concat([measured(seed) for seed in releases.options.seeds], ignore_index=True)
