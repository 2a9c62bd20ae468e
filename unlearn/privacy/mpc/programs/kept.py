"""Shares that parties keep between computations, and what all of them know about these.

A share alone is a random number. A receipt, the digest of what all know, tells shares of one computation from those of
another, so that nothing old, foreign or of other customers is computed with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import InputError
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text
from unlearn.privacy.federated.noise import SharedNoise
from unlearn.privacy.mpc.context import Context

#: Bits of a limb, of which a share of a field has several.
_LIMB = 64


@dataclass(frozen=True)
class Said:
    """What all parties know of kept shares.

    Attributes:
        run: of the fit or removal that made them.
        parties: who keeps shares, in the order of the fit.
        customers: in the order of the shares.
        loads: load of each customer.
        holders: number of the party of each customer.
        step: of coefficients, as a fraction in words.
        bits: of the whole numbers that shares are of.
        columns: D.
        least: fewest customers of a load, and fewest that a party with one does not know, if there are any.
        noise: clip, noise multiplier and number of colluding parties; empty without noise.
    """

    run: str
    parties: tuple[str, ...]
    customers: tuple[str, ...]
    loads: tuple[int, ...]
    holders: tuple[int, ...]
    step: str
    bits: int
    columns: int
    least: int
    noise: tuple[float, ...] = ()

    @property
    def receipt(self) -> str:
        """SHA-256 of it, by which parties know that they speak of the same shares."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the loads, sorted, shape (B,)."""
        return np.unique(np.array(self.loads, dtype=np.int64))

    @property
    def shared_noise(self) -> SharedNoise | None:
        """What each party adds before coefficients are opened."""
        if not self.noise:
            return None
        clip, multiplier, colluding = self.noise
        return SharedNoise(clip, multiplier, len(self.parties), int(colluding))

    def kind(self, context: Context) -> Any:
        """The secure type of the shares."""
        return context.mpc.SecInt(self.bits)


async def keep(context: Context, said: Said, shares: Any) -> Payload:
    """This party's own shares, as messages and files can carry them; nothing is sent.

    Returns:
        `kept`, shape (..., limbs), uint64; `said` and `receipt`.
    """
    own = np.asarray((await context.mpc.gather(shares)).value, dtype=object)
    limbs = [(own >> (_LIMB * at)) & (2**_LIMB - 1) for at in range(_limbs(context, said))]
    return {
        "kept": np.stack(limbs, axis=-1).astype(np.uint64),
        "said": as_bytes(json.dumps(asdict(said))),
        "receipt": as_bytes(said.receipt),
    }


def kept_input(result: Payload) -> Payload:
    """What a party brings to a later computation: the part of its own result that it kept."""
    return {name: result[name] for name in ("kept", "said")}


def receipt_of(result: Payload) -> str:
    """The receipt in a result, the same at every party."""
    return as_text(result["receipt"])


def take(context: Context, receipt: object) -> tuple[Said, Any]:
    """This party's kept shares, with the others' a secure array of shape (customers, columns).

    Raises:
        InputError: they are not those that all speak of.
    """
    own = context.inputs[context.name]
    try:
        told = json.loads(as_text(own["said"]))
        lists = {name: tuple(told[name]) for name in ("parties", "customers", "loads", "holders", "noise")}
        said, limbs = Said(**{**told, **lists}), own["kept"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "kept: expected what fit or remove gave, got something else. Pass kept_input(result)."
        ) from error
    if said.receipt != receipt or said.parties != context.names:
        raise InputError(
            "kept: expected shares that go with the receipt and these parties in this order, got those of another fit "
            "or removal."
        )
    shape = (len(said.customers), said.columns, _limbs(context, said))
    if limbs.shape != shape or limbs.dtype != np.uint64:
        raise InputError(f"kept: expected shares of shape {shape} in uint64, got {limbs.shape} in {limbs.dtype}.")
    whole = np.zeros(shape[:2], dtype=object)
    for at in range(shape[2]):
        whole += limbs[..., at].astype(object) << (_LIMB * at)
    kind = said.kind(context)
    return said, kind.array(kind.field.array(whole))


def _limbs(context: Context, said: Said) -> int:
    return -(-int(said.kind(context).field.modulus).bit_length() // _LIMB)
