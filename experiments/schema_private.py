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
class OverfitConfig:
    """See `unlearn.studies.private_training.OverfitOptions`."""

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
class PrivateForecastConfig:
    """See `unlearn.forecasters.PrivateForecastOptions`."""

    row_clip: float = MISSING
    ridge: float = MISSING
    clip: float = MISSING
    sampling_rate: float = MISSING
    steps: int = MISSING
    days: int = MISSING
    learning_rate: float = MISSING


@dataclass
class ForecastConfig:
    """Forecasters of households; see `unlearn.studies.private_training.HouseholdLoadOptions`. None: left out."""

    forecasters: list[str] = MISSING
    private: PrivateForecastConfig = field(default_factory=PrivateForecastConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    customers: int = MISSING
    hours: int | None = MISSING
    shadows: int = MISSING
    fprs: list[float] = MISSING


@dataclass
class PrivateTrainingConfig:
    """The sweep over ε of `private_training`; see `unlearn.studies.private_training.PrivateTrainingOptions`.

    `tasks` and `forecasters` are those of utility, `attacks` those of leakage on at most `max_profiles` a side.
    """

    epsilons: list[float | None] = MISSING
    tasks: list[str] = MISSING
    forecasters: list[str] = MISSING
    attacks: list[str] = MISSING
    max_profiles: int = MISSING
    overfit: OverfitConfig = field(default_factory=OverfitConfig)
    forecast: ForecastConfig = field(default_factory=ForecastConfig)
