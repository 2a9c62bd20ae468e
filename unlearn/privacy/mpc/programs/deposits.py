"""How shares of readings come to servers: signed by the meter, for one server, one period and its commitments.

A deposit holds shares in the clear for its server, so it travels over a channel that only that server reads, such as
TLS. Servers keep deposits and bill them later; a replayed, swapped or foreign one is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import SIGNATURE_BYTES, Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, pack, require_arrays
from unlearn.privacy.mpc.programs.billing import split_readings
from unlearn.privacy.mpc.programs.spot_check import SIZE, Committed

_PURPOSE = "deposit of shares 1"


def deposits(
    meter: str, period: str, readings_wh: NDArray, committed: Committed, servers: Sequence[str], identity: Identity
) -> dict[str, Payload]:
    """What a meter sends to each server.

    Args:
        meter: its name in the roster of meters.
        period: such as "2026-11".
        readings_wh: whole Wh, shape (intervals,).
        committed: to the same readings.
        servers: at least three.
        identity: the meter's key.

    Returns:
        By server, its shares and what they belong to, signed.

    Raises:
        InputError: as `split_readings`; or other commitments than readings.
    """
    values = np.asarray(readings_wh)
    if values.shape != (len(committed.digests),):
        raise InputError(f"readings_wh: expected {len(committed.digests)} intervals, got shape {values.shape}.")
    sent = {}
    for server, share in split_readings(values[None], servers).items():
        content: Payload = {
            "low": share["low"][0], "high": share["high"][0], "meter": as_bytes(meter), "period": as_bytes(period),
            "server": as_bytes(server), "commitments": as_bytes(committed.fingerprint),
        }  # fmt: skip
        sent[server] = content | {"signature": as_bytes(identity.sign(pack(content), _PURPOSE))}
    return sent


def servers_input(
    server: str,
    period: str,
    received: Sequence[Payload],
    commitments: Mapping[str, bytes],
    roster: Roster,
    intervals: int,
) -> Payload:
    """A server's input to `billing.bill`, from the deposits of all meters.

    Args:
        server: its own name.
        period: that is billed.
        received: deposits, in any order.
        commitments: by meter, the fingerprint that the utility has; customers are in its order.
        roster: public keys of the meters.
        intervals: of the period.

    Returns:
        `low` and `high`, shape (customers, intervals).

    Raises:
        ProtocolError: a deposit of another period, server, meter or set of commitments, two of one meter, a signature
            that is not the meter's, or none of some meter.
    """
    found: dict[str, Payload] = {}
    for deposit in received:
        meter = as_text(deposit.get("meter", np.zeros(0, np.uint8)))
        if meter not in commitments or meter in found:
            raise ProtocolError(f"{server}: expected one deposit of each meter that is billed, got another.")
        numbers = dict.fromkeys(("low", "high"), (np.uint64, (intervals,)))
        texts = dict.fromkeys(("meter", "period", "server"), (np.uint8, (None,)))
        fixed = {"signature": (np.uint8, (SIGNATURE_BYTES,)), "commitments": (np.uint8, (SIZE,))}
        require_arrays(f"{meter}: deposit", deposit, {**numbers, **texts, **fixed})
        content = {name: value for name, value in deposit.items() if name != "signature"}
        if not roster.is_signed(meter, pack(content), deposit["signature"].tobytes(), _PURPOSE):
            raise ProtocolError(f"{meter}: expected a deposit that the meter signed, got another.")
        for name, wanted in (
            ("period", period.encode()),
            ("server", server.encode()),
            ("commitments", commitments[meter]),
        ):
            if content[name].tobytes() != wanted:
                raise ProtocolError(f"{meter}: expected a deposit for this {name}, got one for another. Ask it anew.")
        found[meter] = content
    if missing := [meter for meter in commitments if meter not in found]:
        raise ProtocolError(f"{server}: expected a deposit of every meter, got none of {len(missing)}.")
    return {name: np.stack([found[meter][name] for meter in commitments]) for name in ("low", "high")}
