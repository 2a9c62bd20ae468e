"""BFV polynomials by Microsoft SEAL: keys, ciphertexts and what is computed on them, as bytes and whole numbers.

SEAL itself (`tenseal.sealapi`) is used rather than `tenseal.bfv_vector`, which packs slots alone and does not tell
the noise. SEAL draws keys and noise with its own generator, seeded from the operating system.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from unlearn.checks import IntArray
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.parameters import SumParameters
from unlearn.privacy.encrypted.seal import read, seal, written


def key_pair(own: SumParameters) -> tuple[bytes, bytes]:
    """A new public and secret key.

    Raises:
        MissingPackageError: TenSEAL is not installed.
    """
    library, context = seal(), _context(own)
    maker, public = library.KeyGenerator(context), library.PublicKey()
    maker.create_public_key(public)
    return written(public), written(maker.secret_key())


class PolynomialEncryptor:
    """Encrypts coefficients.

    Args:
        own: parameters.
        public: the public key, as `key_pair` wrote it.

    Raises:
        ProtocolError: bytes that are no public key of these parameters.
    """

    def __init__(self, own: SumParameters, public: bytes) -> None:
        self._own = own
        key = read(seal().PublicKey(), _context(own), public, "public key")
        self._encryptor = seal().Encryptor(_context(own), key)

    def encrypt(self, coefficients: IntArray) -> tuple[bytes, ...]:
        """Encrypt whole numbers below t, one or several ciphertexts of N coefficients each."""
        parts, degree = [], self._own.degree
        for start in range(0, len(coefficients), degree):
            out = seal().Ciphertext(_context(self._own))
            self._encryptor.encrypt(_plaintext(coefficients[start : start + degree]), out)
            parts.append(written(out))
        return tuple(parts)


class PolynomialDecryptor:
    """Decrypts coefficients.

    Args:
        own: parameters.
        secret: the secret key, as `key_pair` wrote it.

    Raises:
        ProtocolError: bytes that are no secret key of these parameters.
    """

    def __init__(self, own: SumParameters, secret: bytes) -> None:
        self._own = own
        key = read(seal().SecretKey(), _context(own), secret, "secret key")
        self._decryptor = seal().Decryptor(_context(own), key)

    def decrypt(self, parts: Sequence[bytes], what: str) -> list[int]:
        """All coefficients modulo t.

        Args:
            parts: the ciphertexts.
            what: whose message of which step, for the error.

        Raises:
            ProtocolError: no ciphertext of these parameters, or a noise that leaves no certainty.
        """
        coefficients = []
        for part in parts:
            cipher, plain = ciphertext(self._own, part, what), seal().Plaintext()
            if self._decryptor.invariant_noise_budget(cipher) <= 0:
                raise ProtocolError(
                    f"{what}: expected noise that leaves the result certain, got more. It is no result of what was "
                    "declared; start a new run."
                )
            self._decryptor.decrypt(cipher, plain)
            count = plain.coeff_count()
            coefficients += [int(plain.data(i)) if i < count else 0 for i in range(self._own.degree)]
        return coefficients


def ciphertext(own: SumParameters, content: bytes, what: str) -> Any:
    """Read a ciphertext.

    Raises:
        ProtocolError: other bytes, a ciphertext of other parameters, or one that hides nothing.
    """
    found = read(seal().Ciphertext(), _context(own), content, what)
    shape = (found.size(), found.coeff_modulus_size(), found.poly_modulus_degree())
    if shape != (2, len(own.primes), own.degree):
        raise ProtocolError(f"{what}: expected a ciphertext of two polynomials, got another. Leave it out.")
    if found.is_transparent():
        raise ProtocolError(f"{what}: expected a ciphertext, got one that hides nothing. Leave it out.")
    return found


def add(own: SumParameters, into: Any, other: Any) -> None:
    """Add a ciphertext to another one, in place."""
    seal().Evaluator(_context(own)).add_inplace(into, other)


def product(own: SumParameters, one: Any, coefficients: IntArray) -> bytes:
    """A ciphertext times a polynomial that everybody knows, modulo x^N + 1; coefficients from t / 2 on are below zero.

    Args:
        own: parameters.
        one: the ciphertext, as `ciphertext` read it.
        coefficients: whole numbers below t, not all zero, shape (N,).
    """
    out = seal().Ciphertext(_context(own))
    seal().Evaluator(_context(own)).multiply_plain(one, _plaintext(coefficients), out)
    return written(out)


@lru_cache(maxsize=16)
def _context(own: SumParameters) -> Any:
    """SEAL's context; SEAL itself refuses parameters below 128-bit security."""
    library = seal()
    settings = library.EncryptionParameters(library.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(own.degree)
    settings.set_coeff_modulus([library.Modulus(one) for one in (*own.primes, own.dropped) if one])
    settings.set_plain_modulus(own.plain_modulus)
    context = library.SEALContext(settings, False, library.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise InputError(f"encrypted numbers: SEAL refuses the parameters: {context.parameters_error_message()}.")
    return context


def _plaintext(coefficients: IntArray) -> Any:
    """A polynomial as SEAL reads it, highest power first."""
    terms = [f"{value:X}x^{i}" if i else f"{value:X}" for i, value in enumerate(coefficients.tolist()) if value]
    return seal().Plaintext(" + ".join(reversed(terms)) or "0")
