"""Options of the study of private training."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count, require_each_once, require_positive
from unlearn.forecasters.specs import FORECASTERS, PrivateForecastOptions, TrainingOptions
from unlearn.studies._shared.options import FidelityOptions, LeakageOptions, UtilityOptions


@dataclass(frozen=True)
class OverfitOptions:
    """A generator that overfits few households, outliers among them, beside the private one.

    Attributes:
        households: training households,
        days: with so many days each.
        outliers: households that are put among them in each fit.
        outlier_days: days of each of those.
        norm_kwh: their size.
        fits: generators that are fitted, each with its own outliers.
        epochs: of the overfitting network, which early stopping has no say in.
        hidden: width of its layers.
        epsilon: of the private generator.
    """

    households: int = 40
    days: int = 60
    outliers: int = 20
    outlier_days: int = 10
    norm_kwh: float = 10.0
    fits: int = 3
    epochs: int = 300
    hidden: int = 256
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        for name in ("households", "days", "outliers", "outlier_days", "fits", "epochs", "hidden"):
            require_count(f"overfit.{name}", getattr(self, name))
        for name in ("norm_kwh", "epsilon"):
            require_positive(f"overfit.{name}", getattr(self, name))


@dataclass(frozen=True)
class HouseholdLoadOptions:
    """How forecasters of households are fitted and measured.

    Attributes:
        forecasters: among "linear", "cnn", "mixer"; none of them leaves this part out.
        private: settings of private fits.
        training: of networks without privacy.
        customers: households of each bus.
        hours: test hours that are priced; None prices all.
        shadows: shadow heads of the likelihood-ratio attack on the linear forecaster.
        fprs: false positive rates at which attacks are measured.
    """

    forecasters: tuple[str, ...] = ("linear", "cnn")
    private: PrivateForecastOptions = field(default_factory=PrivateForecastOptions)
    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(epochs=10, batch_size=64, learning_rate=1e-3, patience=5)
    )
    customers: int = 60
    hours: int | None = None
    shadows: int = 256
    fprs: tuple[float, ...] = (0.01,)

    def __post_init__(self) -> None:
        for kind in self.forecasters:
            require_choice("forecast.forecasters", kind, FORECASTERS)
        for name in ("customers", "shadows"):
            require_count(f"forecast.{name}", getattr(self, name))


@dataclass(frozen=True)
class PrivateTrainingOptions:
    """The sweep over ε, and what is measured at each.

    Attributes:
        epsilons: of the generator; None is the same training without noise.
        fidelity: of its releases.
        utility: of its releases.
        leakage: of its releases.
        overfit: outliers among few households.
        forecast: forecasters of households at the same ε.
    """

    epsilons: tuple[float | None, ...] = (0.5, 1, 2, 4, 8, None)
    fidelity: FidelityOptions = field(default_factory=FidelityOptions)
    utility: UtilityOptions = field(
        default_factory=lambda: UtilityOptions(tasks=("season", "load"), forecasters=("linear",))
    )
    leakage: LeakageOptions = field(default_factory=lambda: LeakageOptions(max_profiles=5000, attributes=()))
    overfit: OverfitOptions = field(default_factory=OverfitOptions)
    forecast: HouseholdLoadOptions = field(default_factory=HouseholdLoadOptions)

    def __post_init__(self) -> None:
        require_each_once("private_training.epsilons", self.epsilons)
