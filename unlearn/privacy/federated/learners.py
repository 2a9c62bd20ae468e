"""What a member of federated averaging brings: `Learner`, which trains weights on data of its own; one for networks.

A round sends weights, and what stays fixed in training, to each member. The member trains for a few local epochs and
answers with its weights, or, in a secure sum, with what it adds to the weighted mean (McMahan et al. 2017, "FedAvg").
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.checks import FloatArray, require_choice, require_count, require_not_negative, require_positive
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.errors import ConvergenceError, InputError, ProtocolError
from unlearn.forecasters.extractors import N_FEATURES
from unlearn.forecasters.specs import network_named
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays

#: Optimisers of the local training; the state of Adam begins anew in every round.
OPTIMISERS = ("adam", "sgd")


@dataclass(frozen=True)
class LocalTraining:
    """How a member trains in one round.

    Attributes:
        epochs: passes over its rows.
        batch_size: rows of a step; 0 means all of them, so that an epoch is one step of full gradients.
        learning_rate: of the optimiser.
        optimiser: "adam" or "sgd".
        clip: norm that an honest member clips its update to; 0 means none.
    """

    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 1e-3
    optimiser: str = "adam"
    clip: float = 0.0

    def __post_init__(self) -> None:
        require_count("epochs", self.epochs)
        if self.batch_size != 0:
            require_count("batch_size", self.batch_size)
        require_positive("learning_rate", self.learning_rate)
        require_choice("optimiser", self.optimiser, OPTIMISERS)
        require_not_negative("clip", self.clip)

    def to_payload(self) -> Payload:
        """As arrays of a message."""
        return {
            "epochs": np.array([self.epochs]),
            "batch_size": np.array([self.batch_size]),
            "learning_rate": np.array([float(self.learning_rate)]),
            "optimiser": as_bytes(self.optimiser),
            "clip": np.array([float(self.clip)]),
        }

    @classmethod
    def from_payload(cls, payload: Payload) -> LocalTraining:
        """What `to_payload` wrote.

        Raises:
            ProtocolError: arrays that are none of it.
        """
        whole, number = (np.integer, (1,)), (np.floating, (1,))
        expected = {"epochs": whole, "batch_size": whole, "learning_rate": number, "clip": number}
        require_arrays("settings of a round", payload, {**expected, "optimiser": (np.uint8, (None,))})
        try:
            return cls(
                int(payload["epochs"][0]),
                int(payload["batch_size"][0]),
                float(payload["learning_rate"][0]),
                as_text(payload["optimiser"]),
                float(payload["clip"][0]),
            )
        except InputError as error:
            raise ProtocolError(f"settings of a round: {error}") from error


class Learner(Protocol):
    """Trains weights on data of its own, within one member.

    Attributes:
        n_samples: rows that it trains on; what its weights count in the mean.
    """

    @property
    def n_samples(self) -> int: ...

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        """Train for some local epochs.

        Args:
            weights: of the model by name, and what stays fixed in training, such as scalers, among them.
            options: of this round.
            round: its number, from 0.
            seed: of the batch order; another one for every member and round.

        Returns:
            New weights, of the same names and shapes; nothing of what stays fixed.

        Raises:
            ProtocolError: weights that do not belong to this learner's model.
        """
        ...


def seed_of(seed: int, round: int, member: str) -> int:
    """The seed of a member's batch order in a round; it does not depend on who else takes part.

    >>> seed_of(0, 1, "north") == seed_of(0, 1, "north"), seed_of(0, 1, "north") == seed_of(0, 2, "north")
    (True, False)
    """
    digest = hashlib.sha256(f"{seed}/{round}/{member}".encode()).digest()
    return int.from_bytes(digest[:6], "little")


#: Of the payload of a network: what stays fixed in training.
FIXED = ("features/mean", "features/std", "targets/mean", "targets/std")


class NetworkLearner:
    """Trains extractor and last layer of a network forecaster on the training rows of one member.

    Inputs and targets are standardised with scalers that come with the weights and are the same for all members; see
    `fit_averaged`. All rows are trained on: none is kept for early stopping.

    >>> from unlearn.data import load_dataset
    >>> own = NetworkLearner(load_dataset("synthetic", n_hours=400), "mixer")
    >>> start = initial_weights(own.architecture, *own.shape, seed=0)
    >>> sorted(start) == sorted(own.train({**start, **own.own_scalers()}, LocalTraining(), round=0, seed=0))
    True

    Args:
        dataset: the member's loads and features.
        architecture: "cnn" or "mixer".
        double: whether it computes in double precision rather than in single.
    """

    def __init__(self, dataset: LoadDataset, architecture: str = "mixer", *, double: bool = False) -> None:
        network_named(architecture)
        if not len(dataset.split.train):
            raise InputError(f"{dataset.name}: expected training rows, got none. Choose a split that has some.")
        self.architecture = architecture
        self._dtype = torch.float64 if double else torch.float32
        rows = dataset.split.train
        self._features = dataset.features[rows]
        self._load_pu = dataset.load_pu[rows]
        self.layout = Layout.of(dataset)

    @property
    def n_samples(self) -> int:
        return len(self._features)

    @property
    def shape(self) -> tuple[int, int]:
        """Loads and features, (B, F)."""
        return self.layout.shape

    def moments(self, scale: Payload) -> Payload:
        """Number of rows, sums and sums of squares of standardised features and targets.

        Args:
            scale: arrays of `FIXED`, what is subtracted and what is divided by.
        """
        require_arrays("scale", scale, {name: (np.floating, shape) for name, shape in self._fixed_shapes.items()})
        features, targets = self._standardised(scale, self._load_pu)
        return {
            "n": np.array([float(self.n_samples)]),
            "features/sum": features.sum(axis=0),
            "features/squares": np.square(features).sum(axis=0),
            "targets/sum": targets.sum(axis=0),
            "targets/squares": np.square(targets).sum(axis=0),
        }

    def own_scalers(self) -> Payload:
        """Scalers of this member's rows alone, for who trains without others."""
        features = StandardScaler.fit(self._features, skip=len(CALENDAR_NAMES))
        targets = StandardScaler.fit(self._load_pu)
        parts = (features.mean, features.std, targets.mean, targets.std)
        return {name: part.numpy() for name, part in zip(FIXED, parts, strict=True)}

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        """Train for some local epochs; see `Learner`."""
        network = untrained_network(self.architecture, *self.shape).to(self._dtype)
        weights = self._checked(weights, network)
        inputs, targets = map(torch.from_numpy, self._standardised(weights, self.targets_pu()))
        state = {name: torch.from_numpy(weights[name].copy()) for name in network.state_dict()}
        network.load_state_dict(state)
        train_locally(network, inputs.to(self._dtype), targets.to(self._dtype), options, seed)
        return {name: value.double().numpy() for name, value in network.state_dict().items()}

    @property
    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        n_loads, n_features = self.shape
        return {**dict.fromkeys(FIXED[:2], (n_loads, n_features)), **dict.fromkeys(FIXED[2:], (n_loads,))}

    def _standardised(self, scale: Payload, load_pu: FloatArray) -> tuple[FloatArray, FloatArray]:
        features = (self._features - scale["features/mean"]) / scale["features/std"]
        return features, (load_pu - scale["targets/mean"]) / scale["targets/std"]

    def targets_pu(self) -> FloatArray:
        """Loads that it trains on, in p.u., shape (n, B)."""
        return self._load_pu

    def _checked(self, weights: Payload, network: nn.Module) -> Payload:
        own: dict[str, tuple[int, ...]] = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        shapes: dict[str, tuple[int, ...]] = {**own, **self._fixed_shapes}
        expected = {name: (np.floating, shape) for name, shape in shapes.items()}
        return require_arrays(f"weights of a {self.architecture}", weights, expected)


