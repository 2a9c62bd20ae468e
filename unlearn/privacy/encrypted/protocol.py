"""An encrypted sum over a channel: the server asks meters and key holder, and itself sees ciphertexts alone.

Meters take the key holder's keys only with its signature, and refuse keys for other numbers than they agreed to. The
server gets the total back, as the one who asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from unlearn.checks import IntArray, require_each_once, short_repr
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.bfv import Encryptor, KeyHolder, RunningSum, label_of
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.parameters import Summands
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text
from unlearn.privacy.federated.party import Party

#: The tasks.
KEYS, ENCRYPT, OPEN = "encrypted/keys", "encrypted/encrypt", "encrypted/open"

#: Meters that are asked at once; memory holds so many answers and one sum.
BATCH = 64


@short_repr
@dataclass(frozen=True)
class EncryptedTotal:
    """What came out.

    Attributes:
        sums: exact sums, n_values whole numbers.
        members: whose numbers are in them.
        vanished: who did not answer.
        refused: why each that refused did so, or why its ciphertext was left out.
    """

    sums: tuple[int, ...] = field(repr=False)
    members: tuple[str, ...]
    vanished: tuple[str, ...]
    refused: dict[str, str]


def meter(
    name: str, identity: Identity, roster: Roster, holder: str, summands: Summands, values: Callable[[], IntArray]
) -> Party:
    """A meter's side.

    Args:
        name: its own.
        identity: its own key.
        roster: where the key holder's key stands.
        holder: name of the key holder that it trusts.
        summands: what it agreed to have summed.
        values: gives its numbers, shape (n_values,).
    """
    done = set[str]()

    def encrypt(kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        run = as_text(left.pop("run", np.zeros(0, np.uint8)))
        keys = PublicKeys.read_signed(left, holder, roster)
        if keys.settings != summands.text:
            raise ProtocolError(
                f"{name}: expected keys for the numbers that it agreed to, got keys for others. Agree anew first."
            )
        label_of(keys, run)  # refuses what is no run
        if run in done:
            raise ProtocolError(f"{name}: expected a new run, got one that it took part in. Start a new run.")
        done.add(run)
        return Encryptor(keys).encrypt(values(), run, name).signed(identity).payload()

    return Party(name, {ENCRYPT: encrypt})


def key_holder(name: str, identity: Identity, keys: SecretKeys, roster: Roster, server: str, minimum: int) -> Party:
    """The key holder's side; see `bfv.KeyHolder`."""
    own = KeyHolder(keys, roster, server, minimum)

    def public(kept: Payload, asked: Payload) -> Payload:
        return keys.public.signed(identity)

    def opened(kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        run = as_text(left.pop("run", np.zeros(0, np.uint8)))
        # Sums may be beyond 64 bits: as a text.
        return {"sums": as_bytes(",".join(map(str, own.open(left, run))))}

    return Party(name, {KEYS: public, OPEN: opened})


def encrypted_sum(
    channel: Channel,
    server: str,
    identity: Identity,
    roster: Roster,
    holder: str,
    meters: Sequence[str] | None = None,
) -> EncryptedTotal:
    """Run one sum as the server.

    Meters that vanish or refuse, and ciphertexts that are refused, are left out; the key holder's minimum decides
    whether the rest is enough.

    Args:
        channel: to meters and key holder.
        server: the server's name on the roster.
        identity: the server's key.
        roster: of all of them.
        holder: name of the key holder.
        meters: who is asked; None means all of the channel but the key holder. A feeder's sum asks its meters.

    Raises:
        InputError: a meter that the channel does not have, or one named twice.
        ProtocolError: the key holder vanished, or refused, such as a sum of too few.
    """
    names = [name for name in channel.members if name != holder] if meters is None else list(meters)
    if len(set(names)) < len(names):
        require_each_once("meters", names)
    if unknown := set(names) - set(channel.members):
        raise InputError(f"meters: expected members of the channel, got {len(unknown)} others. Leave them out.")
    signed, run = _of(channel, KEYS, holder, {}), new_run()
    total = RunningSum(PublicKeys.read_signed(signed, holder, roster), run, roster)
    asked = signed | {"run": as_bytes(run)}
    vanished, refused, members = list[str](), dict[str, str](), list[str]()
    for start in tqdm(range(0, len(names), BATCH), "encrypted sum", delay=2, leave=False):
        replies = channel.ask(ENCRYPT, dict.fromkeys(names[start : start + BATCH], asked))
        vanished += replies.vanished
        refused |= replies.refusals
        for name, answer in replies.answers.items():
            try:
                total.add(answer, name)
                members.append(name)
            except ProtocolError as error:
                refused[name] = str(error)
    message = total.total(server).signed(identity).payload() | {"run": as_bytes(run)}
    answer = _of(channel, OPEN, holder, message)
    try:
        sums = tuple(int(one) for one in as_text(answer["sums"]).split(","))
        if len(sums) != total.summands.n_values:
            raise ValueError
    except (KeyError, ValueError):
        raise ProtocolError(f"{holder}, {OPEN}: expected sums, got another form. Start a new run.") from None
    return EncryptedTotal(sums, tuple(members), tuple(vanished), refused)


def _of(channel: Channel, task: str, member: str, payload: Payload) -> Payload:
    """One member's answer."""
    replies = channel.ask(task, {member: payload})
    if member not in replies.answers:
        reason = replies.refusals.get(member, "it vanished")
        raise ProtocolError(f"encrypted sum, {task}: expected an answer of {member}, got none: {reason}")
    return replies.answers[member]
