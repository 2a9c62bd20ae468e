"""Members that do not do as they are told, to try robust rules on: learners around honest ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray, require_finite
from unlearn.data import LoadDataset
from unlearn.privacy.federated.learners import Learner, LocalTraining, NetworkLearner
from unlearn.privacy.federated.messages import Payload


@dataclass(frozen=True)
class ScaledUpdates:
    """A learner whose update is that of another times a factor; −1 goes the other way ("sign flip").

    Attributes:
        learner: the other.
        factor: of its updates.
    """

    learner: Learner
    factor: float

    def __post_init__(self) -> None:
        require_finite("factor", np.asarray(self.factor))

    @property
    def n_samples(self) -> int:
        return self.learner.n_samples

    @property
    def layout(self) -> Payload:
        return self.learner.layout  # type: ignore[attr-defined]

    def moments(self, scale: Payload) -> Payload:
        """Those of the honest learner."""
        return self.learner.moments(scale)  # type: ignore[attr-defined]

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        """Train as the other, and exaggerate."""
        new = self.learner.train(weights, options, round, seed)
        return {name: weights[name] + self.factor * (value - weights[name]) for name, value in new.items()}


class PoisonedLearner(NetworkLearner):
    """A learner of networks that trains on its loads times a factor; features and scalers are those of true loads.

    Args:
        dataset: the member's loads and features.
        architecture: "cnn" or "mixer".
        factor: of the loads that it trains on.
        double: whether it computes in double precision rather than in single.
    """

    def __init__(
        self, dataset: LoadDataset, architecture: str = "mixer", factor: float = 3.0, *, double: bool = False
    ) -> None:
        super().__init__(dataset, architecture, double=double)
        require_finite("factor", np.asarray(factor))
        self._factor = float(factor)

    def targets_pu(self) -> FloatArray:
        return self._factor * super().targets_pu()
