"""Pseudonyms of customers: keyed hashes, under a key of its own for each period.

A pseudonym is HMAC-SHA-256 of the customer's name under the key of the period, cut to 128 bits. Names are few, so a
plain hash of one is found by trying all; without the key nobody can try. Keys of different periods are drawn apart from
each other, so a customer's pseudonyms of two periods tell nothing of each other. Once the key of a period is destroyed,
nobody can compute its pseudonyms again; who they are is then in the `IdentityMap` alone, where one is kept.

What a pseudonym does not hide is what stands beside it: the same load curve, class or first and last hour in two
periods links them. `unlearn.attacks` measures how often.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from unlearn.errors import DataError, InputError
from unlearn.privacy.anonymize.identities import as_names, checked_period
from unlearn.store import BLANK_SEAL, alone, read_verified, write
from unlearn.store.files import in_words

_MARK = "unlearn pseudonym keys"
_BYTES = 32
#: Bits of a pseudonym, written as hexadecimal digits.
PSEUDONYM_BITS = 128
_MEND = "Bring it back from its copy; without it pseudonyms of its periods cannot be computed again."


class PseudonymKeys:
    """Keys of pseudonyms, one of 32 random bytes for each period, in one file of mode 600.

    Keep the file apart from releases, and from identity maps. Once saved or loaded, the object holds no key: each use
    reads the file, so that a key that another process destroyed is gone here, too.

    >>> keys = PseudonymKeys.new(["2013-01", "2013-02"])
    >>> january, february = (pseudonyms_of(["C7"], period, keys) for period in keys.periods)
    >>> len(january[0]), january == february
    (32, False)
    """

    def __init__(self, keys: dict[str, bytes], destroyed: tuple[str, ...] = (), path: Path | None = None) -> None:
        self.path = path
        self._kept = ({}, ()) if path is not None else (keys, destroyed)

    def __repr__(self) -> str:
        return f"PseudonymKeys({'in memory' if self.path is None else self.path}: {len(self.periods)} periods)"

    @classmethod
    def new(cls, periods: Iterable[str] = ()) -> PseudonymKeys:
        """Keys from the operating system's generator, in memory; `save` keeps them."""
        names = [checked_period(own) for own in periods]
        if len(set(names)) < len(names):
            raise InputError("periods: expected each once, got some more than once. Drop repeats.")
        return cls({own: os.urandom(_BYTES) for own in names})

    @property
    def periods(self) -> tuple[str, ...]:
        """Periods that have a key, sorted."""
        return tuple(sorted(self._read()[0]))

    @property
    def destroyed(self) -> tuple[str, ...]:
        """Periods whose key was destroyed, sorted."""
        return tuple(sorted(self._read()[1]))

    def save(self, path: str | Path) -> Path:
        """Write the keys to a new file of mode 600, which later changes are written to as well.

        Raises:
            InputError: there is a file of that name; keys are never replaced.
        """
        path = Path(path)
        keys, destroyed = self._read()
        with alone(path):
            if os.path.lexists(path):
                raise InputError(f"{path}: expected a name that is free for new keys, got a file. Choose another name.")
            _write(path, keys, destroyed)
        self.path, self._kept = path, ({}, ())
        return path

    @classmethod
    def load(cls, path: str | Path) -> PseudonymKeys:
        """Open a file that `save` wrote.

        Raises:
            DataError: no such file, a damaged one, or another; what is in it is not shown.
        """
        keys = cls({}, path=Path(path))
        keys._read()
        return keys

    def rotate(self, period: str) -> None:
        """Draw the key of a new period.

        Raises:
            InputError: the period has a key, or had one that was destroyed.
        """
        period = checked_period(period)

        def drawn(keys: dict[str, bytes], destroyed: tuple[str, ...]) -> tuple[dict[str, bytes], tuple[str, ...]]:
            if period in keys or period in destroyed:
                what = "one that was destroyed" if period in destroyed else "one that has a key"
                raise InputError(f"period: expected a new one, got {period}, {what}. Name another period.")
            return keys | {period: os.urandom(_BYTES)}, destroyed

        self._change(drawn)

    def destroy(self, period: str) -> None:
        """Destroy the key of a period: the file's old bytes are overwritten and synced. Twice is no error.

        What a disk keeps of overwritten blocks, copies of the file, and the memory of processes are beyond it.

        Raises:
            InputError: the period never had a key.
        """
        period = checked_period(period)

        def gone(keys: dict[str, bytes], destroyed: tuple[str, ...]) -> tuple[dict[str, bytes], tuple[str, ...]]:
            if period not in keys and period not in destroyed:
                raise InputError(f"period: expected one that has a key, got {period}. Look at `periods`.")
            rest = {own: key for own, key in keys.items() if own != period}
            return rest, tuple(sorted({*destroyed, period}))

        self._change(gone)

    def complete(self, periods: Iterable[str]) -> None:
        """Draw keys of the periods that have none.

        Raises:
            InputError: the key of one was destroyed.
        """
        for period in sorted({checked_period(own) for own in periods} - set(self.periods)):
            self.rotate(period)

    def tag(self, period: str, names: Iterable[str]) -> tuple[str, ...]:
        """Keyed hash of each name; see `pseudonyms_of`, which checks them."""
        keys, destroyed = self._read()
        if period not in keys:
            what = "whose key was destroyed" if period in destroyed else "that has no key"
            raise InputError(f"period: expected one with a key, got {period}, {what}. Draw a new one: rotate(period).")
        key, digits = keys[period], PSEUDONYM_BITS // 4
        return tuple(
            hmac.new(key, own.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:digits] for own in names
        )

    def _read(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        return self._kept if self.path is None else _read(self.path)

    def _change(
        self, change: Callable[[dict[str, bytes], tuple[str, ...]], tuple[dict[str, bytes], tuple[str, ...]]]
    ) -> None:
        if self.path is None:
            self._kept = change(*self._kept)
            return
        with alone(self.path):
            state = change(*_read(self.path))
            # The new file stands and is synced before the old one, still open, is overwritten: a crash loses no key.
            # Each change overwrites, for a key that is destroyed later on would be left where the file was before.
            with in_words(self.path), self.path.open("r+b") as old:
                _write(self.path, *state)
                old.write(os.urandom(os.fstat(old.fileno()).st_size))
                old.flush()
                os.fsync(old.fileno())


def _write(path: Path, keys: dict[str, bytes], destroyed: tuple[str, ...]) -> None:
    content = {
        "what": _MARK,
        "seal": BLANK_SEAL.decode(),
        "keys": {own: base64.b64encode(key).decode() for own, key in sorted(keys.items())},
        "destroyed": sorted(destroyed),
    }
    write(path, json.dumps(content, indent=1).encode(), confidential=True, sealed=True)
    with in_words(path):
        for name in (path, path.parent):
            with suppress(PermissionError):  # not every system opens folders
                descriptor = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def _read(path: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    content = read_verified(path, mend=_MEND)
    try:
        found = json.loads(content)
        if found["what"] != _MARK:
            raise ValueError
        keys = {own: base64.b64decode(key, validate=True) for own, key in found["keys"].items()}
        return keys, tuple(found["destroyed"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: expected keys of pseudonyms, got another file. Name the right one.") from None


def pseudonyms_of(customer_ids: Iterable[str], period: str, keys: PseudonymKeys) -> tuple[str, ...]:
    """Pseudonyms of customers in a period, in their order: HMAC-SHA-256 (RFC 2104), 128 bits in hexadecimal digits.

    Raises:
        InputError: a name that is no text or stands twice, or a period without a key.
    """
    names = as_names("customer_ids", customer_ids)
    found = keys.tag(checked_period(period), names)
    if len(set(found)) < len(found):
        # Of a million customers, one chance in 10**26.
        raise InputError("customer_ids: two got the same pseudonym. Draw the key of another period: rotate(period).")
    return found
