"""Typed schemas of private training: the private generator, and what the sweep over ε measures."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from experiments.schema_synthetic import GeneratorConfig, MixtureConfig, VaeConfig
from experiments.schema_training import TrainingConfig


@dataclass
class StartConfig:
    """Simulated households that a public start is fitted on."""

    n_households: int = MISSING
    start: str = MISSING
    n_days: int = MISSING
    seed: int = MISSING


@dataclass
class PrivateFaradayConfig(GeneratorConfig):
    """Faraday under differential privacy; see `unlearn.generators.faraday.FaradayPrivacy`.

    `start`: simulator or nothing. `noise`: os, which nobody can draw again, or simulated, which repeats with the seed,
    protects nobody and is refused for households that are not simulated.
    """

    kind: str = "private_faraday"
    epsilon: float | None = MISSING
    delta: float | None = None
    clip: float = MISSING
    sampling_rate: float = MISSING
    steps: int = MISSING
    days: int = MISSING
    learning_rate: float = MISSING
    trained: str = MISSING
    histogram_share: float = MISSING
    noise: str = MISSING
    start: str = MISSING
    simulated: StartConfig = field(default_factory=StartConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)


@dataclass
class MemorisingConfig:
    """A generator that learns few households by heart, outliers among them, with and without privacy.

    `households` real ones of `days` each; `outliers` of `outlier_days` are put among them, in each of `fits`. The
    network without privacy is the start's, trained for `epochs` without early stopping having a say.
    """

    households: int = MISSING
    days: int = MISSING
    outliers: int = MISSING
    outlier_days: int = MISSING
    norm_kwh: float = MISSING
    fits: int = MISSING
    epochs: int = MISSING
    hidden: int = MISSING
    epsilon: float = MISSING


@dataclass
class ForecastConfig:
    """Forecasters of households; see `HouseholdLoadOptions` and `PrivateForecastOptions`. No forecasters: left out."""

    forecasters: list[str] = MISSING
    row_clip: float = MISSING
    ridge: float = MISSING
    clip: float = MISSING
    sampling_rate: float = MISSING
    steps: int = MISSING
    days: int = MISSING
    learning_rate: float = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    shadows: int = MISSING
    fprs: list[float] = MISSING


@dataclass
class PrivateTrainingConfig:
    """The sweep over ε of `private_training`; null stands for the same training without noise.

    `generator` is the file in `conf/generator` that is trained; `tasks` and `forecasters` are those of utility,
    `attacks` those of leakage on at most `max_profiles` a side.
    """

    epsilons: list[float | None] = MISSING
    tasks: list[str] = MISSING
    forecasters: list[str] = MISSING
    attacks: list[str] = MISSING
    max_profiles: int = MISSING
    memorising: MemorisingConfig = field(default_factory=MemorisingConfig)
    forecast: ForecastConfig = field(default_factory=ForecastConfig)
