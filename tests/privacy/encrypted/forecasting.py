"""Encrypted forecasts in processes of their own, by the names of their factories."""

import json

import numpy as np

from unlearn.privacy.encrypted import ForecastServer, forecast_task
from unlearn.privacy.federated import Identity, Party, Payload, Roster
from unlearn.privacy.federated.messages import as_bytes, as_text

#: Agreed upon by both sides.
TASK = forecast_task(n_features=20, mass=30.0, largest=10.0)


def private_input(identity: bytes, roster: Roster, weights: np.ndarray, intercept: np.ndarray) -> Payload:
    """What the server's process alone gets."""
    keys = json.dumps({name: key.hex() for name, key in roster.keys.items()})
    return {
        "identity": as_bytes(identity),
        "roster": as_bytes(keys),
        "weights": weights,
        "intercept": intercept,
    }


def forecast_party(name: str, private: Payload) -> Party:
    """The server, whose weights no other process has."""
    roster = Roster({own: bytes.fromhex(key) for own, key in json.loads(as_text(private["roster"])).items()})
    identity = Identity(private["identity"].tobytes())
    return Party(name, ForecastServer(name, identity, roster, private["weights"], private["intercept"], TASK).handlers)
