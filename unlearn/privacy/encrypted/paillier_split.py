"""Paillier's key in shares: any t of n holders decrypt a sum together, and fewer decrypt nothing.

The exponent d, which is 1 modulo n and 0 modulo (p - 1)(q - 1), decrypts: c^d = 1 + n m modulo n^2. It is written as a
sum of random numbers, one for each t - 1 of the holders, which all *others* get (replicated shares: Ito, Saito and
Nishizeki, Globecom 1987). So t holders have all numbers, and any t - 1 lack one, without which d is as good as uniform.
A holder raises the ciphertext to what it has, and the product of these partial decryptions is c^d.

Trust: the dealer, who makes the key and forgets it. A holder does not take anybody's word for what is summed: it gets
the ciphertexts that the meters signed, checks each, and multiplies them itself. So nobody can pass off one meter's
ciphertext as a sum while at least one of the holders asked is honest. Each meter is in one sum of a run alone, so that
no difference of two sums is decrypted; that holds as long as no holder colludes with whoever asks, since two majorities
have a holder in common. Whoever combines the parts learns the total. Holders are semi-honest in what they answer: a
wrong part is noticed unless it is shifted on purpose, which changes the total and reveals nothing. Meters that collude
can subtract their own readings from a total, as from any other, and one that derives its ciphertext from another's,
which it has to see first, can give that one more weight in the total: meters are semi-honest, too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import require_count, require_distinct
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.paillier import (
    SCHEME,
    Paillier,
    PaillierSum,
    as_sums,
    make_paillier_keys,
    require_minimum,
)
from unlearn.privacy.encrypted.paillier_packing import Packing, require_weights
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload

#: Most numbers that a key is split into.
MOST_SHARES = 1000


def make_split_keys(holders: Sequence[str], threshold: int, bits: int = 3072) -> dict[str, SecretKeys]:
    """Make a key that nobody has: what each holder gets, by name; all have the same public key.

    Args:
        holders: names.
        threshold: t, how many decrypt together: a majority, at least 2.
        bits: of the modulus; see `paillier.SECURITY`.

    Raises:
        InputError: two holders of one name, a threshold that is no majority, or more than `MOST_SHARES` shares.
        MissingPackageError: phe is not installed.
    """
    names = tuple(sorted(holders))
    require_distinct("holders", names, "holder")
    if not max(2, len(names) // 2 + 1) <= require_count("threshold", threshold) <= len(names):
        raise InputError(
            f"threshold: expected a majority of the {len(names)} holders and at least 2, got {threshold}. Two groups "
            "without a common holder could decrypt sums whose difference is one meter."
        )
    if comb(len(names), threshold - 1) > MOST_SHARES:
        raise InputError(f"holders: expected at most {MOST_SHARES} shares, got more. Take fewer holders.")
    keys = make_paillier_keys(bits)
    half = len(keys.secret) // 2
    p, q = int.from_bytes(keys.secret[:half]), int.from_bytes(keys.secret[half:])
    n, phi = p * q, (p - 1) * (q - 1)
    exponent = phi * pow(phi, -1, n)
    left = {lacking: secrets.randbelow(n * n) for lacking in itertools.combinations(names, threshold - 1)}
    # The last one makes the sum right. Modulo the order n phi of the group it is uniform as well, up to 2^(-bits / 2).
    last = next(reversed(left))
    left[last] = (exponent - sum(left.values()) + left[last]) % (n * phi)
    return {name: _written(keys.public, name, names, threshold, left) for name in names}


@dataclass(frozen=True)
class Policy:
    """What a holder helps to decrypt.

    Attributes:
        minimum: meters in a sum.
        tariffs: public weights by which bills of single meters are made; each weighs at least two readings, so that no
            bill is a reading. Weights of very different sizes, such as 1 and 10^6, tell readings all the same: agree to
            published tariffs alone. A bill needs no other meters.

    Raises:
        InputError: a minimum below 2, or a tariff with one reading.
    """

    minimum: int
    tariffs: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if require_count("minimum", self.minimum) < 2:
            raise InputError("minimum: expected at least 2 meters, got 1, whose readings would be seen.")
        object.__setattr__(self, "tariffs", tuple(map(tuple, self.tariffs)))
        for tariff in self.tariffs:
            if np.count_nonzero(require_weights(tariff, len(tariff))) < 2:
                raise InputError("tariffs: expected weights for at least two readings, got one. It would be seen.")

    def require(self, n_meters: int, weights: tuple[int, ...] | None) -> None:
        """Refuse what this does not allow."""
        if weights is None:
            require_minimum(n_meters, self.minimum)
        elif weights not in self.tariffs:
            raise ProtocolError(
                "holder: expected a tariff that it agreed to, got other weights. Agree on the tariff with all holders."
            )


class Holder:
    """One holder of shares, for one step of one run.

    Args:
        name: of the holder.
        identity: its key for signatures.
        share: of `make_split_keys`.
        packing: that meters use.
        roster: of the meters, agreed upon with them and not with whoever aggregates.
        policy: what it helps to decrypt.
        run: identifier.
        step: of the run.

    Raises:
        InputError: the share of another holder, or a whole key.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        share: SecretKeys,
        packing: Packing,
        roster: Roster,
        policy: Policy,
        run: str,
        step: str,
    ) -> None:
        self.scheme = Paillier(share.public, packing)
        try:
            held = json.loads(share.secret)
        except ValueError:
            raise InputError(f"{name}: expected a share of a key, got a whole one. Use make_split_keys().") from None
        if held["holder"] != name:
            raise InputError(f"{name}: expected its own share, got that of another holder. Load the right file.")
        self.name, self.run, self.step = name, run, step
        self._identity, self._roster, self._policy = identity, roster, policy
        self._holders, self._threshold = tuple(held["holders"]), int(held["threshold"])
        self._shares = {tuple(lacking): int(number, 16) for lacking, number in held["shares"]}
        self._decrypted = dict[str, bytes]()

    def __repr__(self) -> str:
        return f"Holder({self.name}, {self._threshold} of {len(self._holders)})"

    def partial(
        self, sent: Sequence[Payload], quorum: Sequence[str], n_parts: int, weights: Sequence[int] | None = None
    ) -> Ciphertext:
        """Its part of decrypting the sum of these meters' ciphertexts, signed.

        Args:
            sent: what each meter signed.
            quorum: the t holders who decrypt together.
            n_parts: C, ciphertexts of each meter.
            weights: a tariff, shape (C,), or None.

        Raises:
            ProtocolError: a ciphertext that is refused, too few meters, a tariff not agreed to, a quorum that is none,
                or a meter that was in another sum of this run.
        """
        self._require_quorum(quorum)
        tariff = None if weights is None else require_weights(weights, n_parts)
        self._policy.require(len(sent), tariff)
        total = PaillierSum(self.scheme, self.run, self.step, self._roster, n_parts, tariff)
        for payload in sent:
            total.add(payload)
        label = partial_label(self.scheme, self.run, self.step, total, tariff, quorum)
        asked = partial_label(self.scheme, self.run, self.step, total, tariff, ()).step.encode()
        if any(self._decrypted.get(sender, asked) != asked for sender in total.senders):
            raise ProtocolError(
                f"{self.name}, {self.step}: expected meters that are in no other sum of this run, got some that are. "
                "The difference of two sums tells of few meters. Start a new run."
            )
        self._decrypted |= dict.fromkeys(total.senders, asked)
        exponent = self._exponent(quorum)
        parts = [self.scheme.power(number, exponent) for number in total.numbers]
        return Ciphertext(label, self.name, self.scheme.pack(parts), total.addends).signed(self._identity)

    def _require_quorum(self, quorum: Sequence[str]) -> None:
        names = set(quorum)
        if len(quorum) != len(names) or len(names) != self._threshold or not names <= set(self._holders):
            raise ProtocolError(
                f"{self.name}: expected {self._threshold} of the {len(self._holders)} holders, got {len(quorum)} names."
            )
        if self.name not in names:
            raise ProtocolError(f"{self.name}: expected to be one of the holders asked, got others.")

    def _exponent(self, quorum: Sequence[str]) -> int:
        """Each number is used by the first of the quorum who has it."""
        order = sorted(quorum)
        return sum(
            number
            for lacking, number in self._shares.items()
            if next(name for name in order if name not in lacking) == self.name
        )


