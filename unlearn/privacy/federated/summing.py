"""The coordinator's side of a secure sum: it learns the exact sum of members' vectors, and none of them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unlearn.checks import FloatArray, require_each_once, short_repr
from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.fixed_point import RingArray
from unlearn.privacy.federated.identity import SIGNATURE_BYTES
from unlearn.privacy.federated.messages import Payload, as_bytes, pack, require_arrays
from unlearn.privacy.federated.party import ABORT
from unlearn.privacy.federated.sharing import SHARE_BYTES, recover
from unlearn.privacy.federated.sum_protocol import (
    KEYS,
    MASKED,
    ROUND_BYTES,
    SHARES,
    SURVIVORS,
    UNMASK,
    About,
    Graph,
    SumOptions,
    digest,
    own_mask,
    pair_mask,
    rows,
)
from unlearn.privacy.federated.sum_round import SEALED_BYTES, public_key


class RefusedError(ProtocolError):
    """Members refused, or sent what the protocol does not allow.

    Attributes:
        refusals: why, by member.
        task: at which the sum ended; from `UNMASK` on, masks may have come off.
    """

    def __init__(self, message: str, refusals: Mapping[str, str], task: str) -> None:
        super().__init__(message)
        self.refusals, self.task = dict(refusals), task


@short_repr
@dataclass(frozen=True, eq=False)
class SecureTotal:
    """What came out.

    Attributes:
        high: the sum of the members' vectors, shape (n,).
        low: what `high` lost by rounding, shape (n,).
        members: whose vectors are in it.
        vanished: who did not answer at some stage; one that vanished late may be in the sum all the same.
    """

    high: FloatArray = field(repr=False)
    low: FloatArray = field(repr=False)
    members: tuple[str, ...]
    vanished: tuple[str, ...]


def secure_sum(
    channel: Channel,
    what: str,
    asked: Payload | None = None,
    options: SumOptions | None = None,
    members: Sequence[str] | None = None,
) -> SecureTotal:
    """Sum vectors of members, seeing none of them.

    The coordinator is taken to be honest but curious. Keys that it makes up, and telling members different things,
    are noticed by members. That it asks for two sums of different members, and takes the difference, no protocol of one
    sum can prevent: members decide which sums they take part in.

    >>> import numpy as np
    >>> from unlearn.privacy.federated import Identity, LocalChannel, Party, Roster, summand
    >>> own = {name: Identity.new() for name in ("north", "south", "west")}
    >>> roster = Roster({name: identity.public for name, identity in own.items()})
    >>> ones = {"ones": lambda asked: (np.ones(4), None)}
    >>> parties = [Party(name, summand(name, identity, roster, ones)) for name, identity in own.items()]
    >>> secure_sum(LocalChannel(parties), "ones").high.tolist()
    [3.0, 3.0, 3.0, 3.0]

    Args:
        channel: to the members, each with handlers of `summand`.
        what: name of the contribution.
        asked: what contributions are made of, the same for all; None means nothing.
        options: threshold, neighbours and how numbers are written.
        members: who is asked; None means all of the channel.

    Returns:
        The sum, of all who sent their masked vector.

    Raises:
        InputError: members that the channel does not have, or a threshold that is not above half of them, or above all.
        ProtocolError: fewer than the threshold stayed. Everyone who is left has been told to abort.
        RefusedError: a member refused, or sent what the protocol does not allow; the same.
    """
    options = options or SumOptions()
    names = tuple(channel.members if members is None else members)
    require_each_once("members", names)
    if unknown := sorted(set(names) - set(channel.members)):
        raise InputError(f"members: expected some of {', '.join(channel.members)}; got {', '.join(unknown)}.")
    threshold = options.least(len(channel.members))
    if not len(names) < 2 * threshold <= 2 * len(names):
        raise InputError(
            f"threshold: expected more than half and at most all of {len(names)} members, got {threshold}. "
            + ("Ask more members, or form a federation of those who are left." if threshold > len(names) else "")
        )
    message, ring = pack(asked or {}), options.fixed_point
    about = About(
        what, digest(message).hex(), names, threshold, options.neighbours or 0, ring.fraction_bits, ring.ring_bits
    )
    sums = _Coordinator(channel, about)
    try:
        return sums.run(message)
    except UnlearnError as error:
        left = [name for name in names if name not in sums.vanished]
        channel.ask(ABORT, {name: {"reason": as_bytes(str(error))} for name in left})
        raise


class _Coordinator:
    def __init__(self, channel: Channel, about: About) -> None:
        self._channel, self._about = channel, about
        self._round = np.frombuffer(secrets.token_bytes(ROUND_BYTES), dtype=np.uint8)
        self.vanished: list[str] = []

    def run(self, message: bytes) -> SecureTotal:
        about = self._about
        keys = self._keys()
        names = tuple(keys)
        roster = self._roster(keys)
        context = about.context(self._round.tobytes(), roster)
        table = {what: np.stack([answer[what] for answer in keys.values()]) for what in _ADVERTISED}
        at = np.array([about.members.index(name) for name in names], dtype=np.int64)
        graph = Graph.of(about, names, digest(at.tobytes(), table["mask_key"].tobytes(), table["share_key"].tobytes()))
        shares = self._shares(graph, {"from": at, **table})
        vectors = self._masked(graph, shares, message)
        shown = self._unmask(graph, vectors)
        total = self._without_masks(graph, context, rows(table, "mask_key"), shares, vectors, shown)
        high, low = about.fixed_point.decode(total)
        lost = tuple(name for name in about.members if name in self.vanished)
        return SecureTotal(high, low, tuple(vectors), lost)

    def _keys(self) -> dict[str, Payload]:
        return self._ask(
            KEYS,
            {name: {"about": as_bytes(self._about.text())} for name in self._about.members},
            {"roster": (np.uint8, (32,)), "mask_key": (np.uint8, (32,)), "share_key": (np.uint8, (32,)),
             "signature": (np.uint8, (SIGNATURE_BYTES,))},
        )  # fmt: skip

    def _roster(self, keys: Mapping[str, Payload]) -> bytes:
        found = {name: answer["roster"].tobytes() for name, answer in keys.items()}
        common = Counter(found.values()).most_common(1)[0][0]
        self._refuse(
            KEYS,
            {name: "its roster is another than that of most" for name, roster in found.items() if roster != common},
            "Compare the fingerprints of the rosters, and give every member the same.",
        )
        return common

    def _shares(self, graph: Graph, table: Payload) -> dict[str, Payload]:
        answers = self._ask(
            SHARES,
            dict.fromkeys(graph.names, table),
            {"sealed": (np.uint8, (None, SEALED_BYTES)), "seed_commitment": (np.uint8, (32,)),
             "key_commitment": (np.uint8, (32,))},
        )  # fmt: skip
        wanted = {name: len(graph.neighbours[i]) for i, name in enumerate(graph.names)}
        self._refuse(
            SHARES,
            {
                name: f"expected shares for {wanted[name]} neighbours, got {len(answer['sealed'])}"
                for name, answer in answers.items()
                if len(answer["sealed"]) != wanted[name]
            },
        )
        return answers

    def _masked(self, graph: Graph, shares: Mapping[str, Payload], message: bytes) -> dict[str, RingArray]:
        sharing = [i for i, name in enumerate(graph.names) if name in shares]
        asked: dict[str, Payload] = {}
        for to in sharing:
            sealed = [
                shares[graph.names[i]]["sealed"][graph.neighbours[i].index(to)]
                for i in graph.neighbours[to]
                if i in sharing
            ]
            asked[graph.names[to]] = {
                "from": np.array(sharing, dtype=np.int64),
                "sealed": np.array(sealed, dtype=np.uint8).reshape(len(sealed), SEALED_BYTES),
                "asked": as_bytes(message),
            }
        answers = self._ask(MASKED, asked, {"masked": (np.uint64, (None, self._about.fixed_point.n_limbs))})
        lengths = {name: len(answer["masked"]) for name, answer in answers.items()}
        common = Counter(lengths.values()).most_common(1)[0][0]
        self._refuse(
            MASKED,
            {
                name: f"its vector has {length} entries, that of most members {common}"
                for name, length in lengths.items()
                if length != common
            },
        )
        return {name: answer["masked"] for name, answer in answers.items()}

    def _unmask(self, graph: Graph, vectors: Mapping[str, RingArray]) -> dict[str, dict[int, bytes]]:
        """Which shares each member reveals, by whose they are."""
        at = {name: i for i, name in enumerate(graph.names)}
        survivors = np.array([at[name] for name in vectors], dtype=np.int64)
        signed = self._ask(
            SURVIVORS,
            {name: {"survivors": survivors} for name in vectors},
            {"signature": (np.uint8, (SIGNATURE_BYTES,))},
        )
        told = {
            "from": np.array([at[name] for name in signed], dtype=np.int64),
            "signature": np.stack([answer["signature"] for answer in signed.values()]),
        }
        answers = self._ask(
            UNMASK,
            dict.fromkeys(signed, told),
            {"of": (np.integer, (None,)), "shares": (np.uint8, (None, SHARE_BYTES))},
        )
        self._refuse(
            UNMASK,
            {
                name: f"expected a share for each member that it names, got {len(answer['of'])} names and "
                f"{len(answer['shares'])} shares"
                for name, answer in answers.items()
                if len(answer["of"]) != len(answer["shares"])
            },
        )
        return {
            name: dict(zip(answer["of"].tolist(), rows(answer, "shares"), strict=True))
            for name, answer in answers.items()
        }

    def _without_masks(
        self,
        graph: Graph,
        context: bytes,
        mask_keys: Sequence[bytes],
        shares: Mapping[str, Payload],
        vectors: Mapping[str, RingArray],
        shown: Mapping[str, Mapping[int, bytes]],
    ) -> RingArray:
        ring, n = self._about.fixed_point, len(next(iter(vectors.values())))
        total = np.zeros((n, ring.n_limbs), dtype=np.uint64)
        for vector in vectors.values():
            total = ring.add(total, vector)
        for own, name in enumerate(graph.names):
            if name in vectors:
                seed = self._recovered(graph, own, shown, shares[name]["seed_commitment"])
                total = ring.add(total, ring.negate(own_mask(seed, context, name, n, ring)))
            elif name in shares:
                linked = [i for i in graph.neighbours[own] if graph.names[i] in vectors]
                if not linked:
                    continue
                private = self._recovered(graph, own, shown, shares[name]["key_commitment"])
                if public_key(private) != mask_keys[own]:
                    self._refuse(UNMASK, {name: "it shared another key than the one that it sent"})
                for i in linked:
                    first, second = sorted((i, own))
                    names = graph.names[first], graph.names[second]
                    mask = pair_mask(private, mask_keys[i], context, names, n, ring)
                    # The member that stayed added it if it is the first.
                    total = ring.add(total, ring.negate(mask) if i == first else mask)
        return total

    def _recovered(
        self, graph: Graph, own: int, shown: Mapping[str, Mapping[int, bytes]], commitment: np.ndarray
    ) -> bytes:
        held = {
            at + 1: shown[graph.names[holder]][own]
            for at, holder in enumerate(graph.holders(own))
            if own in shown.get(graph.names[holder], {})
        }
        what = f"secure sum of {self._about.what}: the shares of {graph.names[own]}"
        return recover(held, graph.threshold, commitment.tobytes(), what)

    def _ask(
        self,
        task: str,
        asked: Mapping[str, Payload],
        expected: Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]],
    ) -> dict[str, Payload]:
        replies = self._channel.ask(task, {name: {"round": self._round, **own} for name, own in asked.items()})
        self.vanished += [name for name in asked if name in replies.vanished]
        refusals = dict(replies.refusals)
        answers = {name: replies.answers[name] for name in asked if name in replies.answers}
        for name, answer in answers.items():
            try:
                require_arrays(f"answer of {name}", answer, expected)
            except ProtocolError as error:
                refusals[name] = str(error)
        self._refuse(task, refusals)
        if len(answers) < self._about.threshold:
            gone = ", ".join(name for name in self._about.members if name in self.vanished)
            raise ProtocolError(
                f"secure sum of {self._about.what}: expected at least {self._about.threshold} of "
                f"{len(self._about.members)} members at {task}, got {len(answers)}; vanished: {gone}. Start anew when "
                "they are back."
            )
        return answers

    def _refuse(self, task: str, refusals: Mapping[str, str], advice: str = "") -> None:
        if refusals:
            said = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in refusals.items())
            raise RefusedError(
                f"secure sum of {self._about.what}, refused at {task}: {said}. {advice}".strip(), refusals, task
            )


_ADVERTISED = ("mask_key", "share_key", "signature")
