"""The study of leakage: releases attacked beside controls whose leakage is known, and fits with outliers; each kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from unlearn.attacks.base import make_classifier, require_attacks
from unlearn.generators.base import Generator
from unlearn.households import DailyProfiles, HouseholdProfiles, split_households, with_attribute_as_segment
from unlearn.records import RecordTable
from unlearn.studies._shared.attributes import known_releases, some_days
from unlearn.studies._shared.leakage import measure_attributes, measure_leakage, pool_outliers, score_outliers
from unlearn.studies._shared.releases import Releases, described
from unlearn.studies.leakage.options import LeakageStudyOptions


def study_leakage(releases: Releases, generator: Generator, options: LeakageStudyOptions | None = None) -> pd.DataFrame:
    """Attack a generator's releases over the seeds, beside controls; then attributes that it releases, and outliers.

    A generator that learns from nobody has no outliers among its households, and releases no attribute of theirs. One
    that is private would spend its privacy again with every fit. Both are attacked as they are released, and no more.

    Args:
        releases: households, and how they are divided.
        generator: by which profiles are released.
        options: how to attack; None takes the defaults.

    Returns:
        Records as `measure_leakage`, `measure_attributes` and `pool_outliers` have them.

    Raises:
        InputError, MismatchError: as the generator and these.
    """
    options = options or LeakageStudyOptions()
    for name in options.attributes:
        with_attribute_as_segment(releases.households, name)  # refused before anything is fitted
    seeds = releases.options.seeds
    tables = [table for seed in seeds for table in _attacked(releases, generator, options, seed)]
    if generator.learns and not generator.private:
        for name in options.attributes:
            if name != "segment":
                tables += [t for seed in seeds for t in _attacked(releases, generator, options, seed, name)]
        scores = pd.concat([_outliers(releases, generator, options, seed) for seed in seeds], ignore_index=True)
        tables.append(pool_outliers(scores, options, seeds[0]).to_frame())
    return pd.concat([table.dropna(axis=1, how="all") for table in tables], ignore_index=True)


def _attacked(
    releases: Releases, generator: Generator, options: LeakageStudyOptions, seed: int, attribute: str | None = None
) -> Iterator[pd.DataFrame]:
    """Attacks on the generator's release and on controls; with an attribute, on that alone, released as segment."""
    division, name = releases.divide(seed), "attack"
    measure: Callable[..., RecordTable] = measure_leakage
    if attribute is not None:
        division, name = division.by_attribute(releases.households, attribute), f"attribute-{attribute}"
        measure, options = measure_attributes, replace(options, attributes=(attribute,))
    holdout, third = split_households(division.holdout, options.third, seed)
    cases = [(releases.release(generator, division, seed), division.train)]
    hourly = cases[0][0].n_steps == 24
    cases += known_releases(division.train, third, options, seed)
    for release, train in cases:
        sides = (train, holdout)
        if hourly:
            release, sides = release.to_hourly(), (train.to_hourly(), holdout.to_hourly())
        labels = {"data": releases.households.name, "n_steps": release.n_steps}
        attackers = (*require_attacks(options.attacks), *map(make_classifier, options.classifiers))
        yield releases.table(
            "leakage",
            name,
            make=partial(measure, release, *sides, options, seed, labels),
            options={"options": options, "seed": seed},
            data={"release": release, "train": sides[0], "holdout": sides[1]},
            code=(measure, *attackers),
        )


def _outliers(releases: Releases, generator: Generator, options: LeakageStudyOptions, seed: int) -> pd.DataFrame:
    """Scores of outlier households that were put among a few training households, for each fit."""
    division = releases.divide(seed)
    holdout, random = division.holdout, np.random.default_rng([seed, 6])
    present = random.permutation(np.unique(division.train.household))[: options.households]
    few = division.train.of_households(present)
    few = few.take(some_days(few, options.days * len(present), random))

    def fit(train: HouseholdProfiles, own: int) -> DailyProfiles:
        return releases.release(generator, replace(division, train=train), own)

    key = {"options": options, "generator": generator.name, **described(generator), "seed": seed}
    key |= {"n": releases.options.profiles}
    labels = {"data": releases.households.name, "n_steps": few.n_steps}
    tables = [
        releases.table(
            "leakage",
            "outliers",
            make=partial(score_outliers, fit, few, holdout, options, seed, repeat, labels),
            options={**key, "repeat": repeat},
            data={"few": few, "holdout": holdout},
            code=(score_outliers, type(generator)),
        )
        for repeat in range(options.fits)
    ]
    return pd.concat(tables, ignore_index=True)