def partial_label(
    scheme: Paillier,
    run: str,
    step: str,
    total: PaillierSum,
    weights: Sequence[int] | None,
    quorum: Sequence[str],
) -> Label:
    """The label of partial decryptions: it names the very product that is decrypted, its meters and who takes part."""
    about = [sorted(total.senders), None if weights is None else list(weights), sorted(quorum)]
    hashed = hashlib.sha256(json.dumps(about).encode() + b"".join(scheme.pack(total.numbers))).hexdigest()
    return Label(SCHEME, scheme.public.fingerprint, run, f"{step}/partial/{hashed}", scheme.packing.text)


def combined(
    scheme: Paillier, partials: Mapping[str, Ciphertext], n_parts: int, weight: int, slots: int | None = None
) -> NDArray[np.object_]:
    """Put partial decryptions together.

    Args:
        scheme: the key and the packing.
        partials: of all t holders that were asked, opened by an `Inbox` with the `partial_label`.
        n_parts: ciphertexts in each.
        weight: how many readings are in each sum, counted with their weights.
        slots: S, readings in each plaintext; None is the packing's.

    Returns:
        Exact sums as Python integers, shape (n_parts, S).

    Raises:
        ProtocolError: a part is missing or wrong.
    """
    product = [1] * n_parts
    for one in partials.values():
        product = scheme.multiplied(product, scheme.numbers(one, n_parts))
    if any(number % scheme.n != 1 for number in product):
        raise ProtocolError(
            "partial decryptions: expected the parts of all holders that were asked, of one ciphertext; got others. "
            "Ask again, and leave out whoever sends another part."
        )
    return as_sums([scheme.packing.unpacked((number - 1) // scheme.n, weight, slots) for number in product])


def _written(
    public: PublicKeys, name: str, names: tuple[str, ...], threshold: int, shares: Mapping[tuple[str, ...], int]
) -> SecretKeys:
    own = [[list(lacking), f"{number:x}"] for lacking, number in shares.items() if name not in lacking]
    held = {"holder": name, "holders": list(names), "threshold": threshold, "shares": own}
    return SecretKeys(public, json.dumps(held).encode())
