"""Stages of `attack`: releases attacked beside releases whose leakage is known, and fits with outliers; each kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.schema import Config
from experiments.schema_attack import AttackConfig
from experiments.schema_synthetic import FaradayConfig
from experiments.synthetic_stages import Division, SyntheticRun, made_of
from unlearn.attacks import OutlierOptions
from unlearn.checks import require_fraction
from unlearn.generators import BASELINES
from unlearn.households import DailyProfiles, HouseholdProfiles, split_households, with_attribute_as_segment
from unlearn.records import RecordTable
from unlearn.studies.leakage.measure import measure_attributes, measure_leakage
from unlearn.studies.leakage.options import LeakageOptions
from unlearn.studies.leakage.outliers import pool_outliers, score_outliers
from unlearn.studies.leakage.samples import known_releases, some_days


class AttackRun:
    """Attacks on the configured generator, seed by seed."""

    def __init__(self, config: Config) -> None:
        own = config.attack
        require_fraction("attack.third", own.third)
        self.options = leakage_options(own)
        self.run = SyntheticRun(config)
        for name in self.options.attributes:
            with_attribute_as_segment(self.run.households, name)
        self.own = own

    def release_records(self, seed: int) -> pd.DataFrame:
        """Attacks on the generator's release and on those whose leakage is known."""
        division = self.run.divide(seed)
        holdout, third = split_households(division.compared, self.own.third, seed)
        known = known_releases(division.learnt, third, self.options, seed)
        return self._attacked(measure_leakage, "attack", self.options, seed, holdout, known, division)

    def attribute_records(self, seed: int, attribute: str) -> pd.DataFrame:
        """The same for an attribute that the generator is given as its segment, so that it releases it."""
        division = relabelled(self.run.divide(seed), self.run.households, attribute)
        holdout, third = split_households(division.compared, self.own.third, seed)
        options = replace(self.options, attributes=(attribute,))
        known = known_releases(division.learnt, third, options, seed)
        return self._attacked(measure_attributes, f"attribute-{attribute}", options, seed, holdout, known, division)

    def _attacked(
        self,
        measure: Callable[..., RecordTable],
        name: str,
        options: LeakageOptions,
        seed: int,
        holdout: HouseholdProfiles,
        known: list[tuple[DailyProfiles, HouseholdProfiles]],
        division: Division,
    ) -> pd.DataFrame:
        """Records of the generator's release and of those whose leakage is known."""
        cases = [(self.run.release(division, seed), division.learnt), *known]
        hourly = cases[0][0].n_steps == 24
        tables = []
        for release, train in cases:
            sides = (train, holdout)
            if hourly:
                release, sides = release.to_hourly(), (train.to_hourly(), holdout.to_hourly())
            key = {"release": release.fingerprint, "name": release.name, "seed": seed}
            key |= {"train": sides[0].fingerprint, "holdout": sides[1].fingerprint}
            tables.append(
                self._kept(
                    name,
                    key,
                    lambda release=release, sides=sides: measure(
                        release, *sides, options, seed, self._labels(release.n_steps)
                    ).to_frame(),
                )
            )
        return pd.concat(tables, ignore_index=True)

    def outlier_scores(self, seed: int) -> pd.DataFrame:
        """Scores of outlier households that were put among a few training households, for each fit."""
        division = self.run.divide(seed)
        few, holdout = self._few(division.learnt, seed), division.compared

        def fit(profiles: HouseholdProfiles, own: int) -> DailyProfiles:
            return self.run.release(replace(division, learnt=profiles), own)

        def score(repeat: int) -> pd.DataFrame:
            labels = self._labels(few.n_steps)
            return score_outliers(fit, few, holdout, self.options, seed, repeat, labels).to_frame()

        key = {"generator": asdict(self.run.config.generator), "n": self.run.config.synthesis.profiles}
        key |= {"few": few.fingerprint, "holdout": holdout.fingerprint, "seed": seed}
        tables = [
            self._kept("outliers", {**key, "repeat": repeat}, lambda repeat=repeat: score(repeat))
            for repeat in range(self.options.fits)
        ]
        return pd.concat(tables, ignore_index=True)

    def records(self, seeds: list[int]) -> pd.DataFrame:
        """All records: attacks on releases by seed, attributes that were released, and outliers pooled over seeds.

        A generator that learns from no households, such as a feeder's, has no outliers among them, and releases no
        other attribute than segments.
        """
        tables = [self.release_records(seed) for seed in seeds]
        if isinstance(self.run.config.generator, FaradayConfig) or self.run.kind in BASELINES:
            given = [name for name in self.options.attributes if name != "segment"]
            tables += [self.attribute_records(seed, name) for name in given for seed in seeds]
            scores = pd.concat([self.outlier_scores(seed) for seed in seeds], ignore_index=True)
            tables.append(pool_outliers(scores, self.options, seeds[0]).to_frame())
        return pd.concat([table.dropna(axis=1, how="all") for table in tables], ignore_index=True)

    def _few(self, learnt: HouseholdProfiles, seed: int) -> HouseholdProfiles:
        random = np.random.default_rng([seed, 6])
        present = random.permutation(np.unique(learnt.household))[: self.own.households]
        few = learnt.of_households(present)
        return few.take(some_days(few, self.own.days * len(present), random))

    def _labels(self, n_steps: int) -> dict[str, object]:
        return {"data": self.run.households.name, "n_steps": n_steps}

    def _kept(self, name: str, key: dict[str, Any], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        made = {"options": asdict(self.options), "privacy": made_of(("households", "attacks", "studies"))}
        return self.run.kept_records(name, {**key, **made}, make)


def relabelled(division: Division, households: HouseholdProfiles, attribute: str) -> Division:
    """The same division, with an attribute as everybody's segment."""
    values = with_attribute_as_segment(households, attribute).segments
    return Division(
        *(
            with_attribute_as_segment(part, attribute, values)
            for part in (division.train, division.holdout, division.learnt, division.compared)
        )
    )


def leakage_options(config: AttackConfig) -> LeakageOptions:
    """The library's options of how leakage is measured."""
    own = {name: value for name, value in asdict(config).items() if name not in ("third", "households", "days")}
    own |= {name: tuple(own[name]) for name in ("attacks", "fprs", "attributes", "classifiers", "ratios")}
    return LeakageOptions(**{**own, "outliers": OutlierOptions(**own["outliers"])})
