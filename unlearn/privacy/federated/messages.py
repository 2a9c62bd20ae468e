"""What a message carries: named arrays, written as safetensors, so that nothing in a message is ever executed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unlearn.errors import ProtocolError

#: Named arrays; bytes and texts travel as arrays of uint8, see `as_bytes` and `as_text`.
Payload = dict[str, NDArray]

#: Longest message that is read, in bytes.
LONGEST = 2**30


def pack(payload: Payload) -> bytes:
    """Write a message.

    >>> unpack(pack({"shape": np.array([1, 2])}))["shape"].tolist()
    [1, 2]
    """
    return save({name: np.ascontiguousarray(value) for name, value in payload.items()})


def unpack(message: bytes) -> Payload:
    """Read a message.

    Raises:
        ProtocolError: it is too long, or none that `pack` wrote.
    """
    if len(message) > LONGEST:
        raise ProtocolError(f"message: expected at most {LONGEST} bytes, got {len(message)}. Send it in parts.")
    try:
        return load(message)
    except (SafetensorError, KeyError) as error:  # a type of numbers that NumPy does not have
        raise ProtocolError(
            f"message: expected named arrays as safetensors, got {len(message)} bytes that are none. Let every party "
            "run the same version."
        ) from error


def as_bytes(value: bytes | str) -> NDArray[np.uint8]:
    """Bytes or a text as an array of a message."""
    return np.frombuffer(value.encode() if isinstance(value, str) else value, dtype=np.uint8)


def as_text(value: NDArray) -> str:
    """The text that `as_bytes` wrote."""
    return value.astype(np.uint8).tobytes().decode(errors="replace")


def require_arrays(
    what: str, payload: Payload, expected: Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]
) -> Payload:
    """Refuse a message that does not hold exactly these arrays, finite and of these types and shapes.

    Args:
        what: whose message of which step, for the error; its values are never shown.
        payload: what came.
        expected: type and shape of each array; None leaves a length open.

    Raises:
        ProtocolError: another array, type or shape, NaN or infinity.
    """
    if payload.keys() != expected.keys():
        raise ProtocolError(f"{what}: expected arrays {sorted(expected)}, got {sorted(payload)}.")
    for name, (kind, shape) in expected.items():
        value = payload[name]
        fits = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
        if not fits or not np.issubdtype(value.dtype, kind):
            wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
            raise ProtocolError(
                f"{what}: expected {name} of type {kind.__name__} and shape {wanted}, got {value.dtype} and "
                f"{value.shape}."
            )
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise ProtocolError(f"{what}: expected finite numbers in {name}, got NaN or infinity.")
    return payload
