"""What a meter sends: its readings in shares, each sealed for one aggregator.

The key of a message comes from the X25519 keys of its meter and its aggregator, the run and the sealing itself, so that
only these two can have written it, and the head-end that carries it can neither read nor change it, nor hand it to
another aggregator, meter, group, period or run. A meter's key that is stolen later opens what it had sent before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from unlearn.checks import IntArray, require_rows, require_shape
from unlearn.errors import InputError
from unlearn.privacy.mpc.meter_directory import BoxKey, MeterDirectory, SumRun
from unlearn.privacy.mpc.shamir import FIELD, Field, FieldArray, share

#: Bytes that a sealed message has beside its shares: a nonce, the mark of the sharing, and a tag.
NONCE_BYTES, MARK_BYTES, TAG_BYTES = 12, 16, 16

_INFO = b"unlearn meter share 1\n"


class Sealed(NamedTuple):
    """Messages to one aggregator.

    Attributes:
        meters: indices in the directory, shape (n,).
        boxes: a row each, shape (n, bytes).
    """

    meters: IntArray
    boxes: NDArray[np.uint8]


def box_bytes(n_values: int) -> int:
    """Bytes of one sealed message."""
    return NONCE_BYTES + MARK_BYTES + 8 * n_values + TAG_BYTES


def seal_readings(
    directory: MeterDirectory, run: SumRun, meters: Sequence[int], keys: Sequence[BoxKey], readings: NDArray
) -> dict[str, Sealed]:
    """Share readings of meters and seal the shares; each meter does it alone, with one row.

    Args:
        directory: who takes part.
        run: what sum this is for.
        meters: indices in the directory.
        keys: the private key of each.
        readings: whole numbers from 0 to `rules.largest`, shape (meters, n_values).

    Returns:
        What each aggregator gets, by name.

    Raises:
        InputError: other readings, keys or shapes; nothing has been shared.
    """
    at = require_rows("meters", meters, len(directory.meters))
    if at.tolist() != list(meters) or len(keys) != len(at):
        raise InputError(f"meters: expected them in order with a key each, got {len(at)} meters, {len(keys)} keys.")
    values = np.asarray(readings)
    require_shape("readings", values, (len(at), run.n_values))
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"readings: expected whole numbers, such as Wh, got {values.dtype}. Round them first.")
    if values.size and not (values.min() >= 0 and values.max() <= directory.rules.largest):
        raise InputError(
            f"readings: expected 0 to {directory.rules.largest}, the largest that the rules allow, got others. Check "
            "the unit; a meter that also feeds in shares its two registers apart."
        )
    for meter, key in zip(at.tolist(), keys, strict=True):
        if key.public != directory.meter_keys[meter]:
            raise InputError("keys: expected the key that the directory has of each meter, got another.")
    aggregators = directory.aggregators
    shares = share(FIELD.encode(values), len(aggregators), directory.rules.threshold)
    marks = [os.urandom(MARK_BYTES) for _ in at]
    sealed = {}
    for i, (name, public) in enumerate(directory.box_keys.items()):
        boxes = np.empty((len(at), box_bytes(run.n_values)), dtype=np.uint8)
        peer = X25519PublicKey.from_public_bytes(public)
        for row, (meter, key) in enumerate(zip(at.tolist(), keys, strict=True)):
            nonce = os.urandom(NONCE_BYTES)
            content = marks[row] + shares[i, row].astype("<u8").tobytes()
            cipher = _cipher(key.key.exchange(peer), nonce, run, directory.meter_keys[meter], public)
            box = nonce + cipher.encrypt(nonce, content, _about(directory, run, meter, name))
            boxes[row] = np.frombuffer(box, dtype=np.uint8)
        sealed[name] = Sealed(at, boxes)
    return sealed


def open_shares(
    directory: MeterDirectory, run: SumRun, name: str, key: BoxKey, sealed: Sealed, numbers: Field = FIELD
) -> tuple[IntArray, NDArray[np.uint8], FieldArray, IntArray]:
    """Open what one aggregator got.

    Returns:
        Meters whose messages are good, the marks of their sharings, their shares, and meters whose messages are not:
        changed, of another run, or meant for another.
    """
    good, marks, shares, bad = [], [], [], []
    public = directory.box_keys[name]
    for meter, row in zip(sealed.meters.tolist(), sealed.boxes, strict=True):
        box = row.tobytes()
        nonce, peer = box[:NONCE_BYTES], directory.meter_keys[meter]
        try:
            secret = key.key.exchange(X25519PublicKey.from_public_bytes(peer))
            cipher = _cipher(secret, nonce, run, peer, public)
            content = cipher.decrypt(nonce, box[NONCE_BYTES:], _about(directory, run, meter, name))
        except (InvalidTag, ValueError):
            bad.append(meter)
            continue
        values = np.frombuffer(content, dtype="<u8", offset=MARK_BYTES).astype(np.uint64)
        if (values >= np.uint64(numbers.prime)).any():
            bad.append(meter)
            continue
        good.append(meter)
        marks.append(np.frombuffer(content[:MARK_BYTES], dtype=np.uint8))
        shares.append(values)
    return (
        np.array(good, dtype=np.int64),
        np.array(marks, dtype=np.uint8).reshape(-1, MARK_BYTES),
        np.array(shares, dtype=np.uint64).reshape(-1, run.n_values),
        np.array(bad, dtype=np.int64),
    )


def _cipher(secret: bytes, nonce: bytes, run: SumRun, meter: bytes, aggregator: bytes) -> ChaCha20Poly1305:
    # The nonce goes into the key as well, so that two sealings never share a key and a nonce.
    derived = HKDF(hashes.SHA256(), 32, salt=nonce, info=_INFO + run.context + meter + aggregator)
    return ChaCha20Poly1305(derived.derive(secret))


def _about(directory: MeterDirectory, run: SumRun, meter: int, aggregator: str) -> bytes:
    """What a message is bound to: the run with the directory and period, the meter, its group and the aggregator."""
    parts = (directory.meters[meter], directory.groups[meter], aggregator)
    return run.context + b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
