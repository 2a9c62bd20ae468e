"""Parts of `private_training`: each release measured and kept, and the generator that learns outliers by heart."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.build import build_cost
from experiments.private_faraday import fit_configured, ledger_of, noise_of, privacy_options, public_start
from experiments.schema import Config
from experiments.schema_private import PrivateFaradayConfig
from experiments.schema_synthetic import FaradayConfig, GeneratorConfig
from experiments.synthetic_stages import MEASURING, Division, SyntheticRun, made_of, utility_options
from unlearn.attacks import OutlierOptions
from unlearn.dp import noise_source
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions
from unlearn.forecasters.options import PrivateForecastOptions
from unlearn.generators.faraday import FaradayOptions, VaeOptions, fit_faraday
from unlearn.households import DailyProfiles, HouseholdProfiles
from unlearn.studies.fidelity.measure import compare_fidelity
from unlearn.studies.fidelity.samples import FidelityOptions
from unlearn.studies.leakage.measure import measure_leakage
from unlearn.studies.leakage.options import LeakageOptions
from unlearn.studies.leakage.outliers import measure_outliers
from unlearn.studies.private_training.household_load import (
    HouseholdLoadOptions,
    accounting_records,
    measure_household_load,
)
from unlearn.studies.utility.measure import measure_utility

#: What is kept of fidelity; distributions and distances are `fidelity`'s to show.
_FIDELITY = ("headline", "auc", "auc_low", "auc_high")


@dataclass(frozen=True)
class Trained:
    """One way to train.

    Attributes:
        method: "private", "without noise" (the same training), "start" (no household seen) or "not private" (Faraday).
        epsilon: ε; infinite without a promise, 0 where no household was seen.
        generator: its settings.
    """

    method: str
    epsilon: float
    generator: GeneratorConfig


class PrivateStudy:
    """The sweep over ε of a configuration; every part is kept on disk."""

    def __init__(self, config: Config) -> None:
        generator, own = config.generator, config.private_training
        if not isinstance(generator, PrivateFaradayConfig):
            raise InputError(
                f"generator: private_training trains private_faraday, got {config.generator.kind}. Pass "
                "generator=private_faraday."
            )
        if not own.epsilons or len(set(own.epsilons)) < len(own.epsilons):
            raise InputError(f"private_training.epsilons: expected at least one, each once, got {own.epsilons}.")
        for epsilon in own.epsilons:
            privacy_options(replace(generator, epsilon=epsilon))  # refused before the first one is trained
        self.config, self.generator, self.run = config, generator, SyntheticRun(config)
        noise_source(noise_of(generator, config.seed), self.run.households)
        self.leakage = LeakageOptions(attacks=tuple(own.attacks), max_profiles=own.max_profiles, attributes=())
        chosen = replace(config.utility, tasks=own.tasks, forecasters=own.forecasters)
        self.utility = utility_options(replace(config, utility=chosen))
        self.forecast = _forecast_options(config, generator)
        self.cost = build_cost(config) if "load" in own.tasks or self.forecast.forecasters else None

    def records(self) -> pd.DataFrame:
        """Records of every way to train and seed, then those of outliers."""
        parts = [self._measured(trained, seed) for seed in self.config.synthesis.seeds for trained in self._trained()]
        parts += [self._outliers(method) for method in ("not private", "without noise", "private")]
        if self.forecast.forecasters:
            parts += [self._forecasts(seed, e) for seed in self.config.synthesis.seeds for e in self._epsilons()]
        return pd.concat(parts, ignore_index=True)

    def _trained(self) -> Iterator[Trained]:
        for epsilon in self.config.private_training.epsilons:
            method = "without noise" if epsilon is None else "private"
            yield Trained(method, np.inf if epsilon is None else epsilon, replace(self.generator, epsilon=epsilon))
        yield Trained("start", 0.0, self.generator)
        yield Trained("not private", np.inf, FaradayConfig(vae=self.generator.vae, mixture=self.generator.mixture))

    def _epsilons(self) -> Iterator[float]:
        """Every ε at which something is promised, and infinity."""
        yield from (float(epsilon) for epsilon in self.config.private_training.epsilons if epsilon is not None)
        yield np.inf

    def _measured(self, trained: Trained, seed: int) -> pd.DataFrame:
        run = copy.copy(self.run)
        run.config = replace(self.config, generator=trained.generator)
        division = run.divide(seed)
        if trained.method == "start":
            n, starts = self.config.synthesis.profiles, self.run.folder / "starts"
            start = public_start(self.generator, division.learnt.segments, division.learnt.n_steps, starts)
            release, card = start.sample(n, seed), {}
        else:
            release, card = run.release(division, seed), run.card(division, seed)
        release = replace(release, name=trained.method)
        columns = {"method": trained.method, "epsilon": trained.epsilon, "seed": seed}
        key: dict[str, Any] = {**columns, "release": release.fingerprint, "leakage": asdict(self.leakage)}
        key |= {"utility": asdict(self.utility), "fidelity": asdict(self.config.fidelity)}
        key |= {**self._grid(), "made_of": made_of(("dp", "households", "forecasters", "attacks", "studies"))}
        key |= {"train": division.train.fingerprint, "holdout": division.holdout.fingerprint}
        return run.kept_records(
            "private_training", key, lambda: self._measure(release, division, seed, card.get("privacy"), columns)
        )

    def _measure(
        self,
        release: DailyProfiles,
        division: Division,
        seed: int,
        privacy: dict[str, Any] | None,
        columns: dict[str, Any],
    ) -> pd.DataFrame:
        labels = {"experiment": "private_training", "data": self.run.households.name, "grid": self.config.grid.case}
        own = {name: v for name, v in asdict(self.config.fidelity).items() if name not in ("beside", "hourly")}
        learnt, compared = division.learnt, division.compared
        fidelity = compare_fidelity([release], learnt, compared, FidelityOptions(**own), seed).to_frame()
        fidelity = fidelity[fidelity["metric"].isin(_FIDELITY)]
        utility = measure_utility([release], division.train, division.holdout, self.cost, self.utility, seed).to_frame()
        attack = measure_leakage(release, learnt, compared, self.leakage, seed).to_frame()
        tables = {"fidelity": fidelity, "utility": utility, "attack": attack}
        if privacy is not None:
            tables["accounting"] = accounting_records(privacy).to_frame()
        return pd.concat(
            [table.dropna(axis=1, how="all").assign(part=part) for part, table in tables.items()], ignore_index=True
        ).assign(**labels, **columns)

    def _grid(self) -> dict[str, Any]:
        """What prices depend on: a case may change its file and keep its name."""
        return {"grid": asdict(self.config.grid), "case": self.cost.case.fingerprint if self.cost else None}

    def _forecasts(self, seed: int, epsilon: float) -> pd.DataFrame:
        """Forecasters of households at one ε."""
        assert self.cost is not None
        division, cost = self.run.divide(seed), self.cost
        columns = {"method": "private" if np.isfinite(epsilon) else "not private", "part": "household_load"}
        labels = {**columns, "data": self.run.households.name, "grid": self.config.grid.case}
        key = {**columns, "epsilon": epsilon, "seed": seed, "forecast": asdict(self.forecast)}
        key |= {**self._grid(), "made_of": made_of(("dp", "households", "forecasters", "attacks", "studies"))}
        key |= {"train": division.train.fingerprint, "holdout": division.holdout.fingerprint}
        return self.run.kept_records(
            "private_forecasts",
            key,
            lambda: measure_household_load(
                division.train, division.holdout, cost, epsilon, self.forecast, seed, labels, ledger_of(self.run.folder)
            ).to_frame(),
        )

    def _outliers(self, method: str) -> pd.DataFrame:
        """Outliers among few households: learnt by heart, or privately at the configured ε, or so but without noise."""
        own, seed = self.config.private_training.memorising, self.config.seed
        division = self.run.divide(seed)
        learnt = _few(division.learnt, own.households, own.days, seed)
        chosen = OutlierOptions(households=own.outliers, days=own.outlier_days, norm_kwh=own.norm_kwh)
        options = replace(self.leakage, outliers=chosen, fits=own.fits)
        generator = replace(self.generator, epsilon=own.epsilon if method == "private" else None)
        epsilon = own.epsilon if method == "private" else np.inf
        by_heart = method == "not private"

        def fit(train: HouseholdProfiles, fit_seed: int) -> DailyProfiles:
            if not by_heart:
                model = fit_configured(generator, train, fit_seed, self.run.folder / "starts")
            else:
                vae = VaeOptions(hidden=own.hidden, epochs=own.epochs, patience=own.epochs, batch_size=64)
                model = fit_faraday(train, FaradayOptions(vae), fit_seed)
            return replace(model.sample(self.config.synthesis.profiles, fit_seed), name=method)

        def make() -> pd.DataFrame:
            labels = {"method": method, "epsilon": epsilon, "part": "outliers"}
            labels |= {"experiment": "private_training", "data": self.run.households.name}
            return measure_outliers(fit, learnt, division.compared, options, seed).to_frame().assign(**labels)

        key = {"method": method, "seed": seed, "memorising": asdict(own), "learnt": learnt.fingerprint}
        key |= {"generator": None if by_heart else asdict(generator), "n": self.config.synthesis.profiles}
        key |= {"leakage": asdict(options), "compared": division.compared.fingerprint}
        key |= {"made_of": made_of(("attacks", *MEASURING))}
        return self.run.kept_records("private_outliers", key, make)


def _forecast_options(config: Config, generator: PrivateFaradayConfig) -> HouseholdLoadOptions:
    """The library's options of forecasters of households."""
    own = asdict(config.private_training.forecast)
    training = TrainingOptions(**own.pop("training"))
    chosen = {name: own.pop(name) for name in ("forecasters", "shadows", "fprs")}
    return HouseholdLoadOptions(
        forecasters=tuple(chosen["forecasters"]),
        private=PrivateForecastOptions(**own),
        training=training,
        customers=config.utility.customers,
        test_every=config.synthesis.test_every,
        hours=config.evaluation.hours,
        shadows=chosen["shadows"],
        fprs=tuple(chosen["fprs"]),
        simulated_noise=noise_of(generator, config.seed) != "os",
    )


def _few(profiles: HouseholdProfiles, households: int, days: int, seed: int) -> HouseholdProfiles:
    """Some households and some of their days."""
    random = np.random.default_rng(seed)
    some = profiles.of_households(random.permutation(profiles.n_households)[:households])
    return some.take(np.isin(some.date, random.permutation(some.days)[:days]))
