"""Forecasts from encrypted features: the server sees neither data nor forecast, the client sees no weights.

Trust: both follow the protocol and keep what they saw. The server learns how many hours were asked. The client holds
the secret keys; it learns its forecasts and, up to 2^-26 in total variation for each load and request, nothing else of
the weights: but forecasts are themselves equations in the weights, and as many different hours as the model has weights
per load solve for all of them. So the server answers a limited number of hours of each client. It counts the hours that
the client names, for it cannot see them: a client that breaks the protocol and fills further slots of a request gets
forecasts of these, too. Where weights are public, that limit can be set at will.

The same serves a network with an analytic head: the client computes the features of the frozen extractor, which holds
no customers' data, and the head, which does, stays at the server.

Slots are hours, so a forecast is a sum of features times numbers: no rotation, no rescaling, and keys that encrypt
alone. Features come a few at a time, and the server keeps a sum for each load instead of what came. Between two
requests it keeps the runs and hours that it answered to each client, and no keys; a server that starts anew counts
anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_shape
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.ckks import (
    Decrypted,
    RealDecryptor,
    RealEncryptor,
    RunningWeightedSums,
    label_of,
    new_real_keys,
    require_range,
    task_of,
)
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, new_run
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.precision import Task, parameters
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays
from unlearn.privacy.federated.party import Handler

if TYPE_CHECKING:
    from unlearn.privacy.federated.channel import Channel

#: Tasks of the protocol: the client's keys, and features; the answer to the last of these is the forecast.
KEYS, FORECAST = "forecast_keys", "forecast"

#: Features in one message, of about 0.3 MB each.
_AT_ONCE = 8


def forecast_task(n_features: int, mass: float, largest: float, absolute: float = 1e-6) -> Task:
    """What forecast keys are for.

    Args:
        n_features: without the intercept.
        mass: bound of the sum of a load's absolute weights and |intercept| / largest, which the server tells; a round
            number tells little of the weights.
        largest: bound of |feature|.
        absolute: wanted bound of a forecast's error, in the unit of the forecast.
    """
    return Task(largest, absolute, require_count("n_features", n_features) + 1, mass, flooded=True)


class ForecastServer:
    """The server's side: handlers of a `Party`.

    Args:
        name: of the server.
        identity: that it signs with.
        roster: who may ask.
        weights: shape (B, F).
        intercept: shape (B,).
        task: that it computes for; keys for another are refused.
        hours: most hours that it answers to one client; None means F, one below what solves for F weights and an
            intercept.

    Raises:
        InputError: other shapes, NaN or infinity, or weights beyond the task.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        roster: Roster,
        weights: ArrayLike,
        intercept: ArrayLike,
        task: Task,
        hours: int | None = None,
    ) -> None:
        self._weights, self._intercept = (
            as_floats("weights", weights, ndim=2),
            as_floats("intercept", intercept, ndim=1),
        )
        require_shape("intercept", self._intercept, (len(self._weights),))
        if not len(self._weights):
            raise InputError("weights: expected at least one row, got none.")
        require_finite("weights", self._weights)
        require_finite("intercept", self._intercept)
        self.name, self.task, self._identity, self._roster = name, task, identity, roster
        self.hours = self._weights.shape[1] if hours is None else require_count("hours", hours)
        mass = np.abs(self._weights).sum(axis=1) + np.abs(self._intercept) / task.largest
        if self._weights.shape[1] + 1 > task.terms or mass.max() > task.mass or task.squares:
            raise InputError(
                f"task: expected one for {self._weights.shape[1] + 1} terms and this model's absolute weights, got "
                f"{task.terms} terms and a bound of {task.mass:g}. Agree on a larger task."
            )
        self._begun, self._answered, self._runs = dict[str, _Begun](), dict[str, int](), set[tuple[str, str]]()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What answers each task."""
        return {KEYS: self._take_keys, FORECAST: self._forecast}

    def _take_keys(self, kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        client = as_text(left.pop("client", np.zeros(0, np.uint8)))
        keys = PublicKeys.read_signed(left, client, self._roster)
        if task_of(keys) != self.task:
            raise ProtocolError(f"keys of {client}: expected keys for the agreed task, got others. Make new ones.")
        RealEncryptor(keys)
        # One request of a client at a time: what it began before and did not finish is forgotten.
        self._begun[client] = _Begun(keys)
        return {"outputs": np.array([len(self._weights)], dtype=np.int64)}

    def _forecast(self, kept: Payload, asked: Payload) -> Payload:
        what = f"{self.name}, {FORECAST}"
        found = Ciphertext.read(asked, what)
        client, run = found.sender, found.label.run
        if (client, run) in self._runs:
            raise ProtocolError(f"{what}: expected a new run, got one that was answered before. Start a new run.")
        if client not in self._begun:
            raise ProtocolError(f"{what}: expected a client whose keys came before, got another. Send the keys first.")
        begun, hours = self._begun[client], _hours(found.label.step, what)
        step = _step(hours, begun.taken, begun.taken + len(found.parts))
        found = Inbox(label_of(begun.keys, begun.run or run, step), self._roster).opened(asked, client)
        if begun.taken + len(found.parts) > self._weights.shape[1] or hours != (begun.hours or hours):
            raise ProtocolError(
                f"{what}: expected {self._weights.shape[1]} features of the same hours, got more, or other hours. Send "
                "those of the model."
            )
        if begun.sums is None:
            self._require_allowed(client, hours, what)
            begun.run, begun.hours = run, hours
            begun.sums = RunningWeightedSums(begun.keys, self._weights, self._intercept, hours)
        begun.sums.add(found)
        if begun.taken < self._weights.shape[1]:
            return {"taken": np.array([begun.taken])}
        parts = begun.sums.total()
        del self._begun[client]
        self._answered[client] = self._answered.get(client, 0) + hours
        self._runs.add((client, run))
        label = label_of(begun.keys, run, FORECAST)
        return Ciphertext(label, self.name, parts, 1).signed(self._identity).payload()

    def _require_allowed(self, client: str, hours: int, what: str) -> None:
        slots, answered = parameters(self.task).slots, self._answered.get(client, 0) + hours
        if hours > slots:
            raise ProtocolError(f"{what}: expected at most {slots} hours in a request, got {hours}. Send several.")
        if answered > self.hours:
            raise ProtocolError(
                f"{what}: expected at most {self.hours} hours of one client, got {answered} in all. More would solve "
                "for the weights; ask the server's owner."
            )


@dataclass
class _Begun:
    """What a server keeps of a request until it is answered."""

    keys: PublicKeys
    run: str = ""
    hours: int = 0
    sums: RunningWeightedSums | None = None

    @property
    def taken(self) -> int:
        """Features that came so far."""
        return self.sums.taken if self.sums else 0


class ForecastClient:
    """The client's side: it encrypts features, and decrypts forecasts.

    >>> import numpy as np
    >>> from unlearn.privacy.federated import Identity, LocalChannel, Party, Roster
    >>> own = {name: Identity.new() for name in ("server", "utility")}
    >>> roster = Roster({name: one.public for name, one in own.items()})
    >>> task = forecast_task(n_features=2, mass=10, largest=10)
    >>> server = ForecastServer("server", own["server"], roster, [[1.0, 2.0]], [0.5], task)
    >>> channel = LocalChannel([Party("server", server.handlers)])
    >>> client = ForecastClient("utility", own["utility"], roster, channel, "server", task)
    >>> client.forecast([[1.0, -1.0], [0.0, 3.0]]).values.round(4).tolist()
    [[-0.5], [6.5]]

    Args:
        name: of the client; another than the server's.
        identity: that it signs with.
        roster: both and their public keys.
        channel: to the server.
        server: its name.
        task: agreed with the server.
        keys: of an earlier client for the same task; None makes new ones.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        roster: Roster,
        channel: Channel,
        server: str,
        task: Task,
        keys: SecretKeys | None = None,
    ) -> None:
        self._name, self._identity, self._roster = name, identity, roster
        self._channel, self._server, self.task = channel, server, task
        self._keys = keys or new_real_keys(task)
        if task_of(self._keys.public) != task:
            raise InputError("keys: expected keys for this task, got others. Make new ones.")
        self._encryptor, self._decryptor = RealEncryptor(self._keys.public), RealDecryptor(self._keys)

    def forecast(self, features: ArrayLike) -> Decrypted:
        """Ask for forecasts.

        Args:
            features: shape (hours, F).

        Returns:
            Values of shape (hours, B), for the client's own eyes; `release` what is given away.

        Raises:
            InputError: another shape, or a feature beyond the range of the task.
            ProtocolError: the server vanished, refused, or sent what it did not sign.
        """
        rows = as_floats("features", features, ndim=2).T
        require_range(rows, self.task, parameters(self.task))
        keys, n = self._keys.public, len(rows)
        agreed = self._ask(KEYS, keys.signed(self._identity) | {"client": as_bytes(self._name)})
        outputs = int(require_arrays(f"{self._server}, {KEYS}", agreed, {"outputs": (np.int64, (1,))})["outputs"][0])
        hours, run, answer = rows.shape[1], new_run(), dict[str, Any]()
        for start in tqdm(range(0, n, _AT_ONCE), desc=FORECAST, delay=2, leave=False):
            end = min(start + _AT_ONCE, n)
            sent = self._encryptor.encrypt(rows[start:end], run, self._name, _step(hours, start, end))
            answer = self._ask(FORECAST, sent.signed(self._identity).payload())
        if "taken" in answer:
            raise ProtocolError(f"{self._server}, {FORECAST}: expected a model of {n} features, got one of more.")
        found = Inbox(label_of(keys, run, FORECAST), self._roster).opened(answer, self._server)
        if len(found.parts) != outputs:
            raise ProtocolError(
                f"{self._server}, {FORECAST}: expected {outputs} outputs, got {len(found.parts)}. Start anew."
            )
        decrypted = self._decryptor.decrypt(found, hours)
        return Decrypted(decrypted.values.T, decrypted.error)

    def _ask(self, task: str, asked: Payload) -> Payload:
        replies = self._channel.ask(task, {self._server: asked})
        if self._server in replies.answers:
            return replies.answers[self._server]
        why = replies.refusals.get(self._server, "it did not answer in time. Ask again when it is back.")
        raise ProtocolError(f"{self._server}, {task}: expected an answer, got none: {why}")


def head_of(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights (B, F) and intercept (B,) of a head (B, F + 1) whose last column is the intercept."""
    table = as_floats("weights", weights, ndim=2)
    return table[:, :-1], table[:, -1]


def _step(hours: int, start: int, end: int) -> str:
    return f"features {start} to {end} of {hours} hours"


def _hours(step: str, what: str) -> int:
    """Hours that a step names; that the step is the expected one is for `Inbox` to check."""
    digits = step.removesuffix(" hours").rpartition(" ")[2]
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9 or int(digits) < 1:
        raise ProtocolError(f"{what}: expected features of a number of hours, got another step. Start anew.")
    return int(digits)