def untrained_network(architecture: str, n_loads: int, n_features: int, seed: int = 0) -> nn.Sequential:
    """Extractor and last layer, with initial weights of a seed; the caller's random numbers stay as they are."""
    spec = network_named(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(spec.extractor(n_loads, n_features), nn.Linear(N_FEATURES, n_loads))


def initial_weights(architecture: str, n_loads: int, n_features: int, seed: int = 0) -> Payload:
    """Weights of a network before training, by name, in double precision."""
    state = untrained_network(architecture, n_loads, n_features, seed).state_dict()
    return {name: value.double().numpy() for name, value in state.items()}


def train_locally(network: nn.Module, inputs: Tensor, targets: Tensor, options: LocalTraining, seed: int) -> None:
    """Train in place by mean squared error, in batches of a seeded order.

    Args:
        network: maps inputs (n, ...) to targets (n, B).
        inputs: shape (n, ...).
        targets: shape (n, B).
        options: of the round.
        seed: of the batch order.

    Raises:
        ConvergenceError: the loss became NaN or infinite.
    """
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[options.optimiser]
    optimiser = kind(network.parameters(), lr=options.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(options.epochs):
        # A full batch needs no order, and sums of one order have one rounding.
        order = torch.randperm(len(inputs), generator=generator) if options.batch_size else torch.arange(len(inputs))
        total = 0.0
        for rows in order.split(options.batch_size or len(inputs)):
            optimiser.zero_grad()
            loss = (network(inputs[rows]) - targets[rows]).square().mean()
            loss.backward()
            optimiser.step()
            total += float(loss.detach())
        if not np.isfinite(total):
            raise ConvergenceError(
                f"local training diverged in epoch {epoch}: lower learning_rate, or check the inputs for outliers."
            )
