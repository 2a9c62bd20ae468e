"""Exact sums of encrypted whole numbers under BFV (Fan and Vercauteren, 2012), by Microsoft SEAL within TenSEAL.

Trust: whoever adds (the server) sees ciphertexts and who sent them; whoever has the secret keys sees the sum, and could
read every single ciphertext it got. So server and key holder must be two parties that follow the protocol and do not
put together what they have; `split_keys` needs several holders to do so. The holder asks for `minimum` addends, as the
server counts them: it cannot check that count. A total is exact, and says of a meter what a total of few says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearn.checks import IntArray, require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.parameters import Encryptable, Summands, parameters
from unlearn.privacy.encrypted.polynomials import PolynomialDecryptor, PolynomialEncryptor, add, ciphertext, key_pair
from unlearn.privacy.encrypted.seal import written
from unlearn.privacy.federated.identity import Roster
from unlearn.privacy.federated.messages import Payload

#: Steps of a run: what senders encrypt, and the sum that the server sends to the key holder.
READINGS, TOTAL = "readings", "total"

#: What the public key is for.
ENCRYPT_WITH = "encrypt"


def new_keys(content: Encryptable) -> SecretKeys:
    """Keys for these numbers, and for nothing else; parameters follow from what is computed of them.

    Args:
        content: `Summands` of a sum, or `BillTerms` of a bill.

    Raises:
        InputError: numbers beyond every set of parameters.
        MissingPackageError: TenSEAL is not installed.
    """
    public, secret = key_pair(content.parameters)
    return SecretKeys(PublicKeys(content.scheme, content.text, {ENCRYPT_WITH: public}), secret)


def label_of(keys: PublicKeys, run: str, step: str = READINGS) -> Label:
    """The label of ciphertexts of a run."""
    return Label(keys.scheme, keys.fingerprint, run, step, keys.settings)


class Encryptor:
    """Encrypts for the holder of keys.

    Args:
        keys: of the holder, as `PublicKeys.read_signed` took them.

    Raises:
        ProtocolError: keys of another scheme, or none that SEAL reads.
    """

    def __init__(self, keys: PublicKeys) -> None:
        self._keys, self.summands = keys, summands_of(keys)
        self._encryptor = PolynomialEncryptor(parameters(self.summands), keys.parts.get(ENCRYPT_WITH, b""))

    def encrypt(self, values: Sequence[int] | IntArray, run: str, sender: str) -> Ciphertext:
        """Encrypt one sender's numbers; sign the result before it is sent.

        Args:
            values: whole numbers, shape (n_values,).
            run: identifier of the run.
            sender: whose they are.

        Raises:
            InputError: another shape, no whole numbers, or one outside of low..high: a sum could overflow.
        """
        coefficients = as_values("values", values, self.summands)
        return Ciphertext(label_of(self._keys, run), sender, self._encryptor.encrypt(coefficients))


class RunningSum:
    """The server's side: adds ciphertexts as they come and keeps their sum alone.

    Args:
        keys: that the senders use.
        run: identifier of the run.
        roster: who may send.
    """

    def __init__(self, keys: PublicKeys, run: str, roster: Roster) -> None:
        self._keys, self._run = keys, run
        self._inbox = Inbox(label_of(keys, run), roster)
        self.summands = summands_of(keys)
        self._parameters = parameters(self.summands)
        self._parts: list[Any] = []
        self.addends = 0

    def add(self, payload: Payload, sender: str | None = None) -> None:
        """Take in what a sender sent.

        Raises:
            ProtocolError: as for `Inbox.opened`; no ciphertext of these parameters; or more than may be added, which
                is refused before anything overflows.
        """
        self.take(self.checked(payload, sender))

    def checked(self, payload: Payload, sender: str | None = None) -> list[Any]:
        """What a sender sent, checked as `add` does and not added yet; for `take`.

        Raises:
            ProtocolError: see `add`.
        """
        if self.addends >= self.summands.addends:
            raise ProtocolError(
                f"encrypted sum: expected at most {self.summands.addends} addends, got one more. Make keys for more, "
                "and start a new run."
            )
        found = self._inbox.opened(payload, sender)
        wanted = self._parameters.n_ciphertexts
        if len(found.parts) != wanted or found.addends != 1:
            raise ProtocolError(
                f"{found.sender}, {READINGS}: expected {wanted} ciphertexts of one sender, got {len(found.parts)} of "
                f"{found.addends}. Leave it out."
            )
        return [ciphertext(self._parameters, part, f"{found.sender}, {READINGS}") for part in found.parts]

    def take(self, parts: list[Any]) -> None:
        """Add what `checked` gave, once."""
        for own, other in zip(self._parts, parts, strict=False):
            add(self._parameters, own, other)
        self._parts = self._parts or parts
        self.addends += 1

    def total(self, server: str) -> Ciphertext:
        """The encrypted sum so far, for the key holder; sign it before it is sent.

        Raises:
            ProtocolError: nothing came in.
        """
        if not self._parts:
            raise ProtocolError("encrypted sum: expected at least one addend, got none. Ask the senders again.")
        parts = tuple(written(part) for part in self._parts)
        return Ciphertext(label_of(self._keys, self._run, TOTAL), server, parts, self.addends)


class KeyHolder:
    """The key holder's side: decrypts one sum of each run, and no sum of too few.

    Args:
        keys: its secret keys.
        roster: who may send sums.
        server: who sends them.
        minimum: least addends of a sum.
    """

    def __init__(self, keys: SecretKeys, roster: Roster, server: str, minimum: int) -> None:
        self._keys, self._roster, self._server = keys, roster, server
        self.minimum, self._runs = require_count("minimum", minimum), set[str]()
        self.summands = summands_of(keys.public)
        self._parameters = parameters(self.summands)
        self._decryptor = PolynomialDecryptor(self._parameters, keys.secret)

    def open(self, payload: Payload, run: str) -> list[int]:
        """The exact sums, n_values whole numbers.

        Raises:
            ProtocolError: as for `Inbox.opened`; a run that was opened before; fewer addends than `minimum` or more
                than the keys are for; or a noise that leaves no certainty.
        """
        coefficients, addends = self.open_coefficients(payload, run)
        return sums_of(coefficients[: self.summands.n_values], self.summands, addends)

    def open_coefficients(self, payload: Payload, run: str) -> tuple[list[int], int]:
        """All coefficients modulo t, and the number of addends; see `open`."""
        what = f"{self._server}, {TOTAL}"
        if run in self._runs:
            raise ProtocolError(f"{what}: expected a new run, got one that was opened before. Start a new run.")
        found = Inbox(label_of(self._keys.public, run, TOTAL), self._roster).opened(payload, self._server)
        if not self.minimum <= found.addends <= self.summands.addends:
            raise ProtocolError(
                f"{what}: expected at least {self.minimum} and at most {self.summands.addends} addends, got another "
                "number. Wait for more senders, or make keys for more."
            )
        if len(found.parts) != self._parameters.n_ciphertexts:
            raise ProtocolError(
                f"{what}: expected {self._parameters.n_ciphertexts} ciphertexts, got {len(found.parts)}. Start "
                "a new run."
            )
        self._runs.add(run)
        return self._decryptor.decrypt(found.parts, what), found.addends


def summands_of(keys: PublicKeys) -> Summands:
    """What keys are for.

    Raises:
        ProtocolError: keys of another scheme.
    """
    if keys.scheme != Summands.scheme:
        raise ProtocolError(
            f"public keys: expected scheme {Summands.scheme}, got another. Ask their holder for others."
        )
    return Summands.read(keys.settings)


def as_values(name: str, values: Sequence[int] | IntArray, summands: Encryptable) -> IntArray:
    """What is encrypted of numbers, v - low; see `Encryptor.encrypt` for what is refused. Values are not shown."""
    array = np.asarray(values, dtype=object)
    if array.shape != (summands.n_values,):
        raise InputError(f"{name}: expected shape ({summands.n_values},), got {array.shape}.")
    if not all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in array):
        raise InputError(f"{name}: expected whole numbers, got others. Round them to steps first.")
    outside = sum(not summands.low <= int(one) <= summands.high for one in array)
    if outside:
        raise InputError(
            f"{name}: expected numbers of {summands.low} to {summands.high}, got {outside} outside. A sum could "
            "overflow; agree on a wider range, or limit them."
        )
    return np.array([int(one) - summands.low for one in array], dtype=np.int64)


def sums_of(coefficients: Sequence[int], summands: Summands, addends: int) -> list[int]:
    """Sums of numbers v from sums of v - low."""
    return [one + addends * summands.low for one in coefficients]
