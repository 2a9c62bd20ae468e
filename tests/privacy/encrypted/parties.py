"""Meters and holders in processes of their own, by the names of their factories."""

import json

import numpy as np

from unlearn.privacy.encrypted import BillTerms, Split, Summands, bill_holder, new_keys, split_meter, sum_holder
from unlearn.privacy.federated import Identity, Party, Payload, Roster
from unlearn.privacy.federated.messages import as_bytes, as_text

HOLDERS = ("audit", "billing", "security")
SPLIT = Split(HOLDERS, 2)
DAY = Summands(n_values=24, low=0, high=65_535, addends=100)
WEEK = BillTerms(n_values=7 * 48, low=-4_000, high=11_500, highest_rate=6_720)


def private_input(identity: bytes, roster: Roster, readings: np.ndarray | None = None) -> Payload:
    """What the process of one party gets."""
    keys = json.dumps({name: key.hex() for name, key in roster.keys.items()})
    own = {} if readings is None else {"readings": readings}
    return {"identity": as_bytes(identity), "roster": as_bytes(keys), **own}


def sum_party(name: str, private: Payload) -> Party:
    """A meter or a holder of sums, who makes its keys itself."""
    identity, roster = _own(private)
    if name in HOLDERS:
        return sum_holder(name, identity, new_keys(SPLIT.content(DAY)), roster, "server", SPLIT, 3)
    return split_meter(name, identity, roster, SPLIT, DAY, lambda period: private["readings"])


def bill_party(name: str, private: Payload) -> Party:
    """A meter or a holder of bills."""
    identity, roster = _own(private)
    if name in HOLDERS:
        return bill_holder(name, identity, new_keys(SPLIT.content(WEEK)), roster, "server", SPLIT, WEEK)
    return split_meter(name, identity, roster, SPLIT, WEEK, lambda period: private["readings"])


def _own(private: Payload) -> tuple[Identity, Roster]:
    keys = json.loads(as_text(private["roster"]))
    return Identity(private["identity"].tobytes()), Roster({name: bytes.fromhex(key) for name, key in keys.items()})
