"""Forecasters as options that fit: the protocol, the library's own, and the one registry of their names.

Light to import: what fits is imported when it is called for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from unlearn.checks import require_count, require_fraction, require_not_negative, require_positive
from unlearn.dp.options import require_sampling_rate
from unlearn.errors import InputError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from unlearn.data import LoadDataset, StandardScaler
    from unlearn.forecasters.base import Forecaster
    from unlearn.forecasters.card import ModelCard


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the published training (appendix D5).

    Attributes:
        epochs: passes over the training rows at most.
        batch_size: rows per step.
        learning_rate: Adam's, annealed to 0 along a cosine over all epochs.
        patience: epochs without a better validation loss after which training stops.
        validation_share: last share of the rows given, kept for early stopping.
    """

    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1e-4
    patience: int = 20
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            require_positive(f"training.{name}", getattr(self, name))
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) != int(getattr(self, name)):
                raise InputError(f"training.{name}: expected a whole number, got {getattr(self, name)}.")
        require_fraction("training.validation_share", self.validation_share)


@dataclass(frozen=True)
class PrivateForecastOptions:
    """Settings of private forecasters; none of them looks at the data.

    Attributes:
        row_clip: norm that a row [φ, y] of the linear head is clipped to, with energies in units of 0.5 kWh.
        ridge: of the linear head, see `ClippedSums.release`.
        clip: norm that a household's gradient is clipped to.
        sampling_rate: chance of a household to take part in a step.
        steps: of DP-SGD.
        days: of a household in a step, drawn at random from its own.
        learning_rate: Adam's, which goes down to 0 along a cosine.
    """

    row_clip: float = 2.0
    ridge: float = 20.0
    clip: float = 0.5
    sampling_rate: float = 0.3
    steps: int = 100
    days: int = 16
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("row_clip", "clip", "sampling_rate", "learning_rate"):
            require_positive(f"forecast.{name}", getattr(self, name))
        require_not_negative("forecast.ridge", self.ridge)
        for name in ("steps", "days"):
            require_count(f"forecast.{name}", getattr(self, name))
        require_sampling_rate(self.sampling_rate)


class ForecasterSpec(Protocol):
    """How a forecaster is made: a dataclass of plain options.

    What it fits is a `Forecaster`: fixed features and a linear head. A class of one's own needs no entry in
    `FORECASTERS`: it is passed as an object, or named by `_target_` in a configuration.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    #: Criterion whose influence picks the rows to forget, unless one is named.
    select_by: ClassVar[str]
    #: Whether all of it is solved in closed form: it has no extractor that is trained.
    exact: ClassVar[bool]

    def fit(self, dataset: LoadDataset, seed: int = 0) -> Forecaster:
        """Fit on the training rows of a data set."""
        ...

    def empty(self, card: ModelCard, scaler: StandardScaler) -> Forecaster:
        """The model that a card describes, whose weights are then read from a file."""
        ...


@dataclass(frozen=True)
class Linear:
    """The linear forecaster, solved exactly (paper appendix D2); see `fit_linear`.

    Attributes:
        l2: regulariser of the summed loss, >= 0.
    """

    name: ClassVar[str] = "linear"
    label: ClassVar[str] = "Linear"
    select_by: ClassVar[str] = "mse"
    exact: ClassVar[bool] = True

    l2: float = 0.0

    def fit(self, dataset: LoadDataset, seed: int = 0) -> Forecaster:
        """Fit by least squares; nothing is drawn."""
        from unlearn.forecasters.linear import fit_linear

        return fit_linear(dataset, self.l2)

    def empty(self, card: ModelCard, scaler: StandardScaler) -> Forecaster:
        from unlearn.forecasters.linear import LinearForecaster

        return LinearForecaster(card, [(b, f) for b, f in card.settings["columns"]], scaler)


@dataclass(frozen=True)
class Network:
    """A frozen extractor under an analytic head: train the extractor on the core, fit the head to the sensitive rows.

    A network of one's own is a subclass with `name`, `label` and `extractor`.

    Attributes:
        l2: regulariser of the head's summed loss, >= 0.
        training: of the extractor.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    select_by: ClassVar[str] = "cost"
    exact: ClassVar[bool] = False

    l2: float = 0.0
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def fit(self, dataset: LoadDataset, seed: int = 0) -> Forecaster:
        """Train the extractor on the core rows, fit the head on the sensitive ones."""
        from unlearn.forecasters.network import fit_extractor_and_head

        return fit_extractor_and_head(self, dataset, seed)

    def empty(self, card: ModelCard, scaler: StandardScaler) -> Forecaster:
        from unlearn.forecasters.network import NetworkForecaster

        return NetworkForecaster(card, self.extractor(len(card.load_names), len(card.feature_names)), scaler)

    @staticmethod
    def extractor(n_loads: int, n_features: int) -> nn.Module:
        """Maps scaled features (n, B, F) to (n, `extractors.N_FEATURES`) values."""
        raise NotImplementedError("a network must define extractor()")


@dataclass(frozen=True)
class Cnn(Network):
    """Convolutions over the matrix of features, frozen, under an analytic head (paper appendix D3)."""

    name: ClassVar[str] = "cnn"
    label: ClassVar[str] = "CNN"

    @staticmethod
    def extractor(n_loads: int, n_features: int) -> nn.Module:
        from unlearn.forecasters.extractors import CnnExtractor

        return CnnExtractor(n_loads, n_features)


@dataclass(frozen=True)
class Mixer(Network):
    """MLP-Mixer over patches of the matrix of features, frozen, under an analytic head (paper appendix D4)."""

    name: ClassVar[str] = "mixer"
    label: ClassVar[str] = "MLP-Mixer"

    @staticmethod
    def extractor(n_loads: int, n_features: int) -> nn.Module:
        from unlearn.forecasters.extractors import MixerExtractor

        return MixerExtractor(n_loads, n_features)


#: Forecasters by name.
FORECASTERS: Registry[type[ForecasterSpec]] = Registry("forecaster", {own.name: own for own in (Linear, Cnn, Mixer)})


def solved_exactly(name: str) -> bool:
    """Whether what goes by a name, which may be unknown, is solved in closed form without an extractor."""
    return name in FORECASTERS and FORECASTERS[name].exact


def network_named(name: str) -> type[Network]:
    """The network of that name.

    Raises:
        InputError: an unknown name, or that of a forecaster without an extractor; the message has the names.
    """
    networks = [known for known in FORECASTERS if not FORECASTERS[known].exact]
    if name not in networks:
        raise InputError(f"architecture: expected one of {', '.join(networks)}; got {name!r}.")
    return cast(type[Network], FORECASTERS[name])
