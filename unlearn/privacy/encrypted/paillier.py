"""Paillier's encryption of readings: the product of ciphertexts is a ciphertext of the sum (Paillier, Eurocrypt 1999).

Trust: meters encrypt for one public key, whoever aggregates sees ciphertexts alone, and whoever holds the secret key is
trusted to decrypt totals alone, for that key decrypts every single meter's ciphertext as well. `paillier_split` takes
that trust away. Parties are semi-honest: a meter that sends something else than its readings changes the total.

A modulus n of 3072 bits is the least for 128-bit security (NIST SP 800-57), and 2048 bits give 112. A ciphertext is a
number modulo n^2 and so takes twice as many bits as n: 4096 bits for a key of 2048, whatever small number is in it.
Packing puts a day of readings into one, see `paillier_packing`.

`pip install "unlearn[paillier]"` brings phe (GPL v3) and gmpy2 (LGPL v3), and nothing else of the library needs them;
without gmpy2 all is the same and several times slower. Neither keeps to constant time: whoever can time the key
holder's machine closely is not kept out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import require_count, require_package
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.paillier_packing import Packing, require_weights
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload

SCHEME = "paillier"

#: Lengths of a key, in bits, and the security that each gives.
SECURITY = {2048: 112, 3072: 128, 4096: 152}

_INSTALL = '"unlearn[paillier]"'


def make_paillier_keys(bits: int = 3072) -> SecretKeys:
    """Make a pair of keys from the operating system's randomness.

    Args:
        bits: of the modulus; see `SECURITY`.

    Raises:
        InputError: another length.
        MissingPackageError: phe is not installed.
    """
    phe = _phe()
    if bits not in SECURITY:
        raise InputError(f"bits: expected one of {', '.join(map(str, SECURITY))}, got {bits!r}. 3072 is the default.")
    public, private = phe.generate_paillier_keypair(n_length=bits)
    size = bits // 8
    keys = PublicKeys(SCHEME, f"{bits} bits", {"encrypt": public.n.to_bytes(size)})
    return SecretKeys(keys, private.p.to_bytes(size) + private.q.to_bytes(size))


class Paillier:
    """What everybody can do with a public key.

    Args:
        public: of `make_paillier_keys` or of `paillier_split.make_split_keys`.
        packing: how readings lie in plaintexts.

    Raises:
        InputError: no key of Paillier, or a packing that does not fit.
        MissingPackageError: phe is not installed.
    """

    def __init__(self, public: PublicKeys, packing: Packing) -> None:
        self._phe = _phe()
        modulus = int.from_bytes(public.parts.get("encrypt", b""))
        if public.scheme != SCHEME or modulus.bit_length() not in SECURITY or modulus % 2 == 0:
            raise InputError("public: expected a key of Paillier, got another one. Make it with make_paillier_keys().")
        packing.require_room(modulus.bit_length())
        self.public, self.packing = public, packing
        self.key = self._phe.PaillierPublicKey(modulus)
        self.n, self.n_squared = modulus, modulus * modulus
        self.part_bytes = modulus.bit_length() // 4

    def label(self, run: str, step: str) -> Label:
        """The label that ciphertexts of this key and packing bear in a step of a run."""
        return Label(SCHEME, self.public.fingerprint, run, step, self.packing.text)

    def encrypt(self, readings: NDArray, run: str, step: str, sender: str, identity: Identity) -> Ciphertext:
        """Encrypt a meter's readings and sign them.

        Args:
            readings: whole numbers, shape (C, S): C ciphertexts of S readings, at most the packing's slots. What is to
                be weighted lies along C, and what is to stay apart along S.
            run: identifier, of `new_run`.
            step: of the run.
            sender: name of the meter.
            identity: its key.

        Raises:
            InputError: readings that are no whole numbers, or out of range.
        """
        rows = self.packing.require_readings(readings)
        parts = tuple(self._bytes(self.key.raw_encrypt(self.packing.packed(row))) for row in rows)
        return Ciphertext(self.label(run, step), sender, parts).signed(identity)

    def numbers(self, ciphertext: Ciphertext, n_parts: int) -> list[int]:
        """The numbers modulo n^2 of a ciphertext.

        Raises:
            ProtocolError: another number of parts, or what is no ciphertext under this key.
        """
        found = [int.from_bytes(part) for part in ciphertext.parts]
        lengths = {len(part) for part in ciphertext.parts}
        if len(found) != n_parts or lengths != {self.part_bytes}:
            raise ProtocolError(
                f"{ciphertext.sender}: expected {n_parts} ciphertexts of {self.part_bytes} bytes, got {len(found)}. "
                "Leave it out."
            )
        if not all(0 < number < self.n_squared and math.gcd(number, self.n) == 1 for number in found):
            raise ProtocolError(
                f"{ciphertext.sender}: expected ciphertexts under the key of this run, got numbers that are none. "
                "Leave it out."
            )
        return found

    def multiplied(self, a: Sequence[int], b: Sequence[int]) -> list[int]:
        """Ciphertexts of the sums: the products."""
        return [self._phe.util.mulmod(x, y, self.n_squared) for x, y in zip(a, b, strict=True)]

    def weighed(self, numbers: Sequence[int], weights: Sequence[int]) -> list[int]:
        """One ciphertext of the sum of all, each multiplied by its public weight."""
        total = 1
        for number, weight in zip(numbers, require_weights(weights, len(numbers)), strict=True):
            if weight:
                total = self._phe.util.mulmod(total, self.power(number, weight), self.n_squared)
        return [total]

    def power(self, number: int, exponent: int) -> int:
        """A power modulo n^2."""
        return int(self._phe.util.powmod(number, exponent, self.n_squared))

    def hidden(self, numbers: Sequence[int]) -> list[int]:
        """The same sums in new randomness, which nobody recognises as products of the ciphertexts that came in."""
        return self.multiplied(numbers, [self.key.raw_encrypt(0) for _ in numbers])

    def pack(self, numbers: Sequence[int]) -> tuple[bytes, ...]:
        """Numbers modulo n^2 as parts of a ciphertext."""
        return tuple(map(self._bytes, numbers))

    def _bytes(self, number: int) -> bytes:
        return int(number).to_bytes(self.part_bytes)


class PaillierSum:
    """The aggregator's side: multiplies ciphertexts as they come, so that memory stays flat, and sees no reading.

    Args:
        scheme: the key and the packing.
        run: identifier, of `new_run`.
        step: of the run.
        roster: the meters and their public keys.
        n_parts: C, ciphertexts of each meter.
        weights: public whole numbers, shape (C,): the sum over C of weighted readings, such as a bill, instead of C
            sums. None weights nothing.
    """

    def __init__(
        self,
        scheme: Paillier,
        run: str,
        step: str,
        roster: Roster,
        n_parts: int,
        weights: Sequence[int] | None = None,
    ) -> None:
        self._scheme, self._inbox = scheme, Inbox(scheme.label(run, step), roster)
        self._n_parts = require_count("n_parts", n_parts)
        self._weights = None if weights is None else require_weights(weights, n_parts)
        self._each = 1 if self._weights is None else sum(self._weights)
        self._numbers = [1] * (n_parts if weights is None else 1)
        self.addends = 0

    @property
    def weight(self) -> int:
        """How many readings are in each sum, counted with their weights."""
        return self.addends * self._each

    def add(self, payload: Payload, sender: str | None = None) -> None:
        """Take in one meter's ciphertext.

        Raises:
            ProtocolError: see `Inbox.opened` and `Paillier.numbers`, and more addends than were declared.
        """
        self._scheme.packing.require_addends((self.addends + 1) * self._each)
        numbers = self._scheme.numbers(self._inbox.opened(payload, sender), self._n_parts)
        if self._weights is not None:
            numbers = self._scheme.weighed(numbers, self._weights)
        self._numbers = self._scheme.multiplied(self._numbers, numbers)
        self.addends += 1

    @property
    def numbers(self) -> list[int]:
        """The products so far, the same for everybody who multiplies the same ciphertexts."""
        return list(self._numbers)

    @property
    def senders(self) -> frozenset[str]:
        """Whose ciphertexts are in it."""
        return self._inbox.senders

    def total(self, minimum: int, sender: str, identity: Identity) -> Ciphertext:
        """The encrypted sums for the key holder, in new randomness and signed by the aggregator.

        Args:
            minimum: meters that a sum must have.
            sender: name of the aggregator.
            identity: its key.

        Raises:
            ProtocolError: fewer meters.
        """
        require_minimum(self.addends, minimum)
        own = self._inbox.expected
        label = Label(own.scheme, own.key, own.run, own.step + "/total", own.holds)
        parts = self._scheme.pack(self._scheme.hidden(self._numbers))
        return Ciphertext(label, sender, parts, self.addends).signed(identity)


def decrypt_total(
    secret: SecretKeys,
    packing: Packing,
    ciphertext: Ciphertext,
    minimum: int,
    slots: int | None = None,
    weights: Sequence[int] | None = None,
) -> NDArray[np.object_]:
    """What the key holder does with a total that an `Inbox` opened.

    Args:
        secret: of `make_paillier_keys`.
        packing: that the meters used.
        ciphertext: of `PaillierSum.total`.
        minimum: meters that a sum must have; the holder takes the aggregator's word for how many there are.
        slots: S, readings in each plaintext; None is the packing's.
        weights: that were used, see `PaillierSum`.

    Returns:
        Exact sums as Python integers, shape (C, S), or (1, S) with weights.

    Raises:
        ProtocolError: too few meters, another key, or sums that readings in range cannot have.
    """
    scheme = Paillier(secret.public, packing)
    require_minimum(ciphertext.addends, minimum)
    if ciphertext.label.key != secret.public.fingerprint:
        raise ProtocolError("total: expected a ciphertext for this key, got one for another. Ask for it again.")
    numbers = scheme.numbers(ciphertext, len(ciphertext.parts) if weights is None else 1)
    half = len(secret.secret) // 2
    private = _phe().PaillierPrivateKey(
        scheme.key, int.from_bytes(secret.secret[:half]), int.from_bytes(secret.secret[half:])
    )
    weight = ciphertext.addends * (1 if weights is None else sum(weights))
    return as_sums([packing.unpacked(int(private.raw_decrypt(one)), weight, slots) for one in numbers])


def as_sums(rows: list[list[int]]) -> NDArray[np.object_]:
    """Sums of Python integers, which no weight overflows, shape (C, S)."""
    return np.array(rows, dtype=object)


def require_minimum(n: int, minimum: int) -> None:
    """Refuse a sum of fewer meters."""
    if n < require_count("minimum", minimum):
        raise ProtocolError(f"sum: expected at least {minimum} meters, got fewer. Wait for more, or widen the area.")


def _phe() -> Any:
    require_package("Paillier encryption", "phe", _INSTALL)
    import phe
    import phe.util

    return phe
