"""φ: what every member computes of its own rows, as the coordinator sends it to all of them.

Columns of the features for the linear forecaster, or a frozen extractor with its scaler. Both travel as arrays alone.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.checks import FloatArray, IntArray
from unlearn.data import StandardScaler
from unlearn.errors import InputError, MismatchError, ProtocolError
from unlearn.forecasters.network import NetworkForecaster
from unlearn.forecasters.specs import network_named
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, pack


class Design(Protocol):
    """Maps raw features to the columns of a head, an intercept last.

    Attributes:
        kind: its name in `DESIGNS`.
        noise: how far, relatively, φ of a row may be from φ of the same row in another batch.
        chosen: whether columns that are constant or repeat earlier ones are left out of the head.
        n_columns: D.
    """

    kind: str
    noise: float
    chosen: bool

    @property
    def n_columns(self) -> int: ...

    def rows(self, features: FloatArray, checked: bool = True) -> Tensor:
        """φ of rows with features (n, B, F), shape (n, D).

        Args:
            features: raw.
            checked: whether the rows are refused if φ leaves out columns that they need, as a member's training rows.

        Raises:
            MismatchError: such rows.
        """
        ...

    def names(self, layout: Layout) -> list[str]:
        """Names of the D columns."""
        ...

    def to_payload(self) -> Payload:
        """As a message carries it."""
        ...


def digest_of(design: Design) -> bytes:
    """SHA-256 of a design: what members and coordinator know it by."""
    return hashlib.sha256(pack(design.to_payload())).digest()


@dataclass(frozen=True, eq=False)
class LinearDesign:
    """Columns of the features as they are, and an intercept; least squares is invariant to their scale.

    Attributes:
        same_as: of each of the B F columns, the first one that equals it in all rows of all members, shape (B F,).
        n_features: F.
    """

    same_as: IntArray
    n_features: int
    kind = "linear"
    noise = 0.0
    chosen = True

    @property
    def columns(self) -> IntArray:
        """Positions of the columns that equal no earlier one, shape (D − 1,)."""
        return np.flatnonzero(self.same_as == np.arange(len(self.same_as)))

    @property
    def n_columns(self) -> int:
        return len(self.columns) + 1

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Load and feature of each column."""
        return [divmod(int(one), self.n_features) for one in self.columns]

    def rows(self, features: FloatArray, checked: bool = True) -> Tensor:
        own = equal_columns(features) if checked else self.same_as
        if (own != own[self.same_as]).any():
            raise MismatchError(
                "columns: expected those that were equal at every member to be so still, got other data. Sum up "
                "afresh: refit_federated(channel, model)."
            )
        chosen = torch.from_numpy(features.reshape(len(features), -1)[:, self.columns])
        return torch.cat([chosen, torch.ones((len(chosen), 1), dtype=torch.float64)], dim=1)

    def names(self, layout: Layout) -> list[str]:
        return [*(f"{layout.load_names[b]}:{layout.feature_names[f]}" for b, f in self.pairs), "intercept"]

    def to_payload(self) -> Payload:
        return {"same_as": self.same_as, "n_features": np.array([self.n_features], dtype=np.int64)}

    @classmethod
    def from_payload(cls, payload: Payload, layout: Layout) -> LinearDesign:
        same_as = payload["same_as"].astype(np.int64)
        size = len(layout.load_names) * len(layout.feature_names)
        if same_as.shape != (size,) or not ((same_as >= 0) & (same_as <= np.arange(size))).all():
            raise InputError(f"columns: expected an earlier column for each of {size}, got shape {same_as.shape}.")
        if not np.array_equal(same_as[same_as], same_as):
            raise InputError("columns: expected the first of equal columns for each, got chains of them.")
        return cls(same_as, len(layout.feature_names))


