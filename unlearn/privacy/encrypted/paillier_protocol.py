"""Exact totals and bills of encrypted readings over a `Channel`: meters encrypt, holders of shares decrypt together.

Trust: see `paillier_split`. Whoever coordinates sees the meters' ciphertexts, the holders' parts and the total.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import ProtocolError
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox
from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum, require_minimum
from unlearn.privacy.encrypted.paillier_packing import require_weights
from unlearn.privacy.encrypted.paillier_split import Holder, combined, partial_label
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text
from unlearn.privacy.federated.party import Party

#: The tasks: a meter encrypts, and a holder decrypts its part.
ENCRYPT, PARTIAL = "paillier/encrypt", "paillier/partial"


def meter_party(
    name: str, identity: Identity, scheme: Paillier, readings: Callable[[str, str], NDArray[np.integer]]
) -> Party:
    """A meter, or a gateway that speaks for meters.

    Args:
        name: on the roster.
        identity: its key for signatures.
        scheme: the key of the run, which it knows by another way than the coordinator.
        readings: whole numbers of a run and step, shape (C, S); raises where the meter does not take part. The step
            names the period. Readings of one step go into one run, for holders compare the sums of one run alone; asked
            again, the meter gives the same ciphertext.
    """
    given: dict[str, tuple[str, Payload]] = {}

    def encrypt(kept: Payload, asked: Payload) -> Payload:
        run, step = _texts(name, asked, ("run", "step"))
        if step not in given:
            given[step] = (run, scheme.encrypt(readings(run, step), run, step, name, identity).payload())
        first, payload = given[step]
        if first != run:
            raise ProtocolError(
                f"{name}: expected the run that its readings of this step went into, got another. The difference of "
                "two sums tells of few meters. Ask for another period."
            )
        return payload

    return Party(name, {ENCRYPT: encrypt})


def holder_party(name: str, holder: Callable[[str, str], Holder]) -> Party:
    """A holder of shares.

    Args:
        name: of the holder.
        holder: makes a `Holder` for a run and step; raises where it does not take part. It is called once for each, for
            a holder remembers what it helped to decrypt.
    """
    own: dict[tuple[str, str], Holder] = {}

    def partial(kept: Payload, asked: Payload) -> Payload:
        run, step = _texts(name, asked, ("run", "step"))
        if (run, step) not in own:
            own[run, step] = holder(run, step)
        (quorum,) = _texts(name, asked, ("quorum",))
        weights = asked["weights"].tolist() if "weights" in asked else None
        sent = _split(name, asked)
        n_parts = len(sent[0].get("lengths", ())) if sent else 0
        return own[run, step].partial(sent, quorum.split("\n"), n_parts, weights).payload()

    return Party(name, {PARTIAL: partial})


def encrypted_total(
    channel: Channel,
    scheme: Paillier,
    run: str,
    step: str,
    meters: Roster,
    holders: Roster,
    threshold: int,
    shape: tuple[int, int],
    minimum: int,
    weights: Sequence[int] | None = None,
    only: Sequence[str] | None = None,
) -> tuple[NDArray[np.object_], tuple[str, ...]]:
    """Ask meters for ciphertexts and holders to decrypt their sum.

    Args:
        channel: to all meters and holders.
        scheme: the key and the packing.
        run: identifier, of `new_run`.
        step: of the run.
        meters: who may send.
        holders: who has shares.
        threshold: t, of the holders.
        shape: (C, S) of each meter's readings.
        minimum: meters that must answer.
        weights: public whole numbers, shape (C,), for a bill instead of C sums.
        only: names of the meters to ask; None is all.

    Returns:
        Exact sums, shape (C, S), or (1, S) with weights; and whose readings are in them.

    Raises:
        InputError: weights that are none.
        ProtocolError: too few meters or holders answered, a part was wrong, or all holders refused.
    """
    tariff = None if weights is None else require_weights(weights, shape[0])
    about = {"run": as_bytes(run), "step": as_bytes(step)}
    replies = channel.ask(ENCRYPT, dict.fromkeys(meters.names if only is None else only, about))
    total, sent = PaillierSum(scheme, run, step, meters, shape[0], tariff), {}
    for name, payload in replies.answers.items():
        total.add(payload, name)
        sent[name] = payload
    require_minimum(total.addends, minimum)
    message = about | _joined(list(sent.values()))
    if tariff is not None:
        message["weights"] = np.array(tariff, dtype=np.int64)
    partials = _ask_holders(channel, scheme, run, step, holders, threshold, total, tariff, message)
    rows = combined(scheme, partials, 1 if tariff else shape[0], total.weight, shape[1])
    return rows, tuple(sent)


def _ask_holders(
    channel: Channel,
    scheme: Paillier,
    run: str,
    step: str,
    holders: Roster,
    threshold: int,
    total: PaillierSum,
    tariff: tuple[int, ...] | None,
    message: Payload,
) -> dict[str, Ciphertext]:
    """Parts of t holders; one that vanishes or refuses is replaced while there are others."""
    alive = list(holders.names)
    refusals: Mapping[str, str] = {}
    while len(alive) >= threshold:
        quorum = alive[:threshold]
        asked = message | {"quorum": as_bytes("\n".join(quorum))}
        replies = channel.ask(PARTIAL, dict.fromkeys(quorum, asked))
        if replies.answers.keys() == set(quorum):
            inbox = Inbox(partial_label(scheme, run, step, total, tariff, quorum), holders)
            return {name: inbox.opened(payload, name) for name, payload in replies.answers.items()}
        refusals = {**refusals, **replies.refusals}
        alive = [name for name in alive if name not in quorum or name in replies.answers]
    why = "; ".join(refusals.values()) or "the others did not answer."
    raise ProtocolError(f"{step}: expected {threshold} holders to decrypt, got {len(alive)}: {why}")


def _joined(payloads: list[Payload]) -> Payload:
    """Several payloads in one message."""
    return {f"{i}/{name}": value for i, payload in enumerate(payloads) for name, value in payload.items()}


def _split(what: str, message: Payload) -> list[Payload]:
    """What `_joined` put together."""
    found: dict[int, Payload] = {}
    for key, value in message.items():
        place, _, name = key.partition("/")
        if name and place.isdecimal():
            found.setdefault(int(place), {})[name] = value
    if sorted(found) != list(range(len(found))):
        raise ProtocolError(f"{what}: expected all ciphertexts of a message, got some. Send it again.")
    return [found[place] for place in range(len(found))]


def _texts(what: str, asked: Payload, names: Sequence[str]) -> list[str]:
    missing = [name for name in names if name not in asked]
    if missing:
        raise ProtocolError(
            f"{what}: expected {', '.join(missing)} in a message, got none. Let every party run the same version."
        )
    return [as_text(asked[name]) for name in names]
