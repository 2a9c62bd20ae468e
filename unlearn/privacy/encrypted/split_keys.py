"""Split keys: t of k holders together decrypt a sum, and fewer of them nothing at all.

Each sender splits the coefficients of its numbers at random modulo t, the plaintext modulus, into additive shares.
There is one share for each set of threshold - 1 holders, and every holder outside of that set gets it (replicated
secret sharing: Ito, Saito and Nishizeki, 1987). So any threshold of them have all shares, and any threshold - 1 lack
one, which makes all others uniform whatever the readings are: that holds against unlimited computing power, and for
holders that decrypt the ciphertexts of one single meter. Each holder's shares are encrypted for its own keys, and the
server adds the ciphertexts of each holder on their own. Towards the server and the network, secrecy is that of BFV.

A joint BFV key with partial decryptions was the other choice. It needs noise that drowns the secret in every partial
decryption, hence larger ciphertexts, is secure only as far as lattices are, and SEAL offers it not. Shares cost a
ciphertext per holder instead.

Trust: fewer than `threshold` holders may put together all they have, also with the server. All follow the protocol; a
holder that lies makes the total wrong.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TypeVar

import numpy as np

from unlearn.checks import IntArray, require_count, require_distinct
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.bfv import ENCRYPT_WITH, as_values, label_of, sums_of
from unlearn.privacy.encrypted.envelope import Ciphertext
from unlearn.privacy.encrypted.keys import PublicKeys
from unlearn.privacy.encrypted.parameters import Encryptable, Summands
from unlearn.privacy.encrypted.polynomials import PolynomialEncryptor

Content = TypeVar("Content", bound=Encryptable)

#: More shares than this would make ciphertexts of no use.
_MOST_SHARES = 1_000


@dataclass(frozen=True)
class Split:
    """Who holds which share.

    >>> split = Split(("audit", "billing", "security"), threshold=2)
    >>> split.shares_of("audit")  # of three, all but the one that leaves it out
    (1, 2)

    Attributes:
        holders: names.
        threshold: how many of them decrypt together.

    Raises:
        InputError: fewer than two holders, two of one name, or a threshold of 1 or above their number.
    """

    holders: tuple[str, ...]
    threshold: int

    def __post_init__(self) -> None:
        require_distinct("split", list(self.holders), "holder")
        if not 2 <= require_count("threshold", self.threshold) <= len(self.holders):
            raise InputError(
                f"threshold: expected 2 to all {len(self.holders)} holders, got {self.threshold}. With 1, each of them "
                "could read alone."
            )
        if self.n_shares > _MOST_SHARES:
            raise InputError(f"split: expected at most {_MOST_SHARES} shares, got {self.n_shares}. Take fewer holders.")

    @property
    def n_shares(self) -> int:
        """Additive shares of a number, each unknown to threshold - 1 holders."""
        return comb(len(self.holders), self.threshold - 1)

    def shares_of(self, holder: str) -> tuple[int, ...]:
        """Which shares a holder gets, ascending."""
        without = itertools.combinations(self.holders, self.threshold - 1)
        return tuple(i for i, left_out in enumerate(without) if holder not in left_out)

    @property
    def n_each(self) -> int:
        """Shares of a number that each holder gets."""
        return comb(len(self.holders) - 1, self.threshold - 1)

    def content(self, content: Content) -> Content:
        """What keys of a holder are for: all its shares; see `bfv.new_keys`."""
        return content.in_shares(self.n_each)


class SplitEncryptor:
    """Splits one sender's numbers and encrypts a share for each holder.

    Args:
        split: who holds what.
        keys: of each holder that takes part, at least `threshold`, made by `bfv.new_keys(split.content(content))`.
        content: what is encrypted.

    Raises:
        InputError: keys of others than the holders, of too few of them, or for other numbers.
        ProtocolError: keys that SEAL reads not.
    """

    def __init__(self, split: Split, keys: Mapping[str, PublicKeys], content: Encryptable) -> None:
        if not set(keys) <= set(split.holders) or len(keys) < split.threshold:
            raise InputError(
                f"keys: expected those of at least {split.threshold} holders and of nobody else, got others. Ask "
                "them again."
            )
        own = split.content(content)
        self._split, self._keys, self._content, self._parameters = split, dict(keys), content, own.parameters
        if any((one.scheme, one.settings) != (own.scheme, own.text) for one in keys.values()):
            raise InputError("keys: expected keys for what is encrypted, got others. Make them with new_keys().")
        if len({one.fingerprint for one in keys.values()}) < len(keys):
            raise InputError("keys: expected keys of its own for each holder, got one of two. Let each make its own.")
        self._encryptors = {
            holder: PolynomialEncryptor(self._parameters, one.parts.get(ENCRYPT_WITH, b""))
            for holder, one in keys.items()
        }

    def encrypt(self, values: Sequence[int] | IntArray, run: str, sender: str) -> dict[str, Ciphertext]:
        """A ciphertext for each holder; sign each before it is sent.

        Raises:
            InputError: see `Encryptor.encrypt`.
        """
        numbers = as_values("values", values, self._content)
        shares = shared(numbers, self._split, self._parameters.plain_modulus)
        found = {}
        for holder, encryptor in self._encryptors.items():
            own = np.concatenate([shares[i] for i in self._split.shares_of(holder)])
            found[holder] = Ciphertext(label_of(self._keys[holder], run), sender, encryptor.encrypt(own))
        return found


def shared(coefficients: IntArray, split: Split, modulus: int) -> IntArray:
    """Random shares that add up to the coefficients modulo a power of two, shape (n_shares, n)."""
    n, n_bytes = len(coefficients), 8
    drawn = np.frombuffer(secrets.token_bytes((split.n_shares - 1) * n * n_bytes), dtype=np.uint64)
    # The low bits of uniform words are uniform, for the modulus is a power of two.
    others = (drawn & np.uint64(modulus - 1)).astype(np.int64).reshape(split.n_shares - 1, n)
    return np.vstack([others, (coefficients - others.sum(0)) % modulus])


def joined(opened: Mapping[str, tuple[Sequence[int], int]], split: Split, summands: Summands) -> list[int]:
    """The exact sums, from what holders decrypted.

    Args:
        opened: of at least `threshold` holders, what `KeyHolder.open_coefficients` gave each.
        split: who holds what.
        summands: what is summed, not multiplied by shares.

    Raises:
        ProtocolError: too few holders, sums of different numbers of addends, or shares on which holders differ.
    """
    if len({addends for _, addends in opened.values()}) > 1:
        raise ProtocolError("split keys: expected sums of the same senders, got others. Start a new run.")
    n, modulus = summands.n_values, split.content(summands).parameters.plain_modulus
    parts = {
        holder: [[int(one) for one in coefficients[at * n : (at + 1) * n]] for at in range(split.n_each)]
        for holder, (coefficients, _) in opened.items()
    }
    return sums_of(of_shares(parts, split, modulus), summands, next(iter(opened.values()), ([], 0))[1])


def of_shares(opened: Mapping[str, Sequence[Sequence[int]]], split: Split, modulus: int) -> list[int]:
    """Numbers modulo t, from the shares of at least `threshold` holders.

    Args:
        opened: of each holder its shares, in the order of `Split.shares_of`.
        split: who holds what.
        modulus: t.

    Raises:
        ProtocolError: too few holders, or shares on which holders differ.
    """
    if not set(opened) <= set(split.holders) or len(opened) < split.threshold:
        raise ProtocolError(
            f"split keys: expected results of at least {split.threshold} of {', '.join(split.holders)}; got "
            f"{len(opened)}. Ask more of them."
        )
    found = dict[int, Sequence[int]]()
    for holder, parts in opened.items():
        for share, part in zip(split.shares_of(holder), parts, strict=True):
            if list(found.setdefault(share, part)) != list(part):
                raise ProtocolError(
                    "split keys: expected holders of the same share to agree, got different results. One of them sent "
                    "something else; start a new run."
                )
    return [sum(column) % modulus for column in zip(*found.values(), strict=True)]
