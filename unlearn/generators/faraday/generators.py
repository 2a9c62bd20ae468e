"""Faraday as generators of daily profiles, without and with privacy, with all their settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn.checks import require_choice
from unlearn.generators.base import Generator
from unlearn.generators.faraday.options import FaradayOptions, FaradayPrivacy, MixtureOptions, VaeOptions

if TYPE_CHECKING:
    from unlearn.dp import Noise, PrivacyLedger
    from unlearn.generators.faraday.model import Faraday
    from unlearn.households.by_household import HouseholdProfiles
    from unlearn.households.profiles import DailyProfiles


@dataclass(frozen=True)
class FaradayGenerator(FaradayOptions, Generator):
    """A variational autoencoder with a Gaussian mixture over its latent space, fitted on the training households.

    Attributes:
        vae: the network and its training.
        mixture: over its latent space.
        name: of its releases.
    """

    name: str = field(default="faraday", compare=False)

    def release(
        self, train: DailyProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Fit, save the model, and sample n profiles.

        Raises:
            InputError, ConvergenceError: as `fit_faraday`.
        """
        from unlearn.generators.faraday.model import fit_faraday

        return _released(fit_faraday(train, FaradayOptions(self.vae, self.mixture), seed), self.name, n, seed, folder)


#: Where noise may come from, and what may be known before.
NOISES, STARTS = ("os", "simulated"), ("nothing", "simulator")


@dataclass(frozen=True)
class StartOptions:
    """Simulated households that a public start is fitted on."""

    n_households: int = 150
    start: str = "2013-01-01"
    n_days: int = 365
    seed: int = 1_000_003


@dataclass(frozen=True)
class PrivateFaradayGenerator(FaradayPrivacy, Generator):
    """Faraday under differential privacy of households, going on from one that knows none of them.

    Settings are those of `FaradayPrivacy`, and

    Attributes:
        name: of its releases.
        noise: "os", which nobody can draw again, or "simulated", which repeats with the seed, protects nobody and is
            refused for households that are not simulated.
        start: what is known before: a Faraday of households of the "simulator", or "nothing".
        simulated: households of the start.
        vae: of the start; smaller networks take less noise.
        mixture: of the start.
    """

    private: ClassVar[bool] = True

    name: str = field(default="private_faraday", compare=False)
    noise: str = "os"
    start: str = "simulator"
    simulated: StartOptions = field(default_factory=StartOptions)
    vae: VaeOptions = field(default_factory=lambda: VaeOptions(latent=8, hidden=64, epochs=15))
    mixture: MixtureOptions = field(default_factory=lambda: MixtureOptions(n_components=10))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("generator.noise", self.noise, NOISES)
        require_choice("generator.start", self.start, STARTS)

    def release(
        self, train: HouseholdProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Fit, save the model, and sample n profiles.

        What is promised is charged in `shared` before it begins; a fit that is killed does not go on and stays
        charged. Noise that is simulated, or none, is no promise.

        Raises:
            InputError, MismatchError, ConvergenceError: as `fit_private_faraday`.
        """
        return _released(self.fit(train, seed, shared), self.name, n, seed, folder)

    def public(self, train: HouseholdProfiles, n: int, seed: int = 0, shared: Path | None = None) -> DailyProfiles:
        """A sample of the public start."""
        return self.public_start(train.segments, train.n_steps, shared).sample(n, seed)

    def fit(self, train: HouseholdProfiles, seed: int = 0, shared: Path | None = None) -> Faraday:
        """Fit on training households, from a public start; see `release`."""
        from unlearn.dp import default_delta, noise_source
        from unlearn.generators.faraday.private import fit_private_faraday

        noise = self.noise_of(seed)
        noise_source(noise, train)  # refused before a start is fitted
        start = self.public_start(train.segments, train.n_steps, shared)
        privacy = FaradayPrivacy(**{own.name: getattr(self, own.name) for own in fields(FaradayPrivacy)})
        if noise != "os" or self.epsilon is None or shared is None:
            return fit_private_faraday(train, start, privacy, self.vae.loss, noise)
        names = train.households["household_id"].iloc[np.unique(train.household)]
        delta = self.delta if self.delta is not None else default_delta(len(names))
        with ledger_of(shared).charged(names, self.epsilon, delta, self.name) as total:
            model = fit_private_faraday(train, start, privacy, self.vae.loss, noise)
        said = {**model.card["privacy"], "charged": asdict(total)}
        return replace(model, card={**model.card, "privacy": said})

    def noise_of(self, seed: int) -> Noise:
        """Where noise and coins come from: the operating system, or a seed for simulated households."""
        from unlearn.dp import SimulatedNoise

        return SimulatedNoise(seed) if self.noise == "simulated" else "os"

    def not_private(self) -> FaradayGenerator:
        """The same network and mixture, fitted without privacy."""
        return FaradayGenerator(self.vae, self.mixture)

    def public_start(self, segments: tuple[str, ...], n_steps: int, shared: Path | None = None) -> Faraday:
        """What is known before any household is looked at: a Faraday of simulated ones, or nothing."""
        from unlearn.generators.faraday.model import fit_faraday
        from unlearn.generators.faraday.public import relabelled, untrained_faraday
        from unlearn.generators.faraday.storage import load_faraday, save_faraday
        from unlearn.households.simulator.households import simulate_households
        from unlearn.store import Store

        if self.start == "nothing":
            return untrained_faraday(segments, n_steps, self.vae, seed=self.simulated.seed)

        def fit() -> Faraday:
            simulated = relabelled(simulate_households(**asdict(self.simulated)), segments)
            simulated = simulated.to_hourly() if n_steps == 24 else simulated
            return fit_faraday(simulated, FaradayOptions(self.vae, self.mixture))

        if shared is None:
            return fit()
        return Store(shared).get(
            "start",
            make=lambda folder: save_faraday(fit(), folder / "model"),
            read=lambda folder: load_faraday(folder / "model"),
            options=[self.simulated, self.vae, self.mixture, segments, n_steps],
            code=(fit_faraday, relabelled, simulate_households, save_faraday),
            packages=("numpy", "pandas", "scikit-learn", "scipy", "torch"),
        )


def ledger_of(shared: Path) -> PrivacyLedger:
    """Where private fits of a folder of results are charged."""
    from unlearn.dp import PrivacyLedger

    return PrivacyLedger(shared / "charges.jsonl")


def _released(model: Faraday, name: str, n: int, seed: int, folder: Path | None) -> DailyProfiles:
    from unlearn.generators.faraday.storage import save_faraday

    released = replace(model.sample(n, seed), name=name)
    if folder is not None:
        save_faraday(model, folder)  # last, so that a run that is killed leaves no model
    return released
