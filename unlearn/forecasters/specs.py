"""Forecasters as options that fit: the protocol, the library's own, and the one registry of their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from unlearn.forecasters.options import TrainingOptions
from unlearn.registry import Registry

if TYPE_CHECKING:
    from unlearn.data import LoadDataset, StandardScaler
    from unlearn.forecasters.base import Forecaster, ModelCard


class ForecasterSpec(Protocol):
    """How a forecaster is made: a dataclass of plain options.

    What it fits is a `Forecaster`: fixed features and a linear head. A class of one's own needs no entry in
    `FORECASTERS`: it is passed as an object, or named by `_target_` in a configuration.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    #: Criterion whose influence picks the rows to forget, unless one is named.
    select_by: ClassVar[str]

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

    l2: float = 0.0

    def fit(self, dataset: LoadDataset, seed: int = 0) -> Forecaster:
        """Fit by least squares; nothing is drawn."""
        from unlearn.forecasters.linear import fit_linear

        return fit_linear(dataset, self.l2)

    def empty(self, card: ModelCard, scaler: StandardScaler) -> Forecaster:
        from unlearn.forecasters.linear import LinearForecaster

        return LinearForecaster(card, [(b, f) for b, f in card.settings["columns"]], scaler)


@dataclass(frozen=True)
class _Network:
    """A frozen extractor under an analytic head; see `fit_network`.

    Attributes:
        l2: regulariser of the head's summed loss, >= 0.
        training: of the extractor.
    """

    name: ClassVar[str]
    select_by: ClassVar[str] = "cost"

    l2: float = 0.0
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def fit(self, dataset: LoadDataset, seed: int = 0) -> Forecaster:
        """Train the extractor on the core rows, fit the head on the sensitive ones."""
        from unlearn.forecasters.network import fit_network

        return fit_network(dataset, self.name, self.training, seed, self.l2)

    def empty(self, card: ModelCard, scaler: StandardScaler) -> Forecaster:
        from unlearn.forecasters.network import EXTRACTORS, NetworkForecaster

        extractor = EXTRACTORS[self.name](len(card.load_names), len(card.feature_names))
        return NetworkForecaster(card, extractor, scaler)


@dataclass(frozen=True)
class Cnn(_Network):
    """Convolutions over the matrix of features, frozen, under an analytic head (paper appendix D3)."""

    name: ClassVar[str] = "cnn"
    label: ClassVar[str] = "CNN"


@dataclass(frozen=True)
class Mixer(_Network):
    """MLP-Mixer over patches of the matrix of features, frozen, under an analytic head (paper appendix D4)."""

    name: ClassVar[str] = "mixer"
    label: ClassVar[str] = "MLP-Mixer"


FORECASTERS: Registry[type[ForecasterSpec]] = Registry("forecaster", {own.name: own for own in (Linear, Cnn, Mixer)})