def equal_columns(features: FloatArray) -> IntArray:
    """Of each column of features (n, B, F), the first one that equals it in every row, shape (B F,)."""
    flat = np.ascontiguousarray(features.reshape(len(features), -1).T)
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(column.tobytes(), place) for place, column in enumerate(flat)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class NetworkDesign:
    """A frozen extractor after its scaler, and an intercept.

    Attributes:
        architecture: name of the network, such as "mixer".
        extractor: maps scaled features to φ; in float64.
        scaler: of the features.
    """

    architecture: str
    extractor: nn.Module
    scaler: StandardScaler
    kind = "network"
    noise = NetworkForecaster.design_noise
    chosen = False

    def __post_init__(self) -> None:
        frozen = copy.deepcopy(self.extractor).double().requires_grad_(False)
        object.__setattr__(self, "extractor", frozen)
        object.__setattr__(self, "scaler", StandardScaler(self.scaler.mean.double(), self.scaler.std.double()))

    @classmethod
    def of(cls, forecaster: NetworkForecaster) -> NetworkDesign:
        """The extractor of a network, which keeps nothing of its head."""
        return cls(forecaster.card.kind, forecaster.extractor, forecaster.scaler)

    @property
    def n_columns(self) -> int:
        return network_width(self.extractor) + 1

    def rows(self, features: FloatArray, checked: bool = True) -> Tensor:
        with torch.no_grad():
            found = torch.cat([self.extractor(self.scaler(part)) for part in torch.from_numpy(features).split(1024)])
        return torch.cat([found, torch.ones_like(found[:, :1])], dim=1)

    def names(self, layout: Layout) -> list[str]:
        return [*(f"extracted {i}" for i in range(self.n_columns - 1)), "intercept"]

    def to_payload(self) -> Payload:
        state = {f"state.{name}": value.numpy() for name, value in self.extractor.state_dict().items()}
        scaler = {"mean": self.scaler.mean.numpy(), "std": self.scaler.std.numpy()}
        return {**state, **scaler, "architecture": as_bytes(self.architecture)}

    @classmethod
    def from_payload(cls, payload: Payload, layout: Layout) -> NetworkDesign:
        name = as_text(payload["architecture"])
        n_loads, n_features = len(layout.load_names), len(layout.feature_names)
        extractor = network_named(name).extractor(n_loads, n_features).double()
        state = {own.removeprefix("state."): value for own, value in payload.items() if own.startswith("state.")}
        wanted = {own: tuple(value.shape) for own, value in extractor.state_dict().items()}
        came = {own: value.shape for own, value in state.items()}
        if came != wanted or any(payload[own].shape != (n_loads, n_features) for own in ("mean", "std")):
            raise InputError(f"extractor: expected the arrays of {name} for {n_loads} loads and {n_features} features.")
        arrays = {own: torch.from_numpy(np.array(value, dtype=np.float64)) for own, value in state.items()}
        scaler = [torch.from_numpy(np.array(payload[own], dtype=np.float64)) for own in ("mean", "std")]
        if not all(bool(value.isfinite().all()) for value in (*arrays.values(), *scaler)) or (scaler[1] == 0).any():
            raise InputError("extractor: expected finite arrays and a scale other than 0.")
        extractor.load_state_dict(arrays)
        return cls(name, extractor, StandardScaler(*scaler))


def network_width(extractor: nn.Module) -> int:
    """Values that an extractor gives the head: those of its last linear layer."""
    return [one for one in extractor.modules() if isinstance(one, nn.Linear)][-1].out_features


#: How each kind of design is read from a message.
DESIGNS: dict[str, Callable[[Payload, Layout], Design]] = {
    LinearDesign.kind: LinearDesign.from_payload,
    NetworkDesign.kind: NetworkDesign.from_payload,
}

_PREFIX = "design."


def design_to_payload(design: Design) -> Payload:
    """A design among the other arrays of a message."""
    own = {f"{_PREFIX}{name}": value for name, value in design.to_payload().items()}
    return {**own, f"{_PREFIX}kind": as_bytes(design.kind)}


def design_from_payload(payload: Payload, layout: Layout) -> Design:
    """A design as it came; arrays only, nothing of a message is executed.

    Raises:
        ProtocolError: something else came.
    """
    own = {name.removeprefix(_PREFIX): value for name, value in payload.items() if name.startswith(_PREFIX)}
    try:
        return DESIGNS[as_text(own.pop("kind"))](own, layout)
    except (KeyError, InputError) as error:
        raise ProtocolError(
            f"design: expected columns or an extractor for the federation's layout, got something else ({error}). Let "
            "every party run the same version."
        ) from error
