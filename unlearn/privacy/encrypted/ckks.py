"""Sums and weighted sums of encrypted real numbers under CKKS (Cheon, Kim, Kim and Song, 2017), by SEAL within TenSEAL.

Trust: whoever computes sees ciphertexts, and follows the protocol; whoever has the secret keys reads all that is
encrypted for them. Results carry noise that tells of the secret key (Li and Micciancio, 2021), so the key holder gives
away none of what it decrypts but by `Decrypted.release`, which adds fresh noise and rounds.

SEAL itself (`tenseal.sealapi`) is used rather than `tenseal.ckks_vector`, which rescales on its own and does not say
how exact it is. Nothing here is rescaled and no key for switching is needed: a product keeps both scales, and the
modulus has room for the largest result that the task allows. So scale and depth are known before a ciphertext is
touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_shape, short_repr
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.precision import RealParameters, Task, parameters
from unlearn.privacy.encrypted.seal import read, seal, written

SCHEME = "ckks"

#: Given away, a result differs from one of another error by less than this in total variation, for each number.
_RELEASE_BITS = 20


def new_real_keys(task: Task) -> SecretKeys:
    """Keys for one kind of computation; parameters follow from `precision.parameters`.

    Raises:
        MissingPackageError: TenSEAL is not installed.
        InputError: see `parameters`.
    """
    context = context_of(parameters(task))
    maker, public = seal().KeyGenerator(context), seal().PublicKey()
    maker.create_public_key(public)
    return SecretKeys(PublicKeys(SCHEME, task.text, {"encrypt": written(public)}), written(maker.secret_key()))


def label_of(keys: PublicKeys, run: str, step: str) -> Label:
    """The label of ciphertexts of a step."""
    return Label(SCHEME, keys.fingerprint, run, step, keys.settings)


def task_of(keys: PublicKeys) -> Task:
    """What keys are for.

    Raises:
        ProtocolError: keys of another scheme.
    """
    if keys.scheme != SCHEME:
        raise ProtocolError(f"public keys: expected scheme {SCHEME}, got another. Ask their holder for others.")
    return Task.read(keys.settings)


class RealEncryptor:
    """Encrypts real numbers for the holder of keys.

    Args:
        keys: of the holder, as `PublicKeys.read_signed` took them.

    Raises:
        ProtocolError: keys of another scheme, or none that SEAL reads.
    """

    def __init__(self, keys: PublicKeys) -> None:
        self.keys, self.task = keys, task_of(keys)
        self.parameters = parameters(self.task)
        context = context_of(self.parameters)
        public = read(seal().PublicKey(), context, keys.parts.get("encrypt", b""), "public key")
        self._encryptor, self._encoder = seal().Encryptor(context, public), seal().CKKSEncoder(context)

    def encrypt(self, rows: ArrayLike, run: str, sender: str, step: str) -> Ciphertext:
        """Encrypt each row into one part; sign the result before it is sent.

        Args:
            rows: real numbers, shape (n_parts, n) with n at most N / 2.
            run, sender, step: where it belongs.

        Raises:
            InputError: another shape, NaN or infinity, or a number beyond the range of the task.
        """
        values = require_range(rows, self.task, self.parameters)
        scale = 2.0**self.parameters.scale_bits
        parts = []
        for row in values:
            plain, out = seal().Plaintext(), seal().Ciphertext(context_of(self.parameters))
            self._encoder.encode(row.tolist(), scale, plain)
            self._encryptor.encrypt(plain, out)
            parts.append(written(out))
        return Ciphertext(label_of(self.keys, run, step), sender, tuple(parts))

    def zero(self) -> Any:
        """A fresh encryption of zero, which makes a result look like no other."""
        plain, out = seal().Plaintext(), seal().Ciphertext(context_of(self.parameters))
        # Zero is the same at every scale; this one is that of results.
        self._encoder.encode(0.0, 2.0 ** result_bits(self.parameters), plain)
        self._encryptor.encrypt(plain, out)
        return out


@short_repr
@dataclass(frozen=True, eq=False)
class Decrypted:
    """What a key holder decrypted; for its own eyes, see `release`.

    Attributes:
        values: shape (n_parts, n).
        error: bound of each value's error.
    """

    values: FloatArray = field(repr=False)
    error: float

    def release(self, digits: int) -> FloatArray:
        """The values to give away: with fresh uniform noise of half a step of the last digit, and rounded to it.

        The noise of a decryption tells of the secret key; under this noise each released number is, up to 2^-20 in
        total variation, distributed as if that noise were not there.

        Args:
            digits: after the point; may be negative.

        Raises:
            InputError: the step is not 2^20 times as large as the error.
        """
        step = 10.0**-digits
        if self.error * 2.0**_RELEASE_BITS > step:
            raise InputError(
                f"digits: expected steps of at least {self.error * 2.0**_RELEASE_BITS:.1g}, got {step:g}. Release "
                "fewer digits, or make keys for a smaller error."
            )
        return np.round((self.values + uniform(self.values.shape, step / 2.0)) / step) * step


class RealDecryptor:
    """The key holder's side."""

    def __init__(self, keys: SecretKeys) -> None:
        self.task = task_of(keys.public)
        self.parameters = parameters(self.task)
        context = context_of(self.parameters)
        secret = read(seal().SecretKey(), context, keys.secret, "secret key")
        self._decryptor, self._encoder = seal().Decryptor(context, secret), seal().CKKSEncoder(context)

    def decrypt(self, found: Ciphertext, n: int, scale_bits: int | None = None) -> Decrypted:
        """Decrypt the first n numbers of each part of a ciphertext that came through an `Inbox`.

        Args:
            found: the ciphertext.
            n: numbers of each part.
            scale_bits: of the result; None means that of a weighted sum.

        Raises:
            ProtocolError: no ciphertext of these parameters.
        """
        rows = [self.numbers(part, f"{found.sender}, {found.label.step}", scale_bits)[:n] for part in found.parts]
        return Decrypted(np.array(rows), self.parameters.error)

    def numbers(self, part: bytes, what: str, scale_bits: int | None = None, size: int = 2) -> FloatArray:
        """All numbers of one part of `size` polynomials, shape (N / 2,)."""
        bits = result_bits(self.parameters) if scale_bits is None else scale_bits
        plain = seal().Plaintext()
        self._decryptor.decrypt(opened(self.parameters, part, what, bits, size), plain)
        return np.array(self._encoder.decode_double(plain))


