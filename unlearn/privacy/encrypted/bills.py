"""Bills of encrypted readings: the utility applies any tariff and learns one number of each meter, the exact bill.

A meter encrypts its readings v_i - low as coefficients of x^i, and the utility multiplies by the public polynomial
r_0 - sum of r_i x^(N-i). Modulo x^N + 1 the constant coefficient of the product is the bill, sum of r_i (v_i - low).
All other coefficients, and the noise, are functions of the readings too. A single key holder would see them: the
utility would have to hide them under random coefficients and under noise about 2^40 times larger, in longer
ciphertexts. So readings are split first, as in `split_keys`: whatever is in the ciphertext for one holder, its noise
and what the tariff makes of it included, depends on shares that are uniform whatever the readings are. Any threshold -
1 holders learn nothing, without any such noise: what they see of two profiles is the same distribution, at a distance
of zero and not 2^-40, for unlimited computing power as well. Each holder gives away the constant coefficients alone,
which are shares of the bill, random up to their sum.

Trust: fewer than `threshold` holders may put together all they have, also with the utility, which then knows bills as
it does anyway. All follow the protocol. A holder cannot see which rates were applied: a utility that applies others
than it published learns another number of the meter, once for each time that the meter encrypts a period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.checks import IntArray
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.bfv import READINGS, label_of
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.parameters import BillTerms
from unlearn.privacy.encrypted.polynomials import PolynomialDecryptor, ciphertext, product
from unlearn.privacy.encrypted.split_keys import Split, of_shares
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload


def as_rates(rates: Sequence[int] | IntArray, terms: BillTerms) -> IntArray:
    """Rates of a tariff, shape (n_values,).

    Raises:
        InputError: another shape, no whole numbers, some beyond `highest_rate`, or all zero.
    """
    found = np.asarray(rates)
    if found.shape != (terms.n_values,) or not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"rates: expected {terms.n_values} whole numbers, got {found.dtype} of shape {found.shape}. Give one rate "
            "for each reading, in units in which all are whole."
        )
    most = max(abs(int(found.max())), abs(int(found.min())))
    if not 0 < most <= terms.highest_rate:
        raise InputError(
            f"rates: expected some other than zero and none beyond {terms.highest_rate}, got {most} as the largest. A "
            "bill could overflow; agree with the meters on a higher rate, or use coarser units."
        )
    return found.astype(np.int64)


def tariff_polynomial(rates: IntArray, degree: int, modulus: int) -> IntArray:
    """Coefficients modulo t of r_0 - sum of r_i x^(N-i), shape (degree,).

    >>> tariff_polynomial(np.array([3, 2]), 4, 16)  # 3 - 2 x^3
    array([ 3,  0,  0, 14])
    """
    found = np.zeros(degree, dtype=np.int64)
    found[0] = rates[0]
    found[degree - np.arange(1, len(rates))] = -rates[1:]
    return found % modulus


class Biller:
    """The utility's side of one run: takes in readings that were encrypted for one holder, and applies a tariff.

    Args:
        keys: of the holder.
        terms: what meters encrypt, not multiplied by shares.
        split: who holds what.
        rates: of the tariff, shape (n_values,).
        run: identifier of the run.
        roster: who may send.

    Raises:
        InputError: see `as_rates`.
        ProtocolError: keys for something else.
    """

    def __init__(
        self,
        keys: PublicKeys,
        terms: BillTerms,
        split: Split,
        rates: Sequence[int] | IntArray,
        run: str,
        roster: Roster,
    ) -> None:
        own = split.content(terms)
        if (keys.scheme, keys.settings) != (own.scheme, own.text):
            raise ProtocolError("public keys: expected keys for these bills, got others. Ask their holder for others.")
        self._keys, self._run, self._parameters = keys, run, own.parameters
        self._inbox = Inbox(label_of(keys, run), roster)
        self._tariff = tariff_polynomial(
            as_rates(rates, terms), self._parameters.degree, self._parameters.plain_modulus
        )

    def bill(self, payload: Payload, meter: str, server: str) -> Ciphertext:
        """The encrypted bill of one meter, for the holder; sign it before it is sent.

        Raises:
            ProtocolError: as for `Inbox.opened`, or no ciphertext of these parameters.
        """
        found, what = self._inbox.opened(payload, meter), f"{meter}, {READINGS}"
        if len(found.parts) != 1 or found.addends != 1:
            raise ProtocolError(
                f"{what}: expected one ciphertext of one sender, got {len(found.parts)} of {found.addends}. Leave it "
                "out."
            )
        one = ciphertext(self._parameters, found.parts[0], what)
        label = label_of(self._keys, self._run, bill_step(meter))
        return Ciphertext(label, server, (product(self._parameters, one, self._tariff),))


class BillHolder:
    """A holder's side: decrypts its shares of one bill of each meter and run.

    Args:
        keys: its secret keys, made by `bfv.new_keys(split.content(terms))`.
        terms: what it agreed to, not multiplied by shares.
        split: who holds what.
        roster: who may send.
        server: the utility.

    Raises:
        InputError: keys for something else.
    """

    def __init__(self, keys: SecretKeys, terms: BillTerms, split: Split, roster: Roster, server: str) -> None:
        own = split.content(terms)
        if (keys.public.scheme, keys.public.settings) != (own.scheme, own.text):
            raise InputError("keys: expected keys for these bills, got others. Make them with new_keys().")
        self._keys, self._roster, self._server = keys, roster, server
        self._terms, self._parameters, self._n_each = terms, own.parameters, split.n_each
        self._decryptor = PolynomialDecryptor(self._parameters, keys.secret)
        self._opened = set[tuple[str, str]]()

    def open(self, payload: Payload, run: str, meter: str) -> list[int]:
        """Shares of the bill modulo t, in the order of `Split.shares_of`; nothing else leaves the holder.

        Raises:
            ProtocolError: as for `Inbox.opened`; a second bill of a meter in a run; or a noise that leaves no
                certainty.
        """
        coefficients = self.coefficients(payload, run, meter)
        return [coefficients[at * self._terms.n_values] for at in range(self._n_each)]

    def coefficients(self, payload: Payload, run: str, meter: str) -> list[int]:
        """All that the holder itself sees of a bill, N numbers modulo t; see `open`."""
        what = f"{self._server}, {bill_step(meter)}"
        if (run, meter) in self._opened:
            raise ProtocolError(f"{what}: expected one bill in a run, got a second. Start a new run.")
        found = Inbox(label_of(self._keys.public, run, bill_step(meter)), self._roster).opened(payload, self._server)
        if len(found.parts) != 1 or found.addends != 1:
            raise ProtocolError(f"{what}: expected one ciphertext, got {len(found.parts)}. Start a new run.")
        self._opened.add((run, meter))
        return self._decryptor.decrypt(found.parts, what)


def bill_step(meter: str) -> str:
    """The step of a run in which a holder decrypts one meter's bill."""
    return f"bill of {meter}"


def bill_of(
    opened: Mapping[str, Sequence[int]], split: Split, terms: BillTerms, rates: Sequence[int] | IntArray
) -> int:
    """The exact bill, sum of r_i v_i, from what holders gave.

    Args:
        opened: of at least `threshold` holders, what `BillHolder.open` gave each.
        split: who holds what.
        terms: what meters encrypt.
        rates: that were applied.

    Raises:
        ProtocolError: too few holders, or shares on which holders differ.
    """
    modulus = split.content(terms).parameters.plain_modulus
    (found,) = of_shares({holder: [[one] for one in shares] for holder, shares in opened.items()}, split, modulus)
    # Bills above `low` are below t / 2 in absolute value.
    above = found - modulus if found >= modulus // 2 else found
    return above + terms.low * sum(int(one) for one in rates)


def signed_bills(
    billers: Mapping[str, Biller], sent: Mapping[str, Payload], meter: str, server: str, identity: Identity
) -> dict[str, Payload]:
    """What each holder gets of one meter; nothing if one of the meter's ciphertexts is refused.

    Raises:
        ProtocolError: see `Biller.bill`.
    """
    return {
        holder: biller.bill(sent[holder], meter, server).signed(identity).payload()
        for holder, biller in billers.items()
    }
