"""`Layout`: what the members' data must have in common to be summed up, of which nothing is a reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from unlearn.data import LoadDataset
from unlearn.errors import MismatchError, ProtocolError
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text


@dataclass(frozen=True)
class Layout:
    """What rows mean: their columns, their outputs and their units.

    Attributes:
        load_names: B names, in the order of the outputs.
        feature_names: F names, in the order of the inputs.
        base_mva: power base of the outputs.
        lags: features that hold earlier loads, in words.
    """

    load_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    base_mva: float
    lags: tuple[str, ...]

    @classmethod
    def of(cls, dataset: LoadDataset) -> Layout:
        """The layout of a data set; lags that were found by comparing values are not part of it."""
        lags = tuple(str(lag) for lag in dataset.declared_lags)
        return cls(dataset.load_names, dataset.feature_names, float(dataset.base_mva), lags)

    @property
    def shape(self) -> tuple[int, int]:
        """Loads and features, (B, F)."""
        return len(self.load_names), len(self.feature_names)

    @property
    def digest(self) -> str:
        """SHA-256 of the layout."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def require_same(self, who: str, other: Layout) -> None:
        """Refuse another layout.

        Args:
            who: whose the other one is, for the error.
            other: what came.

        Raises:
            MismatchError: names what differs.
        """
        mine, theirs = asdict(self), asdict(other)
        for name, expected in mine.items():
            if (came := theirs[name]) != expected:
                raise MismatchError(
                    f"{who}: expected the federation's {name}, {_short(expected)}, got {_short(came)}. Give every "
                    "member's data the same loads, features, lags and base, in the same order."
                )

    def to_payload(self) -> Payload:
        """As a message carries it."""
        return {"layout": as_bytes(json.dumps(asdict(self)))}

    @classmethod
    def from_payload(cls, who: str, payload: Mapping) -> Layout:
        """As it came.

        Raises:
            ProtocolError: something else came.
        """
        try:
            values = json.loads(as_text(payload["layout"]))
            names = {name: tuple(map(str, values[name])) for name in ("load_names", "feature_names", "lags")}
            return cls(base_mva=float(values["base_mva"]), **names)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(
                f"{who}: expected the layout of its data, got something else. Let every party run the same version."
            ) from error


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
