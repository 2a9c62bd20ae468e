"""Typed schemas of households, generators, and what releases are measured by."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class HouseholdsConfig:
    """A source of households; each adds its options. Households with fewer complete days are left out."""

    source: str = MISSING
    max_households: int | None = None
    min_days: int = 1


@dataclass
class SimulatedHouseholdsConfig(HouseholdsConfig):
    """The embedded simulator."""

    source: str = "simulator"
    n_households: int = MISSING
    start: str = MISSING
    n_days: int = MISSING
    seed: int = MISSING
    ev_share: float = MISSING
    heat_pump_share: float = MISSING
    solar_share: float = MISSING


@dataclass
class NpzHouseholdsConfig(HouseholdsConfig):
    """A NumPy archive without gaps."""

    source: str = "npz"
    path: str = field(default=MISSING, metadata={"expected": "a NumPy archive of households, such as sample.npz"})


@dataclass
class LclHouseholdsConfig(HouseholdsConfig):
    """The files of the Low Carbon London trial."""

    source: str = "lcl"
    path: str = field(default=MISSING, metadata={"expected": "Low Carbon London's file or folder"})
    year: int | None = None
    tariff: str | None = None
    stamps: str = MISSING


@dataclass
class TableHouseholdsConfig(HouseholdsConfig):
    """One's own wide table, and a table of labels."""

    source: str = "table"
    path: str = field(default=MISSING, metadata={"expected": "a table of meters, such as meters.csv"})
    labels: str | None = None
    timestamp: str = MISSING
    segment: str = MISSING
    date_format: str | None = None


@dataclass
class GeneratorConfig:
    """A generator of daily profiles; each adds its options.

    `name`: what records call it; null takes the generator's own.
    """

    kind: str = MISSING
    name: str | None = None


@dataclass
class LossConfig:
    """Weights of Faraday's losses; see `unlearn.generators.faraday.LossWeights`."""

    reconstruction: float = MISSING
    quantile: float = MISSING
    divergence: float = MISSING
    kind: str = MISSING


@dataclass
class VaeConfig:
    """Faraday's network and its training; see `unlearn.generators.faraday.VaeOptions`."""

    latent: int = MISSING
    hidden: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    patience: int = MISSING
    validation: float = MISSING
    loss: LossConfig = field(default_factory=LossConfig)


@dataclass
class MixtureConfig:
    """Faraday's mixture; see `unlearn.generators.faraday.MixtureOptions`."""

    n_components: int = MISSING
    tol: float = MISSING
    max_iter: int = MISSING
    prior_rows: float = MISSING
    cluster_iter: int = MISSING


@dataclass
class FaradayConfig(GeneratorConfig):
    """Faraday."""

    kind: str = "faraday"
    vae: VaeConfig = field(default_factory=VaeConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)


@dataclass
class FeederConfig(GeneratorConfig):
    """Feeders with their meters; see `unlearn.generators.feeder.GeneratorConfig`."""

    kind: str = "feeder"
    num_transformers: int = MISSING
    num_meters: int = MISSING
    num_months: int = MISSING
    anomaly_rate: float = MISSING
    last_month: str = MISSING
    num_feeders: int = MISSING
    customer_classes: dict[str, float] = MISSING
    anomaly_types: dict[str, float] = MISSING
    parquet: bool = MISSING
    hourly: bool = MISSING
    grid: str | None = None
    profile_classes: dict[str, float] = MISSING


@dataclass
class SimulatorConfig(GeneratorConfig):
    """Other simulated households."""

    kind: str = "simulator"
    n_households: int = MISSING
    start: str = MISSING
    n_days: int = MISSING
    ev_share: float = MISSING
    heat_pump_share: float = MISSING
    solar_share: float = MISSING


@dataclass
class SynthesisConfig:
    """How households are divided, what is released, and over which seeds it is measured.

    `test_every`: every so many weeks is kept from generators, for the forecasts of `utility`.
    """

    profiles: int = MISSING
    holdout: float = MISSING
    test_every: int = MISSING
    seeds: list[int] = MISSING
    folder: str = MISSING


@dataclass
class FidelityConfig:
    """How fidelity is measured, and of which baselines; see `unlearn.studies.fidelity.FidelityStudyOptions`.

    `hourly`: compare everything in steps of an hour, as a release of hours is anyway.
    """

    baselines: list[str] = MISSING
    hourly: bool = MISSING
    top_k: int = MISSING
    n_bins: int = MISSING
    n_clusters: int = MISSING
    min_members: int = MISSING
    n_divisions: int = MISSING
    max_profiles: int = MISSING


@dataclass
class UtilityConfig:
    """How utility is measured, and of which baselines; see `unlearn.studies.utility.UtilityStudyOptions`."""

    baselines: list[str] = MISSING
    tasks: list[str] = MISSING
    profiles: int = MISSING
    window: int = MISSING
    windows: int = MISSING
    customers: int = MISSING
    forecasters: list[str] = MISSING


#: Groups of configurations and the schema of each choice.
GROUPS: dict[str, dict[str, type]] = {
    "households": {
        "simulator": SimulatedHouseholdsConfig,
        "npz": NpzHouseholdsConfig,
        "lcl": LclHouseholdsConfig,
        "table": TableHouseholdsConfig,
    },
    "generator": {
        "faraday": FaradayConfig,
        "feeder": FeederConfig,
        "simulator": SimulatorConfig,
        "baseline": GeneratorConfig,
    },
}
