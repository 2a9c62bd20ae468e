"""Faraday as generators of daily profiles, without and with privacy, with all their settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.dp.options import SgdOptions
from unlearn.errors import InputError
from unlearn.generators.base import Generator

if TYPE_CHECKING:
    from unlearn.dp import Noise, PrivacyLedger
    from unlearn.generators.faraday.model import Faraday
    from unlearn.households.by_household import HouseholdProfiles
    from unlearn.households.profiles import DailyProfiles


@dataclass(frozen=True)
class LossWeights:
    """What training minimises: `reconstruction · MSE + quantile · pinball + divergence · (KL or MMD)`.

    Attributes:
        reconstruction: of the squared error of the expected profile, mean over steps.
        quantile: of the pinball loss, mean over steps and summed over levels.
        divergence: of what draws the latent distribution towards N(0, I).
        kind: "kl" (a value per profile) or "mmd" (of a batch: the aggregated posterior, Gretton et al. 2012).
    """

    reconstruction: float = 0.1
    quantile: float = 2.0
    divergence: float = 0.005
    kind: str = "kl"

    def __post_init__(self) -> None:
        for name in ("reconstruction", "quantile", "divergence"):
            require_not_negative(f"loss.{name}", getattr(self, name))
        require_choice("loss.kind", self.kind, ("kl", "mmd"))
        if self.reconstruction + self.quantile == 0:
            raise InputError("loss: expected reconstruction or quantile above 0, else nothing is reconstructed.")


@dataclass(frozen=True)
class VaeOptions:
    """Network and training.

    Attributes:
        latent: dimension of the latent space, L.
        hidden: width of the hidden layers.
        epochs: passes over the training profiles at most.
        batch_size: profiles per step.
        learning_rate: the highest of the cycle (Smith 2018): up over the first 30 % of the steps, then down to 0.
        patience: epochs without a better validation loss after which training stops.
        validation: share of households, of training profiles where households are not known, kept for early stopping;
            at least one of them is kept, and one trained on.
        loss: weights of the terms of the loss.
    """

    latent: int = 24
    hidden: int = 256
    epochs: int = 40
    batch_size: int = 512
    learning_rate: float = 2e-3
    patience: int = 10
    validation: float = 0.1
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("latent", "hidden", "epochs", "batch_size", "patience"):
            require_count(f"vae.{name}", getattr(self, name))
        require_positive("vae.learning_rate", self.learning_rate)
        require_fraction("vae.validation", self.validation)


@dataclass(frozen=True)
class MixtureOptions:
    """Settings of EM.

    Attributes:
        n_components: K.
        tol: EM has converged when a pass improves the mean log posterior of a profile by less than this (nats).
        max_iter: passes at most; a fit that ends so is kept, and says so.
        prior_rows: pseudo-observations of the prior of each component: its covariance is drawn towards the average
            within clusters, its labels towards their overall frequencies, so that no component settles on a few rows.
        cluster_iter: passes of mini-batch k-means for the start.
    """

    n_components: int = 100
    tol: float = 2e-3
    max_iter: int = 100
    prior_rows: float = 20.0
    cluster_iter: int = 3

    def __post_init__(self) -> None:
        for name in ("n_components", "max_iter", "cluster_iter"):
            require_count(f"mixture.{name}", getattr(self, name))
        for name in ("tol", "prior_rows"):
            require_positive(f"mixture.{name}", getattr(self, name))


@dataclass(frozen=True)
class FaradayOptions:
    """Settings of the network and of the mixture."""

    vae: VaeOptions = field(default_factory=VaeOptions)
    mixture: MixtureOptions = field(default_factory=MixtureOptions)


#: What of the network is trained: all of it, or only what is added in each layer (Bu et al. 2022), which takes less
#: noise as a whole and suits few households.
TRAINED = ("all", "biases")


@dataclass(frozen=True)
class FaradayPrivacy:
    """What is promised, and how the promise is spent.

    Attributes:
        epsilon: ε of everything together; None adds no noise and promises nothing, for comparison.
        delta: δ; None takes 1/(10 N).
        clip: Euclidean norm that a household's gradient is clipped to.
        sampling_rate: chance of a household to take part in a step.
        steps: of DP-SGD.
        days: days that a household shows in a step, drawn from all of its days.
        learning_rate: of the first step; falls to 0 along a cosine.
        trained: "all" or "biases".
        histogram_share: share of ε that the histogram of components would spend by itself.
    """

    epsilon: float | None = 1.0
    delta: float | None = None
    clip: float = 1.0
    sampling_rate: float = 0.2
    steps: int = 300
    days: int = 32
    learning_rate: float = 1e-3
    trained: str = "biases"
    histogram_share: float = 0.3

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            require_positive("privacy.epsilon", self.epsilon)
        if self.delta is not None:
            require_fraction("privacy.delta", self.delta)
        require_count("privacy.days", self.days)
        require_positive("privacy.learning_rate", self.learning_rate)
        require_choice("privacy.trained", self.trained, TRAINED)
        require_fraction("privacy.histogram_share", self.histogram_share)
        SgdOptions(self.clip, 0.0, self.sampling_rate, self.steps)


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
    random_state: int = 1_000_003


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
        from unlearn.generators.faraday.model import fit_faraday, load_faraday, save_faraday
        from unlearn.generators.faraday.private import relabelled, untrained_faraday
        from unlearn.households.simulator import simulate_households
        from unlearn.store import Store

        if self.start == "nothing":
            return untrained_faraday(segments, n_steps, self.vae, seed=self.simulated.random_state)

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
    from unlearn.generators.faraday.model import save_faraday

    released = replace(model.sample(n, seed), name=name)
    if folder is not None:
        save_faraday(model, folder)  # last, so that a run that is killed leaves no model
    return released
