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
from experiments.synthetic_stages import SyntheticRun, made_of
from unlearn.checks import require_fraction
from unlearn.data import DailyProfiles, HouseholdProfiles, split_households
from unlearn.evaluation import LeakageOptions, known_releases, measure_leakage, pool_outliers, score_outliers
from unlearn.evaluation.leakage.samples import some_days
from unlearn.privacy.attacks import OutlierOptions
from unlearn.synthetic import BASELINES


class AttackRun:
    """Attacks on the configured generator, seed by seed."""

    def __init__(self, config: Config) -> None:
        own = config.attack
        require_fraction("attack.third", own.third)
        self.options = leakage_options(own)
        self.run = SyntheticRun(config)
        self.own = own

    def release_records(self, seed: int) -> pd.DataFrame:
        """Attacks on the generator's release and on those whose leakage is known."""
        division = self.run.divide(seed)
        holdout, third = split_households(division.compared, self.own.third, seed)
        known = known_releases(division.learnt, third, self.options, seed)
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
                    "attack",
                    key,
                    lambda release=release, sides=sides: measure_leakage(
                        release, *sides, self.options, seed, self._labels(release.n_steps)
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
        """All records: attacks on releases by seed, and outliers pooled over seeds and fits.

        Outliers cannot be put among the households of a generator that learns from none, such as a feeder's.
        """
        tables = [self.release_records(seed) for seed in seeds]
        if isinstance(self.run.config.generator, FaradayConfig) or self.run.kind in BASELINES:
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
        made = {"options": asdict(self.options), "privacy": made_of(("privacy",))}
        return self.run.kept_records(name, {**key, **made}, make)


def leakage_options(config: AttackConfig) -> LeakageOptions:
    """The library's options of how leakage is measured."""
    own = {name: value for name, value in asdict(config).items() if name not in ("third", "households", "days")}
    own |= {name: tuple(own[name]) for name in ("attacks", "fprs", "attributes", "ratios")}
    return LeakageOptions(**{**own, "outliers": OutlierOptions(**own["outliers"])})
