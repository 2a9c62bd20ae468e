"""`FederatedModel`: a head that a federation solved for, with its sums; and a forecaster of it for a member's data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape
from unlearn.data import LoadDataset
from unlearn.errors import InputError, ProtocolError
from unlearn.forecasters.base import Forecaster
from unlearn.forecasters.card import NO_ROWS, ModelCard, make_card
from unlearn.forecasters.head import HeadObjective
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.designs import Design, design_from_payload, design_to_payload
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text
from unlearn.privacy.federated.moments import as_vector, from_vector


class FederatedForecaster(Forecaster):
    """Forecasts with a head that a federation has solved for; nothing can be unlearnt here, where its rows are not."""

    def __init__(self, card: ModelCard, design: Design, names: list[str]) -> None:
        super().__init__(card, design.n_columns)
        self.federated_design, self._names = design, names

    @classmethod
    def of(cls, dataset: LoadDataset, design: Design, head: FloatArray, n_members: int) -> FederatedForecaster:
        """The forecaster of a data set, by φ and a head (B, D)."""
        scope = f"training rows of {n_members} members"
        card = make_card(
            f"federated {design.kind}", dataset, head_rows=NO_ROWS, scaler_rows=scope, settings={"members": n_members}
        )
        limitation = "the head was fitted to rows of a whole federation; forgetting is a round of update_federated"
        model = cls(replace(card, limitations=[limitation]), design, design.names(Layout.of(dataset)))
        model.head = torch.from_numpy(np.array(head, dtype=np.float64))
        return model

    def design(self, features: Tensor) -> Tensor:
        return self.federated_design.rows(features.detach().cpu().numpy(), checked=False)

    def column_names(self) -> list[str]:
        return list(self._names)

    def training_rows(self, dataset: LoadDataset) -> IntArray:
        return np.zeros(0, dtype=np.int64)

    def objective(self, dataset: LoadDataset) -> HeadObjective:
        raise InputError(
            "model: expected one whose training rows are all here, got a federation's, whose rows are at its members. "
            "Let the member forget, utility.forget(customers), and call update_federated(channel, model)."
        )


@dataclass(frozen=True, eq=False)
class FederatedModel:
    """A head that all members' rows determine together, and the sums that it was solved from.

    Attributes:
        layout: what the members' data have in common.
        design: φ.
        head: W of `ŷ = W [φ(x), 1]` in p.u., shape (B, D); 0 at columns that are constant or repeat others.
        statistics: sums over the training rows of all members.
        accepted: members, and the last round of each whose contribution is in the sums.
        rounds: secure sums of contributions that led here.
        how: how it was solved: condition number, error estimate, rows, seconds.
    """

    layout: Layout
    design: Design
    head: FloatArray
    statistics: SufficientStatistics = field(repr=False)
    accepted: Mapping[str, str] = field(repr=False)
    rounds: int
    how: Mapping[str, float] = field(repr=False)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members whose rows are in the sums."""
        return tuple(self.accepted)

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecast loads in p.u. for raw features (n, B, F).

        Raises:
            InputError: wrong shape or NaN.
        """
        features = as_floats("features", features, ndim=3)
        require_shape("features", features, (None, len(self.layout.load_names), len(self.layout.feature_names)))
        require_finite("features", features)
        found: FloatArray = self.design.rows(features, checked=False).numpy() @ self.head.T
        return found

    def as_forecaster(self, dataset: LoadDataset) -> FederatedForecaster:
        """The model as a forecaster for one member's data, which criteria and grids take.

        Raises:
            MismatchError: data of another layout.
        """
        self.layout.require_same(dataset.name, Layout.of(dataset))
        return FederatedForecaster.of(dataset, self.design, self.head, len(self.members))

    def to_payload(self) -> Payload:
        """Everything as arrays, to be kept between rounds: `pack(model.to_payload())`. Keep it as you keep the sums."""
        said = {"accepted": dict(self.accepted), "rounds": self.rounds, "how": dict(self.how)}
        own: Payload = {"head": self.head, "vector": as_vector(self.statistics), "said": as_bytes(json.dumps(said))}
        return {**self.layout.to_payload(), **design_to_payload(self.design), **own}

    @classmethod
    def from_payload(cls, payload: Payload) -> FederatedModel:
        """Take it back.

        Raises:
            ProtocolError: something else came.
        """
        layout = Layout.from_payload("model", payload)
        design = design_from_payload(payload, layout)
        n_loads = len(layout.load_names)
        try:
            said = json.loads(as_text(payload["said"]))
            accepted, rounds, how = said["accepted"], said["rounds"], said["how"]
            statistics = from_vector(payload["vector"], design.n_columns, n_loads, "model")
            head = payload["head"].reshape(n_loads, design.n_columns)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("model: expected one that to_payload wrote, got something else.") from error
        return cls(layout, design, head, statistics, accepted, rounds, how)
