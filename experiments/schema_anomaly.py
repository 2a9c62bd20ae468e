"""Typed schema of buildings, of the detection of anomalies in them, and of thresholds that are tried afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from experiments.schema_training import TrainingConfig


@dataclass
class InjectionConfig:
    """What is injected into readings without labels; see `unlearn.households.injection`."""

    share: float = MISSING
    kinds: list[str] = MISSING


@dataclass
class BuildingsConfig:
    """A source of buildings' readings; each adds its options."""

    source: str = MISSING


@dataclass
class LeadBuildingsConfig(BuildingsConfig):
    """LEAD's labelled buildings, or any table in its layout."""

    source: str = "lead"
    path: str = field(default=MISSING, metadata={"expected": "a table in LEAD's layout, such as train.csv"})
    max_buildings: int | None = None
    date_format: str | None = None


@dataclass
class HouseholdBuildingsConfig(BuildingsConfig):
    """The configured households, with anomalies injected anew for every seed."""

    source: str = "households"
    start: str | None = None
    end: str | None = None
    injection: InjectionConfig = field(default_factory=InjectionConfig)


@dataclass
class RuleConfig:
    """How a threshold is chosen on validation; see `unlearn.detectors.thresholds.ThresholdRule`."""

    kind: str = MISSING
    at: float | None = None


@dataclass
class DivisionConfig:
    """Parts, hours and windows; see `unlearn.detectors.windows.DivisionOptions`."""

    validation: float = MISSING
    test: float = MISSING
    training_share: float = MISSING
    length: int = MISSING
    training_stride: int = MISSING
    scoring_stride: int = MISSING
    longest_gap_h: int = MISSING
    least_hours: int = MISSING
    limit: float = MISSING


@dataclass
class SeasonalConfig:
    """The reading of some hours before; see `unlearn.detectors.Seasonal`."""

    lags: list[int] = MISSING


@dataclass
class NetworkForecastConfig:
    """Residuals of a network's forecasts; see `unlearn.detectors.CnnForecast` and `MixerForecast`."""

    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass
class IsolationForestConfig:
    """Isolation forest; see `unlearn.detectors.IsolationForest`."""

    n_estimators: int = MISSING


@dataclass
class LocalOutlierFactorConfig:
    """Local outlier factor; see `unlearn.detectors.LocalOutlierFactor`."""

    n_neighbors: int = MISSING
    max_windows: int = MISSING


@dataclass
class AutoencoderConfig:
    """The LSTM autoencoder; see `unlearn.detectors.Autoencoder`."""

    hidden: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    patience: int = MISSING
    validation_share: float = MISSING


@dataclass
class GanNetworksConfig:
    """Sizes of the GAN; see `unlearn.detectors.NetworkOptions`."""

    generator: list[int] = MISSING
    discriminator: int = MISSING
    latent_std: float = MISSING
    initial: str = MISSING


@dataclass
class AdversarialConfig:
    """Adversarial training; see `unlearn.detectors.AdversarialOptions`."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    betas: list[float] = MISSING
    real_target: float = MISSING


@dataclass
class EncoderConfig:
    """Where the search may start; see `unlearn.detectors.EncoderOptions`."""

    hidden: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    feature_weight: float = MISSING
    pull: float = MISSING


@dataclass
class InversionConfig:
    """The latent search that scores windows; see `unlearn.detectors.InversionOptions`."""

    max_iter: int = MISSING
    learning_rate: float = MISSING
    feature_weight: float = MISSING
    batch_size: int = MISSING
    patience: int | None = None
    tolerance: float = MISSING
    start: str = MISSING
    tried: int = MISSING


@dataclass
class GanConfig:
    """The GAN-LSTM."""

    networks: GanNetworksConfig = field(default_factory=GanNetworksConfig)
    training: AdversarialConfig = field(default_factory=AdversarialConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)


@dataclass
class AnomalyConfig:
    """What `anomaly` fits, on what, and how it is judged."""

    detectors: list[str] = MISSING
    seeds: list[int] = MISSING
    rule: RuleConfig = field(default_factory=RuleConfig)
    draws: int = MISSING
    division: DivisionConfig = field(default_factory=DivisionConfig)
    seasonal: SeasonalConfig = field(default_factory=SeasonalConfig)
    cnn: NetworkForecastConfig = field(default_factory=NetworkForecastConfig)
    mixer: NetworkForecastConfig = field(default_factory=NetworkForecastConfig)
    iforest: IsolationForestConfig = field(default_factory=IsolationForestConfig)
    lof: LocalOutlierFactorConfig = field(default_factory=LocalOutlierFactorConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    gan: GanConfig = field(default_factory=GanConfig)
    folder: str = MISSING


@dataclass
class ThresholdsConfig:
    """What `thresholds` tries on the scores of a finished run of `anomaly`."""

    run: str | None = None
    rules: list[RuleConfig] = MISSING
    draws: int = MISSING
    steps: int = MISSING


#: Choices of the group `buildings`.
BUILDINGS = {"lead": LeadBuildingsConfig, "households": HouseholdBuildingsConfig}
