"""Reading and writing what SEAL holds, in memory alone."""

from __future__ import annotations

import os
from typing import Any

from unlearn.checks import require_package
from unlearn.errors import InputError, ProtocolError


def seal() -> Any:
    """SEAL's own interface within TenSEAL.

    Raises:
        MissingPackageError: TenSEAL is not installed.
    """
    require_package("unlearn.privacy.encrypted", "tenseal", '"unlearn[encrypted]"')
    import tenseal.sealapi

    return tenseal.sealapi


def read(into: Any, context: Any, content: bytes, what: str) -> Any:
    """Read what `written` gave.

    Raises:
        ProtocolError: SEAL reads it not.
    """
    descriptor, path = _memory()
    try:
        os.write(descriptor, content)
        into.load(context, path)
    except (RuntimeError, ValueError, IndexError):
        raise ProtocolError(f"{what}: expected bytes that SEAL wrote, got others. Send them again.") from None
    finally:
        os.close(descriptor)
    return into


def written(value: Any) -> bytes:
    """The bytes of a key or ciphertext."""
    descriptor, path = _memory()
    try:
        value.save(path)
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _memory() -> tuple[int, str]:
    """A file in memory: TenSEAL offers SEAL's bytes by the name of a file alone, and keys are not to touch a disk."""
    if not hasattr(os, "memfd_create"):
        raise InputError("encrypted numbers: expected Linux, whose files in memory keep keys off the disk.")
    descriptor = os.memfd_create("unlearn")
    return descriptor, f"/proc/self/fd/{descriptor}"
