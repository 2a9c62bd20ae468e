"""The study of private training: a generator at several ε, beside its start, and fitted without privacy; all kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from unlearn.attacks import OutlierOptions
from unlearn.attacks.base import require_attacks
from unlearn.dp import Noise, noise_source
from unlearn.errors import InputError
from unlearn.generators.base import Generator
from unlearn.generators.faraday import FaradayGenerator, VaeOptions
from unlearn.generators.faraday.generators import ledger_of
from unlearn.grid import OperatingCost
from unlearn.households import DailyProfiles, HouseholdProfiles
from unlearn.studies._shared.fidelity.measure import compare_fidelity
from unlearn.studies._shared.leakage import measure_leakage, measure_outliers
from unlearn.studies._shared.releases import Division, Releases, described
from unlearn.studies._shared.utility import measure_utility
from unlearn.studies.private_training.household_load import accounting_records, measure_household_load
from unlearn.studies.private_training.options import PrivateTrainingOptions

#: What is kept of fidelity; distributions and distances are `fidelity`'s to show.
_FIDELITY = ("headline", "auc", "auc_low", "auc_high")


class PrivateGenerator(Generator, Protocol):
    """What is needed of a generator beside what every one has: an ε that can be replaced, and a start."""

    epsilon: float | None

    def noise_of(self, seed: int) -> Noise:
        """Where noise and coins come from."""
        ...

    def not_private(self) -> Generator:
        """The same, fitted without privacy."""
        ...


@dataclass(frozen=True)
class Trained:
    """One way to train.

    Attributes:
        method: "private", "without noise" (the same training), "start" (no household seen) or "not private".
        epsilon: ε; infinite without a promise, 0 where no household was seen.
        generator: its settings.
    """

    method: str
    epsilon: float
    generator: Generator


class PrivateTraining:
    """The sweep over ε; every part is kept on disk."""

    def __init__(
        self,
        releases: Releases,
        generator: Generator,
        cost: OperatingCost | None = None,
        options: PrivateTrainingOptions | None = None,
        seed: int = 0,
    ) -> None:
        """Check everything before anything is trained.

        Args:
            releases: households, and how they are divided.
            generator: a private one, see `PrivateGenerator`.
            cost: the grid; only the task "load" and forecasters of households need it.
            options: what is trained and measured; None takes the defaults.
            seed: of the fits with outliers.

        Raises:
            InputError: a generator that is not private, an ε that promises nothing, or no grid where one is needed.
        """
        options = options or PrivateTrainingOptions()
        if not generator.private:
            raise InputError(
                f"generator: private_training trains a private generator, such as private_faraday, got "
                f"{generator.name}. Pass generator=private_faraday."
            )
        for epsilon in options.epsilons:
            replace(generator, epsilon=epsilon)  # type: ignore[type-var]  # refused before the first one is trained
        self.generator: PrivateGenerator = generator  # type: ignore[assignment]
        self.releases, self.cost, self.options, self.seed = releases, cost, options, seed
        noise_source(self.generator.noise_of(seed), releases.households)
        if cost is None and ("load" in options.utility.tasks or options.forecast.forecasters):
            raise InputError("private_training: forecasts are priced; expected cost, an OperatingCost, got None.")

    def records(self) -> pd.DataFrame:
        """Records of every way to train and seed, then those of outliers."""
        seeds = self.releases.options.seeds
        parts = [self._measured(trained, seed) for seed in seeds for trained in self._trained()]
        parts += [self._outliers(method) for method in ("not private", "without noise", "private")]
        if self.options.forecast.forecasters:
            # Every ε at which something is promised, and infinity.
            promised = [float(epsilon) for epsilon in self.options.epsilons if epsilon is not None]
            parts += [self._forecasts(seed, epsilon) for seed in seeds for epsilon in (*promised, np.inf)]
        return pd.concat(parts, ignore_index=True)

    def _at(self, epsilon: float | None) -> Generator:
        return replace(self.generator, epsilon=epsilon)  # type: ignore[type-var]

    def _trained(self) -> Iterator[Trained]:
        for epsilon in self.options.epsilons:
            method = "without noise" if epsilon is None else "private"
            yield Trained(method, np.inf if epsilon is None else epsilon, self._at(epsilon))
        yield Trained("start", 0.0, self.generator)
        yield Trained("not private", np.inf, self.generator.not_private())

    def _measured(self, trained: Trained, seed: int) -> pd.DataFrame:
        releases, division = self.releases, self.releases.divide(seed)
        release: DailyProfiles | None
        if trained.method == "start":
            n = releases.options.profiles
            release, card = trained.generator.public(division.train, n, seed, releases.folder), {}
            assert release is not None, "a private generator has a start"
        else:
            release = releases.release(trained.generator, division, seed)
            card = releases.card(trained.generator, division, seed)
        release = replace(release, name=trained.method)
        columns = {"method": trained.method, "epsilon": trained.epsilon, "seed": seed}
        key: dict[str, Any] = {**columns, "cost": self.cost, "test_every": releases.options.test_every}
        key |= {name: getattr(self.options, name) for name in ("fidelity", "utility", "leakage")}
        return releases.table(
            "private_training",
            make=lambda: self._measure(release, division, seed, card.get("privacy"), columns),
            options=key,
            data={"release": release, "train": division.whole_train, "holdout": division.whole_holdout},
            code=(PrivateTraining, *require_attacks(self.options.leakage.attacks)),
        )

    def _measure(
        self,
        release: DailyProfiles,
        division: Division,
        seed: int,
        privacy: dict[str, Any] | None,
        columns: dict[str, Any],
    ) -> pd.DataFrame:
        own, train, holdout = self.options, division.train, division.holdout
        fidelity = compare_fidelity([release], train, holdout, own.fidelity, seed).to_frame()
        fidelity = fidelity[fidelity["metric"].isin(_FIDELITY)]
        utility = measure_utility(
            [release],
            division.whole_train,
            division.whole_holdout,
            self.cost,
            own.utility,
            seed,
            test_every=self.releases.options.test_every,
        ).to_frame()
        attack = measure_leakage(release, train, holdout, own.leakage, seed).to_frame()
        tables = {"fidelity": fidelity, "utility": utility, "attack": attack}
        if privacy is not None:
            tables["accounting"] = accounting_records(privacy).to_frame()
        return pd.concat(
            [table.dropna(axis=1, how="all").assign(part=part) for part, table in tables.items()], ignore_index=True
        ).assign(**self._labels(), **columns)

    def _labels(self) -> dict[str, Any]:
        grid = self.cost.case.name if self.cost else None
        return {"experiment": "private_training", "data": self.releases.households.name, "grid": grid}

    def _forecasts(self, seed: int, epsilon: float) -> pd.DataFrame:
        """Forecasters of households at one ε."""
        assert self.cost is not None
        division, cost, test_every = self.releases.divide(seed), self.cost, self.releases.options.test_every
        train, holdout, noise = division.whole_train, division.whole_holdout, self.generator.noise_of(seed)
        columns = {"method": "private" if np.isfinite(epsilon) else "not private", "part": "household_load"}
        key = {**columns, "epsilon": epsilon, "seed": seed, "forecast": self.options.forecast}
        key |= {"simulated_noise": noise != "os", "test_every": test_every, "cost": cost}
        ledger = ledger_of(self.releases.folder)
        labels = {**self._labels(), **columns}
        return self.releases.table(
            "private_training",
            "forecasts",
            make=lambda: measure_household_load(
                train, holdout, cost, epsilon, self.options.forecast, seed, labels, ledger, noise, test_every
            ),
            options=key,
            data={"train": train, "holdout": holdout},
            code=(measure_household_load,),
        )

    def _outliers(self, method: str) -> pd.DataFrame:
        """Outliers among few households: overfitted, or fitted privately at the configured ε, or so without noise."""
        own, seed, n = self.options.overfit, self.seed, self.releases.options.profiles
        division = self.releases.divide(seed)
        few, holdout = _few(division.train, own.households, own.days, seed), division.holdout
        chosen = OutlierOptions(households=own.outliers, days=own.outlier_days, norm_kwh=own.norm_kwh)
        options = replace(self.options.leakage, outliers=chosen, fits=own.fits)
        generator, epsilon = self._at(own.epsilon if method == "private" else None), np.inf
        if method == "private":
            epsilon = own.epsilon
        elif method == "not private":
            vae = VaeOptions(hidden=own.hidden, epochs=own.epochs, patience=own.epochs, batch_size=64)
            generator = FaradayGenerator(vae)

        def fit(train: HouseholdProfiles, fit_seed: int) -> DailyProfiles:
            return replace(generator.release(train, n, fit_seed, shared=self.releases.folder), name=method)

        def make() -> pd.DataFrame:
            labels = {**self._labels(), "grid": None, "method": method, "epsilon": epsilon, "part": "outliers"}
            return measure_outliers(fit, few, holdout, options, seed).to_frame().assign(**labels)

        return self.releases.table(
            "private_training",
            "outliers",
            make=make,
            options={"method": method, "seed": seed, **described(generator), "n": n, "leakage": options},
            data={"few": few, "holdout": holdout},
            code=(PrivateTraining, type(generator)),
        )


def _few(profiles: HouseholdProfiles, households: int, days: int, seed: int) -> HouseholdProfiles:
    """Some households and some of their days."""
    random = np.random.default_rng(seed)
    some = profiles.of_households(random.permutation(profiles.n_households)[:households])
    return some.take(np.isin(some.date, random.permutation(some.days)[:days]))