class RunningWeightedSums:
    """Takes in encrypted x_f as they come, and keeps sum_f weights[b, f] x_f for each b: never more than B + 1 numbers.

    Each result is added to a fresh encryption of zero. Where the task is flooded, all of its N real dimensions get
    uniform noise 2^40 times as large as the noise that the weights left there, so that an honest key holder sees values
    and no more.

    Args:
        keys: that x is encrypted with.
        weights: shape (B, F).
        intercept: shape (B,).
        n: numbers of each part that are in use.

    Raises:
        InputError: other shapes, or weights beyond the task: a result could overflow or err more than promised.
        ProtocolError: keys of another scheme.
    """

    def __init__(self, keys: PublicKeys, weights: ArrayLike, intercept: ArrayLike, n: int) -> None:
        table, constant = as_floats("weights", weights, ndim=2), as_floats("intercept", intercept, ndim=1)
        require_shape("intercept", constant, (len(table),))
        if not len(table):
            raise InputError("weights: expected at least one row, got none.")
        require_finite("weights", table)
        require_finite("intercept", constant)
        task = task_of(keys)
        # The intercept is a weight of the number 1.
        terms, mass = table.shape[1] + 1, float(np.max(np.abs(table).sum(axis=1) + np.abs(constant) / task.largest))
        if terms > task.terms or mass > task.mass or task.squares:
            raise InputError(
                f"weights: expected at most {task.terms} terms with absolute weights of at most {task.mass:g} in all, "
                "got more. A result could overflow; make keys for a larger task."
            )
        self.taken, self._parameters = 0, parameters(task)
        if require_count("n", n) > self._parameters.slots:
            raise InputError(f"n: expected at most {self._parameters.slots} numbers in a part, got {n}.")
        self._weights, self._intercept, self._n = table, constant, n
        self._encryptor, context = RealEncryptor(keys), context_of(self._parameters)
        self._encoder, self._evaluator = seal().CKKSEncoder(context), seal().Evaluator(context)
        self._sums: dict[int, Any] = {}

    def add(self, found: Ciphertext) -> None:
        """Take in the next x_f, one in each part.

        Raises:
            ProtocolError: more than there are weights, or no ciphertext of these parameters.
        """
        own, what = self._parameters, f"{found.sender}, {found.label.step}"
        if self.taken + len(found.parts) > self._weights.shape[1]:
            raise ProtocolError(f"{what}: expected {self._weights.shape[1]} ciphertexts in all, got more.")
        plain = seal().Plaintext()
        for part in found.parts:
            value = opened(own, part, what, own.scale_bits)
            weights = self._weights[:, self.taken]
            # A weight that rounds to zero makes no ciphertext; SEAL would refuse it.
            for at in np.flatnonzero(np.rint(weights * 2.0**own.weight_bits)).tolist():
                self._encoder.encode(float(weights[at]), 2.0**own.weight_bits, plain)
                product = seal().Ciphertext(context_of(own))
                self._evaluator.multiply_plain(value, plain, product)
                if at in self._sums:
                    self._evaluator.add_inplace(self._sums[at], product)
                else:
                    self._sums[at] = product
            self.taken += 1

    def total(self) -> tuple[bytes, ...]:
        """Encryptions of sum_f weights[b, f] x_f + intercept[b], one of each b, once all x_f came in.

        Raises:
            ProtocolError: some did not.
        """
        own, plain = self._parameters, seal().Plaintext()
        if self.taken != self._weights.shape[1]:
            raise ProtocolError(
                f"weighted sums: expected {self._weights.shape[1]} ciphertexts, got {self.taken}. Send the others."
            )
        results = []
        for at, shift in enumerate(self._intercept.tolist()):
            total, added = self._encryptor.zero(), np.zeros(own.slots, dtype=np.complex128)
            added[: self._n] = shift
            if at in self._sums:
                self._evaluator.add_inplace(total, self._sums[at])
            for each in (added, *_floods(own)):
                self._encoder.encode(each.tolist(), 2.0 ** result_bits(own), plain)
                self._evaluator.add_plain_inplace(total, plain)
            results.append(written(total))
        return tuple(results)


