"""Exact sums of encrypted whole numbers under BFV (Fan and Vercauteren, 2012), by Microsoft SEAL within TenSEAL.

Trust: whoever adds (the server) sees ciphertexts and who sent them; whoever has the secret keys sees the sum, and could
read every single ciphertext it got. So server and key holder must be two parties that follow the protocol and do not
put together what they have; `split_keys` needs several holders to do so. The holder asks for `minimum` addends, as the
server counts them: it cannot check that count. A total is exact, and says of a meter what a total of few says.

SEAL itself (`tenseal.sealapi`) is used rather than `tenseal.bfv_vector`, which packs slots alone and does not tell
the noise. SEAL draws keys and noise with its own generator,
seeded from the operating system.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from unlearn.checks import IntArray, require_count, require_package
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.parameters import Summands, SumParameters, parameters
from unlearn.privacy.federated.identity import Roster
from unlearn.privacy.federated.messages import Payload

SCHEME = "bfv"
#: Steps of a run: what senders encrypt, and the sum that the server sends to the key holder.
READINGS, TOTAL = "readings", "total"


def new_keys(summands: Summands) -> SecretKeys:
    """Keys for sums of these, and of nothing else; parameters follow from `parameters`.

    Raises:
        MissingPackageError: TenSEAL is not installed.
    """
    seal, context = _seal(), _context(parameters(summands))
    maker, public = seal.KeyGenerator(context), seal.PublicKey()
    maker.create_public_key(public)
    keys = PublicKeys(SCHEME, summands.text, {"encrypt": _written(public)})
    return SecretKeys(keys, _written(maker.secret_key()))


def label_of(keys: PublicKeys, run: str, step: str = READINGS) -> Label:
    """The label of ciphertexts of a run."""
    return Label(SCHEME, keys.fingerprint, run, step, keys.settings)


class Encryptor:
    """Encrypts for the holder of keys.

    Args:
        keys: of the holder, as `PublicKeys.read_signed` took them.

    Raises:
        ProtocolError: keys of another scheme, or none that SEAL reads.
    """

    def __init__(self, keys: PublicKeys) -> None:
        self._keys, self.summands = keys, summands_of(keys)
        self._parameters = parameters(self.summands)
        public = _read(_seal().PublicKey(), self._parameters, keys.parts.get("encrypt", b""), "public key")
        self._encryptor = _seal().Encryptor(_context(self._parameters), public)

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
        return Ciphertext(label_of(self._keys, run), sender, self.encrypt_coefficients(coefficients))

    def encrypt_coefficients(self, coefficients: IntArray) -> tuple[bytes, ...]:
        """Encrypt whole numbers below t, one or several ciphertexts of N coefficients each."""
        parts, seal = [], _seal()
        for start in range(0, len(coefficients), self._parameters.degree):
            out = seal.Ciphertext(_context(self._parameters))
            self._encryptor.encrypt(_plaintext(coefficients[start : start + self._parameters.degree]), out)
            parts.append(_written(out))
        return tuple(parts)


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
        what, context = f"{found.sender}, {READINGS}", _context(self._parameters)
        parts = [_ciphertext(self._parameters, part, what) for part in found.parts]
        if self._parts:
            evaluator = _seal().Evaluator(context)
            for own, other in zip(self._parts, parts, strict=True):
                evaluator.add_inplace(own, other)
        else:
            self._parts = parts
        self.addends += 1

    def total(self, server: str) -> Ciphertext:
        """The encrypted sum so far, for the key holder; sign it before it is sent.

        Raises:
            ProtocolError: nothing came in.
        """
        if not self._parts:
            raise ProtocolError("encrypted sum: expected at least one addend, got none. Ask the senders again.")
        parts = tuple(_written(part) for part in self._parts)
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
        secret = _read(_seal().SecretKey(), self._parameters, keys.secret, "secret key")
        self._decryptor = _seal().Decryptor(_context(self._parameters), secret)

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
        seal, coefficients = _seal(), []
        for part in found.parts:
            cipher, plain = _ciphertext(self._parameters, part, what), seal.Plaintext()
            if self._decryptor.invariant_noise_budget(cipher) <= 0:
                raise ProtocolError(
                    f"{what}: expected noise that leaves the sum certain, got more. It is no sum of what was declared; "
                    "start a new run."
                )
            self._decryptor.decrypt(cipher, plain)
            count = plain.coeff_count()
            coefficients += [plain.data(i) if i < count else 0 for i in range(self._parameters.degree)]
        return [int(one) for one in coefficients], found.addends


def summands_of(keys: PublicKeys) -> Summands:
    """What keys are for.

    Raises:
        ProtocolError: keys of another scheme.
    """
    if keys.scheme != SCHEME:
        raise ProtocolError(f"public keys: expected scheme {SCHEME}, got another. Ask their holder for others.")
    return Summands.read(keys.settings)


def as_values(name: str, values: Sequence[int] | IntArray, summands: Summands) -> IntArray:
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


def _seal() -> Any:
    require_package("unlearn.privacy.encrypted", "tenseal", '"unlearn[encrypted]"')
    import tenseal.sealapi

    return tenseal.sealapi


@lru_cache(maxsize=16)
def _context(own: SumParameters) -> Any:
    """SEAL's context; SEAL itself refuses parameters below 128-bit security."""
    seal = _seal()
    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(own.degree)
    settings.set_coeff_modulus([seal.Modulus(one) for one in (own.modulus, own.dropped) if one])
    settings.set_plain_modulus(own.plain_modulus)
    context = seal.SEALContext(settings, False, seal.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise InputError(f"encrypted sum: SEAL refuses the parameters: {context.parameters_error_message()}.")
    return context


def _plaintext(coefficients: IntArray) -> Any:
    """A polynomial as SEAL reads it, highest power first."""
    terms = [f"{value:X}x^{i}" if i else f"{value:X}" for i, value in enumerate(coefficients.tolist()) if value]
    return _seal().Plaintext(" + ".join(reversed(terms)) or "0")


def _ciphertext(own: SumParameters, content: bytes, what: str) -> Any:
    found = _read(_seal().Ciphertext(), own, content, what)
    if (found.size(), found.coeff_modulus_size(), found.poly_modulus_degree()) != (2, 1, own.degree):
        raise ProtocolError(f"{what}: expected a ciphertext of two polynomials, got another. Leave it out.")
    return found


def _read(into: Any, own: SumParameters, content: bytes, what: str) -> Any:
    """Read what SEAL wrote.

    Raises:
        ProtocolError: SEAL reads it not.
    """
    descriptor, path = _memory()
    try:
        os.write(descriptor, content)
        into.load(_context(own), path)
    except (RuntimeError, ValueError, IndexError):
        raise ProtocolError(f"{what}: expected bytes that SEAL wrote, got others. Send them again.") from None
    finally:
        os.close(descriptor)
    return into


def _written(value: Any) -> bytes:
    descriptor, path = _memory()
    try:
        value.save(path)
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _memory() -> tuple[int, str]:
    """A file in memory: TenSEAL offers SEAL's bytes by the name of a file alone, and keys are not to touch a disk."""
    if not hasattr(os, "memfd_create"):
        raise InputError("encrypted sum: expected Linux, whose files in memory keep keys off the disk. Run it there.")
    descriptor = os.memfd_create("unlearn")
    return descriptor, f"/proc/self/fd/{descriptor}"
