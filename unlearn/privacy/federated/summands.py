"""The members' side of a secure sum: what each answers, and what it refuses."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from unlearn.checks import FloatArray
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import SIGNATURE_BYTES, Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays, unpack
from unlearn.privacy.federated.party import ABORT, Handler
from unlearn.privacy.federated.sharing import SHARE_BYTES, split
from unlearn.privacy.federated.sum_protocol import (
    KEYS,
    MASKED,
    ROUND_BYTES,
    SHARES,
    STAGES,
    SURVIVORS,
    UNMASK,
    About,
    SumOptions,
    digest,
    own_mask,
    pair_mask,
    rows,
    survivors_text,
)
from unlearn.privacy.federated.sum_round import PAIRS, PREFIX, SEALED_BYTES, Round, erase, keep, public_key

#: Makes of the coordinator's message the vector to be summed: high and low part (None: zeros), shape (n,).
Contribution = Callable[[Payload], tuple[FloatArray, FloatArray | None]]

_USED, _LONGEST = "sum/used", 1000
_LOG = logging.getLogger(__name__)


def summand(
    name: str,
    identity: Identity,
    roster: Roster,
    contributions: Mapping[str, Contribution],
    options: SumOptions | None = None,
) -> dict[str, Handler]:
    """What a member answers in secure sums, for its `Party`.

    What it keeps between tasks is erased when a sum ends, or the next one starts; identifiers of rounds stay, so that
    none comes twice. Whoever carries messages must keep that state before an answer leaves: a member that answers
    twice from one state gives two vectors under one mask.

    Args:
        name: of the member.
        identity: its key.
        roster: all members.
        contributions: makes a vector, by the name that the coordinator asks for.
        options: the least that it accepts; None means a majority of the roster, and masks with all.

    Returns:
        Handlers by task.

    Raises:
        InputError: the roster has another key for this name.
    """
    if roster.keys.get(name) != identity.public:
        raise InputError(
            f"{name}: expected the identity that the roster has for this name, got another. Form the federation with "
            "its public key."
        )
    member = _Summand(name, identity, roster, contributions, options or SumOptions())
    return {
        KEYS: member.keys,
        SHARES: member.shares,
        MASKED: member.masked,
        SURVIVORS: member.survivors,
        UNMASK: member.unmask,
        ABORT: member.abort,
    }


class _Summand:
    def __init__(
        self,
        name: str,
        identity: Identity,
        roster: Roster,
        contributions: Mapping[str, Contribution],
        options: SumOptions,
    ) -> None:
        self._name, self._identity, self._roster = name, identity, roster
        self._contributions, self._options = contributions, options

    def keys(self, kept: Payload, asked: Payload) -> Payload:
        require_arrays(self._of(KEYS), asked, {"round": (np.uint8, (ROUND_BYTES,)), "about": (np.uint8, (None,))})
        about = About.read(asked["about"].tobytes())
        used = kept.get(_USED, np.zeros((0, ROUND_BYTES), dtype=np.uint8))
        if (used == asked["round"]).all(axis=1).any():
            raise ProtocolError(f"{self._of(KEYS)}: expected a round that is new, got one again. Start a new one.")
        self._require_acceptable(about)
        if erase(kept):
            _LOG.warning("%s: a secure sum ended without a result, for the next one was asked for.", self._name)
        kept[_USED] = np.concatenate([used, asked["round"][None]])
        context = about.context(asked["round"].tobytes(), self._roster.fingerprint)
        private = [X25519PrivateKey.generate() for _ in range(2)]
        public = [key.public_key().public_bytes_raw() for key in private]
        own = {f"{what}_private": as_bytes(key.private_bytes_raw()) for what, key in zip(PAIRS, private, strict=True)}
        keep(kept, KEYS, {"id": asked["round"], "about": asked["about"], **own})
        return {
            "roster": as_bytes(self._roster.fingerprint),
            "mask_key": as_bytes(public[0]),
            "share_key": as_bytes(public[1]),
            "signature": as_bytes(self._identity.sign(_advertised(context, *public), "sum keys")),
        }

    def shares(self, kept: Payload, asked: Payload) -> Payload:
        self._require_turn(kept, asked, SHARES)
        require_arrays(
            self._of(SHARES),
            asked,
            {
                "round": (np.uint8, (ROUND_BYTES,)),
                "from": (np.integer, (None,)),
                "mask_key": (np.uint8, (_n(asked), 32)),
                "share_key": (np.uint8, (_n(asked), 32)),
                "signature": (np.uint8, (_n(asked), SIGNATURE_BYTES)),
            },
        )
        about = About.read(kept[PREFIX + "about"].tobytes())
        self._require_positions(SHARES, asked["from"], range(len(about.members)), about.threshold)
        context = about.context(asked["round"].tobytes(), self._roster.fingerprint)
        names = [about.members[i] for i in asked["from"]]
        table = list(zip(rows(asked, "mask_key"), rows(asked, "share_key"), strict=True))
        for name, pair, signature in zip(names, table, rows(asked, "signature"), strict=True):
            if not self._roster.is_signed(name, _advertised(context, *pair), signature, "sum keys"):
                raise ProtocolError(
                    f"{self._of(SHARES)}: expected keys that {name} signed for this sum, got others. Compare the "
                    "fingerprints of all rosters, and what each member was asked."
                )
        mine = dict(zip(names, table, strict=True)).get(self._name)
        if mine != tuple(public_key(kept[PREFIX + what + "_private"]) for what in PAIRS):
            raise ProtocolError(f"{self._of(SHARES)}: expected its own keys among all, got others. Start anew.")
        keep(kept, SHARES, {what: asked[what] for what in ("from", "mask_key", "share_key")})
        known = Round.of(kept, self._name, self._roster.fingerprint)
        seed, holders = secrets.token_bytes(32), known.graph.holders(known.own)
        private = kept[PREFIX + "mask_private"].tobytes()
        of_seed, of_key = (split(secret, known.graph.threshold, len(holders)) for secret in (seed, private))
        pairs = dict(zip(holders, zip(of_seed.shares, of_key.shares, strict=True), strict=True))
        sealed = [known.seal(kept, to, b"".join(pairs[to])) for to in known.graph.neighbours[known.own]]
        kept[PREFIX + "seed"] = as_bytes(seed)
        kept[PREFIX + "own_share"] = as_bytes(pairs[known.own][0])
        return {
            "sealed": as_bytes(b"".join(sealed)).reshape(len(sealed), SEALED_BYTES),
            "seed_commitment": as_bytes(of_seed.commitment),
            "key_commitment": as_bytes(of_key.commitment),
        }

    def masked(self, kept: Payload, asked: Payload) -> Payload:
        self._require_turn(kept, asked, MASKED)
        require_arrays(
            self._of(MASKED),
            asked,
            {
                "round": (np.uint8, (ROUND_BYTES,)),
                "from": (np.integer, (None,)),
                "sealed": (np.uint8, (None, SEALED_BYTES)),
                "asked": (np.uint8, (None,)),
            },
        )
        known = Round.of(kept, self._name, self._roster.fingerprint)
        about, graph = known.about, known.graph
        self._require_positions(MASKED, asked["from"], range(len(graph.names)), about.threshold, known.own)
        peers = [i for i in graph.neighbours[known.own] if i in asked["from"]]
        if len(peers) != len(asked["sealed"]) or len(peers) + 1 < graph.threshold:
            raise ProtocolError(
                f"{self._of(MASKED)}: expected shares of {len(peers)} neighbours, at least {graph.threshold - 1}; got "
                f"{len(asked['sealed'])}. Start anew."
            )
        if digest(asked["asked"].tobytes()).hex() != about.asked:
            raise ProtocolError(f"{self._of(MASKED)}: expected the message that all agreed upon, got another.")
        opened = [known.opened(kept, i, row) for i, row in zip(peers, rows(asked, "sealed"), strict=True)]
        ring = about.fixed_point
        try:
            high, low = self._contributions[about.what](unpack(asked["asked"].tobytes()))
            total = ring.encode(high, low, summands=len(about.members))
        except InputError as error:
            raise ProtocolError(f"{self._of(MASKED)}: its contribution {about.what}: {error}") from error
        n = len(total)
        seed, private = (kept[PREFIX + what].tobytes() for what in ("seed", "mask_private"))
        total = ring.add(total, own_mask(seed, known.context, self._name, n, ring))
        for i in peers:
            first, second = sorted((i, known.own))
            names = graph.names[first], graph.names[second]
            mask = pair_mask(private, known.mask_keys[i], known.context, names, n, ring)
            total = ring.add(total, mask if known.own == first else ring.negate(mask))
        keep(
            kept,
            MASKED,
            {
                "sharing": asked["from"],
                "peers": np.array(peers, dtype=np.int64),
                "opened": as_bytes(b"".join(opened)).reshape(len(peers), 2 * SHARE_BYTES),
            },
        )
        return {"masked": total}

    def survivors(self, kept: Payload, asked: Payload) -> Payload:
        self._require_turn(kept, asked, SURVIVORS)
        require_arrays(
            self._of(SURVIVORS), asked, {"round": (np.uint8, (ROUND_BYTES,)), "survivors": (np.integer, (None,))}
        )
        known, sharing = Round.of(kept, self._name, self._roster.fingerprint), kept[PREFIX + "sharing"].tolist()
        self._require_positions(SURVIVORS, asked["survivors"], sharing, known.about.threshold, known.own)
        listed = asked["survivors"].tolist()
        if not known.graph.is_connected(listed):
            raise ProtocolError(
                f"{self._of(SURVIVORS)}: expected survivors that masks link to each other, got parts whose sums would "
                "show. Raise neighbours."
            )
        text = survivors_text(known.context, known.keys, sharing, listed)
        keep(kept, SURVIVORS, {"survivors": asked["survivors"]})
        return {"signature": as_bytes(self._identity.sign(text, "sum survivors"))}

    def unmask(self, kept: Payload, asked: Payload) -> Payload:
        self._require_turn(kept, asked, UNMASK)
        require_arrays(
            self._of(UNMASK),
            asked,
            {
                "round": (np.uint8, (ROUND_BYTES,)),
                "from": (np.integer, (None,)),
                "signature": (np.uint8, (_n(asked), SIGNATURE_BYTES)),
            },
        )
        known = Round.of(kept, self._name, self._roster.fingerprint)
        sharing, survivors = (kept[PREFIX + what].tolist() for what in ("sharing", "survivors"))
        self._require_positions(UNMASK, asked["from"], survivors, known.about.threshold, known.own)
        text = survivors_text(known.context, known.keys, sharing, survivors)
        for i, signature in zip(asked["from"].tolist(), rows(asked, "signature"), strict=True):
            if not self._roster.is_signed(known.graph.names[i], text, signature, "sum survivors"):
                raise ProtocolError(
                    f"{self._of(UNMASK)}: expected that {known.graph.names[i]} signed the same list of survivors, got "
                    "another signature. Start anew."
                )
        pairs = dict(zip(kept[PREFIX + "peers"].tolist(), rows(kept, PREFIX + "opened"), strict=True))
        # Of who is in the sum the share of its seed, of who vanished that of its key: never both.
        shown = {i: pair[:SHARE_BYTES] if i in survivors else pair[SHARE_BYTES:] for i, pair in pairs.items()}
        shown[known.own] = kept[PREFIX + "own_share"].tobytes()
        erase(kept)
        return {
            "of": np.array(list(shown), dtype=np.int64),
            "shares": as_bytes(b"".join(shown.values())).reshape(len(shown), SHARE_BYTES),
        }

    def abort(self, kept: Payload, asked: Payload) -> Payload:
        erase(kept)
        reason = " ".join(as_text(asked["reason"]).split()) if "reason" in asked else "no reason"
        _LOG.warning("%s: a joint computation ended without a result: %s", self._name, reason[:_LONGEST])
        return {}

    def _require_acceptable(self, about: About) -> None:
        where, least = self._of(KEYS), self._options.least(len(self._roster))
        if about.what not in self._contributions:
            known = ", ".join(sorted(self._contributions))
            raise ProtocolError(f"{where}: expected a sum of one of {known}; got {about.what!r}.")
        if self._name not in about.members or not set(about.members) <= set(self._roster.names):
            raise ProtocolError(f"{where}: expected itself and others of the roster as members, got other names.")
        if about.threshold < least:
            raise ProtocolError(
                f"{where}: expected a threshold of at least {least} members, got {about.threshold}. Raise threshold, "
                "or form a federation of those who are left."
            )
        links = len(about.members) - 1
        asked_links = min(about.neighbours or links, links)
        if asked_links < min(self._options.neighbours or links, links):
            raise ProtocolError(
                f"{where}: expected masks with at least {self._options.neighbours or 'all'} neighbours, got "
                f"{asked_links}. Raise neighbours."
            )

    def _require_turn(self, kept: Payload, asked: Payload, stage: str) -> None:
        """Each stage of the one open round comes once, in order."""
        current = kept.get(PREFIX + "id")
        if current is None or not np.array_equal(asked.get("round", ()), current):
            raise ProtocolError(f"{self._of(stage)}: expected the round that is open, got another. Start a new one.")
        before = STAGES[int(kept[PREFIX + "stage"][0])]
        if STAGES.index(stage) != STAGES.index(before) + 1:
            raise ProtocolError(f"{self._of(stage)}: expected what follows {before}, each once. Start a new round.")

    def _require_positions(
        self, stage: str, got: np.ndarray, among: Sequence[int], least: int, own: int | None = None
    ) -> None:
        listed = got.tolist()
        if listed != sorted(set(listed)) or not set(listed) <= set(among) or (own is not None and own not in listed):
            raise ProtocolError(
                f"{self._of(stage)}: expected positions of members in order, itself among them, got others."
            )
        if len(listed) < least:
            raise ProtocolError(f"{self._of(stage)}: expected at least {least} members, got {len(listed)}.")

    def _of(self, stage: str) -> str:
        return f"{self._name}, {stage}"


def _n(asked: Payload) -> int | None:
    """How many members a message lists, where it lists any."""
    listed = asked.get("from")
    return None if listed is None else listed.size


def _advertised(context: bytes, mask_key: bytes, share_key: bytes) -> bytes:
    return digest(b"keys", context, mask_key, share_key)