def weighted_sums(
    keys: PublicKeys, found: Ciphertext, weights: ArrayLike, intercept: ArrayLike, n: int
) -> tuple[bytes, ...]:
    """`RunningWeightedSums` of all x_f in one ciphertext, of F parts.

    Raises:
        InputError, ProtocolError: as there.
    """
    running = RunningWeightedSums(keys, weights, intercept, n)
    running.add(found)
    return running.total()


def _floods(own: RealParameters) -> Iterator[NDArray[np.complex128]]:
    """Noise in every slot, real and imaginary, on every scale down to single steps of the result.

    One encoding alone would leave the last digits of the result as they are: in float64 it is a multiple of 2^-53 of
    its own size, far above one step, and the remainder would be an equation in the weights. The next one hides that.
    """
    within = own.flood
    while within:
        yield uniform((own.slots,), within) + 1j * uniform((own.slots,), within)
        # Below 2^52 steps, float64 holds each of them.
        within = within * 2.0**-13 if within * 2.0 ** result_bits(own) > 2.0**40 else 0.0


def require_range(rows: ArrayLike, task: Task, own: RealParameters) -> FloatArray:
    """Numbers to encrypt, shape (n_parts, n); see `RealEncryptor.encrypt`. Values are not shown."""
    values = as_floats("rows", rows, ndim=2)
    require_shape("rows", values, (None, None))
    if not 0 < values.shape[1] <= own.slots or not len(values):
        raise InputError(
            f"rows: expected rows of 1 to {own.slots} numbers, got shape {values.shape}. Send them in several runs."
        )
    outside = int((~(np.abs(values) <= task.largest)).sum())
    if outside:
        raise InputError(
            f"rows: expected numbers within -{task.largest:g}..{task.largest:g}, got {outside} others. A result could "
            "overflow; agree on a wider range."
        )
    return values


def result_bits(own: RealParameters) -> int:
    """log2 of a weighted sum's scale."""
    return own.scale_bits + own.weight_bits


def opened(own: RealParameters, content: bytes, what: str, scale_bits: int, size: int = 2) -> Any:
    """A ciphertext of SEAL.

    Raises:
        ProtocolError: one of other parameters, scale, level or size.
    """
    context = context_of(own)
    found = read(seal().Ciphertext(), context, content, what)
    if found.is_transparent():
        raise ProtocolError(f"{what}: expected a ciphertext, got one that hides nothing. Leave it out.")
    if found.size() != size or found.parms_id() != context.first_parms_id() or found.scale != 2.0**scale_bits:
        raise ProtocolError(f"{what}: expected a ciphertext of the agreed scale and level, got another. Leave it out.")
    return found


def uniform(shape: Sequence[int], within: float) -> FloatArray:
    """Noise within -within..within from the operating system's generator, in float64's steps of about 2^-52 of it."""
    n = int(np.prod(shape))
    drawn = np.frombuffer(os.urandom(8 * n), dtype=np.uint64).astype(np.float64).reshape(shape)
    return (drawn * 2.0**-63 - 1.0) * within


@lru_cache(maxsize=16)
def context_of(own: RealParameters) -> Any:
    """SEAL's context; SEAL itself refuses parameters below 128-bit security."""
    found = make_context(own.degree, own.prime_bits)
    if not found.parameters_set():
        raise InputError(f"encrypted numbers: SEAL refuses the parameters: {found.parameters_error_message()}.")
    return found


def make_context(degree: int, prime_bits: Sequence[int], levels: bool = False) -> Any:
    """A context of 128-bit security for primes of these sizes; `levels` if some are to be taken off by rescaling."""
    settings = seal().EncryptionParameters(seal().SCHEME_TYPE.CKKS)
    settings.set_poly_modulus_degree(degree)
    settings.set_coeff_modulus(seal().CoeffModulus.Create(degree, list(prime_bits)))
    return seal().SEALContext(settings, levels, seal().SEC_LEVEL_TYPE.TC128)
