"""Mean and variance over hours of encrypted series, such as loads of feeders.

Trust: as in `ckks`. Slots are feeders and each hour is a ciphertext, so sums over hours are sums of ciphertexts. The
server keeps two of them, of the numbers and of their squares; squares are products of two ciphertexts that are
decrypted as they are, of three polynomials, so that no key for relinearisation is made or sent. The key holder learns
mean and variance of each feeder, which it gets from both sums, and what these say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unlearn.checks import FloatArray, require_count, require_positive, short_repr
from unlearn.errors import ProtocolError
from unlearn.privacy.encrypted.ckks import RealDecryptor, context_of, label_of, opened, task_of
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.precision import Task, parameters
from unlearn.privacy.encrypted.seal import seal, written
from unlearn.privacy.federated.identity import Roster
from unlearn.privacy.federated.messages import Payload

#: The step of the two sums.
SUMS = "sums and sums of squares"


def moments_task(hours: int, largest: float, absolute: float) -> Task:
    """What keys for mean and variance are for.

    Args:
        hours: most hours of a series.
        largest: bound of |value|.
        absolute: wanted bound of the error of sum and sum of squares, *divided by the number of hours*.
    """
    return Task(largest, require_positive("absolute", absolute) * hours, require_count("hours", hours), squares=True)


@short_repr
@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of each feeder.

    Attributes:
        mean, variance: shape (n,); the variance divides by the number of hours.
        mean_error, variance_error: bounds of their errors.
    """

    mean: FloatArray = field(repr=False)
    variance: FloatArray = field(repr=False)
    mean_error: float
    variance_error: float


class RunningMoments:
    """The server's side: takes in hours as they come and keeps two sums.

    Args:
        keys: that the sender uses.
        run: identifier of the run.
        roster: who may send.

    Raises:
        ProtocolError: keys that are not for sums of squares.
    """

    def __init__(self, keys: PublicKeys, run: str, roster: Roster) -> None:
        self._keys, self._run, self._roster = keys, run, roster
        self.task, self.hours = _task(keys), 0
        self._parameters = parameters(self.task)
        self._evaluator = seal().Evaluator(context_of(self._parameters))
        self._sums: list[Any] = []

    def add(self, payload: Payload, sender: str) -> None:
        """Take in one hour, whose step is `hour(i)` for the i-th.

        Raises:
            ProtocolError: as for `Inbox.opened`; no ciphertext of these parameters; or more hours than declared, which
                is refused before anything overflows.
        """
        if self.hours >= self.task.terms:
            raise ProtocolError(
                f"mean and variance: expected at most {self.task.terms} hours, got one more. Make keys for more."
            )
        label = label_of(self._keys, self._run, hour(self.hours))
        found = Inbox(label, self._roster).opened(payload, sender)
        if len(found.parts) != 1 or found.addends != 1:
            raise ProtocolError(f"{sender}, {label.step}: expected one ciphertext, got another number. Leave it out.")
        own = self._parameters
        value = opened(own, found.parts[0], f"{sender}, {label.step}", own.scale_bits)
        square = seal().Ciphertext(context_of(own))
        self._evaluator.square(value, square)
        if self._sums:
            self._evaluator.add_inplace(self._sums[0], value)
            self._evaluator.add_inplace(self._sums[1], square)
        else:
            self._sums = [value, square]
        self.hours += 1

    def total(self, server: str) -> Ciphertext:
        """Both sums, for the key holder; sign it before it is sent.

        Raises:
            ProtocolError: nothing came in.
        """
        if not self._sums:
            raise ProtocolError("mean and variance: expected at least one hour, got none. Ask for them again.")
        label = label_of(self._keys, self._run, SUMS)
        return Ciphertext(label, server, tuple(written(one) for one in self._sums), self.hours)


def _task(keys: PublicKeys) -> Task:
    """What keys are for, which leaves room for squares."""
    found = task_of(keys)
    if not found.squares:
        raise ProtocolError(
            "public keys: expected those for mean and variance, got others. Make them for moments_task()."
        )
    return found


def hour(i: int) -> str:
    """The step of the i-th hour, from 0."""
    return f"hour {i}"


def open_moments(keys: SecretKeys, payload: Payload, run: str, roster: Roster, server: str, n: int) -> Moments:
    """The key holder's side.

    Args:
        keys: secret keys.
        payload: what the server sent.
        run: identifier of the run.
        roster: who may send.
        server: who sent it.
        n: number of feeders.

    Raises:
        ProtocolError: as for `Inbox.opened`, keys for something else, or no two sums of these parameters.
    """
    _task(keys.public)
    found = Inbox(label_of(keys.public, run, SUMS), roster).opened(payload, server)
    holder = RealDecryptor(keys)
    if len(found.parts) != 2 or found.addends > holder.task.terms:
        raise ProtocolError(f"{server}, {SUMS}: expected two sums of at most {holder.task.terms} hours, got others.")
    own, what, hours = holder.parameters, f"{server}, {SUMS}", found.addends
    mean = holder.numbers(found.parts[0], what, own.scale_bits)[:n] / hours
    squares = holder.numbers(found.parts[1], what, 2 * own.scale_bits, size=3)[:n] / hours
    first = own.term_error
    error = own.error / hours + 2.0 * holder.task.largest * first + first**2
    return Moments(mean, np.maximum(squares - mean**2, 0.0), first, error)
