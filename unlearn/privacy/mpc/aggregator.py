"""An aggregator of sums of meters: adds shares up, and opens totals of enough meters alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import IntArray
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import SIGNATURE_BYTES, Identity
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays
from unlearn.privacy.federated.party import ABORT, Party
from unlearn.privacy.mpc.meter_directory import BoxKey, MeterDirectory, SumRun
from unlearn.privacy.mpc.opened import Openings, Plan, plan
from unlearn.privacy.mpc.sealed import Sealed, box_bytes, open_shares
from unlearn.privacy.mpc.shamir import FIELD, FieldArray

#: What an aggregator is asked: to take sealed shares, to sign the set of meters, to open its shares of totals.
COLLECT, AGREE, OPEN = "meter-collect", "meter-agree", "meter-open"

#: Types and shapes of the arrays of a message.
Shapes = Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]

_PURPOSE = "set of meters"


@dataclass
class _State:
    """One run at one aggregator."""

    run: SumRun
    meters: IntArray
    marks: NDArray[np.uint8] = field(repr=False)
    shares: FieldArray = field(repr=False)
    included: IntArray | None = None
    digest: bytes = b""
    plan: Plan | None = None


class MeterAggregator:
    """What one aggregator knows and does; `party` answers for it.

    What was opened of which period is kept in memory. An aggregator that was restarted knows nothing of it, so it must
    get new keys, or take part in new periods alone.

    Args:
        name: of the aggregator.
        directory: who takes part, compared with the other aggregators.
        box: its private key to which shares are sealed.
        identity: by which it signs sets.

    Raises:
        InputError: a name or keys that the directory does not have.
    """

    def __init__(self, name: str, directory: MeterDirectory, box: BoxKey, identity: Identity) -> None:
        if name not in directory.aggregators:
            raise InputError(f"name: expected one of {', '.join(directory.aggregators)}; got {name!r}.")
        if directory.box_keys[name] != box.public or directory.roster.keys[name] != identity.public:
            raise InputError(f"{name}: expected the keys that the directory has of it, got others.")
        self._name, self._directory, self._box, self._identity = name, directory, box, identity
        self._runs: dict[str, _State] = {}
        self._seen: set[str] = set()
        self._openings: dict[str, Openings] = {}

    def party(self) -> Party:
        """The aggregator as a party that a channel asks."""
        handlers = {
            COLLECT: lambda kept, asked: self.collect(asked),
            AGREE: lambda kept, asked: self.agree(asked),
            OPEN: lambda kept, asked: self.open(asked),
            ABORT: lambda kept, asked: self.abort(asked),
        }
        return Party(self._name, handlers)

    def collect(self, asked: Payload) -> Payload:
        """Open what meters sent, and say whose messages are good."""
        about = _require(asked, {"about": (np.uint8, (None,))}, self._name, ("meters", "boxes"))
        run = SumRun.read(about, self._directory)
        rest = {"meters": asked["meters"], "boxes": asked["boxes"]}
        length = box_bytes(run.n_values)
        require_arrays(
            self._what(COLLECT), rest, {"meters": (np.integer, (None,)), "boxes": (np.uint8, (None, length))}
        )
        if run.run in self._seen:
            raise ProtocolError(f"{self._name}: expected a new run, got {run.run[:16]} again. Start another.")
        meters = asked["meters"].astype(np.int64)
        known = len(meters) == 0 or (meters.min() >= 0 and meters.max() < len(self._directory.meters))
        if not known or len(asked["boxes"]) != len(meters) or (np.diff(meters) <= 0).any():
            raise ProtocolError(f"{self._what(COLLECT)}: expected each meter of the directory at most once, in order.")
        self._seen.add(run.run)
        good, marks, shares, bad = open_shares(
            self._directory, run, self._name, self._box, Sealed(meters, asked["boxes"])
        )
        self._runs[run.run] = _State(run, good, marks, shares)
        return {"good": good, "marks": marks, "bad": bad}

    def agree(self, asked: Payload) -> Payload:
        """Sign the set of meters whose totals are opened, unless too few meters could be told apart by it."""
        require_arrays(self._what(AGREE), asked, {"run": (np.uint8, (None,)), "included": (np.integer, (None,))})
        state, included = self._state(asked), asked["included"].astype(np.int64)
        if state.included is not None and not np.array_equal(state.included, included):
            raise ProtocolError(f"{self._name}: expected one set of meters in a run, got another. Start another run.")
        at = np.searchsorted(state.meters, included)
        have = at < len(state.meters)
        if (np.diff(included) <= 0).any() or not have.all() or (state.meters[at] != included).any():
            raise ProtocolError(f"{self._name}: expected meters whose shares it has, each once, got others.")
        directory, rules = self._directory, self._directory.rules
        own = plan(included, directory.group_of, len(directory.group_names), rules.minimum, state.run.open_groups)
        opened = self._openings.setdefault(state.run.period, Openings(len(directory.meters), rules.minimum))
        # From here on it counts as opened: the signature lets the others open it.
        opened.agree(included, directory.group_of, own.groups)
        state.included, state.plan = included, own
        state.digest = set_digest(state.run, included, state.marks[at])
        return {"signature": as_bytes(self._identity.sign(state.digest, _PURPOSE))}

    def open(self, asked: Payload) -> Payload:
        """Give its shares of totals, once enough aggregators have signed the same set."""
        expected: Shapes = {"run": (np.uint8, (None,)), "from": (np.integer, (None,)),
                    "signature": (np.uint8, (None, SIGNATURE_BYTES))}  # fmt: skip
        require_arrays(self._what(OPEN), asked, expected)
        state, names = self._state(asked), self._directory.aggregators
        if state.included is None or state.plan is None:
            raise ProtocolError(f"{self._name}: expected a set of meters before {OPEN}, got none.")
        signed = {
            at
            for at, signature in zip(asked["from"].tolist(), asked["signature"], strict=False)
            if 0 <= at < len(names)
            and self._directory.roster.is_signed(names[at], state.digest, signature.tobytes(), _PURPOSE)
        }
        needed = self._directory.rules.needed
        if len(signed) < needed:
            raise ProtocolError(
                f"{self._name}: expected signatures of {needed} aggregators for its set of meters, got {len(signed)}. "
                "They were told of different meters, or got different shares."
            )
        rows = np.searchsorted(state.meters, state.included)
        region, groups = totals(state.shares[rows], self._directory.group_of[state.included], state.plan.groups)
        del self._runs[state.run.run]  # the meters' shares with it
        return {"groups": state.plan.groups, "group_shares": groups, "region_share": region}

    def abort(self, asked: Payload) -> Payload:
        """Forget the shares of a run that ended without a result."""
        self._runs.pop(as_text(asked.get("run", as_bytes(""))), None)
        return {}

    def _state(self, asked: Payload) -> _State:
        run = as_text(asked["run"])
        if run not in self._runs:
            raise ProtocolError(
                f"{self._name}: expected a run whose shares it has, got another, or one that has ended. Start anew."
            )
        return self._runs[run]

    def _what(self, task: str) -> str:
        return f"question {task} to {self._name}"


def totals(shares: FieldArray, group: IntArray, opened: IntArray) -> tuple[FieldArray, FieldArray]:
    """Sums of rows in the field: of all, shape (values,), and of the opened groups, shape (opened, values)."""
    order = np.argsort(group, kind="stable")
    names, starts = np.unique(group[order], return_index=True)
    sums = FIELD.sum_groups(shares[order], starts)
    region = FIELD.sum_groups(sums, np.array([0]))[0]
    return region, sums[np.searchsorted(names, opened)]


def set_digest(run: SumRun, included: IntArray, marks: NDArray[np.uint8]) -> bytes:
    """What aggregators sign: the run, the meters, and which sharing of each."""
    return hashlib.sha256(run.context + included.astype("<i8").tobytes() + marks.tobytes()).digest()


def aggregator_party(name: str, private: Payload) -> Party:
    """An aggregator in a process of its own, from `aggregator_input`."""
    parts: Shapes = {"directory": (np.uint8, (None,)), "box": (np.uint8, (32,)), "identity": (np.uint8, (32,))}
    require_arrays(f"private input of {name}", private, parts)
    directory = MeterDirectory.from_text(as_text(private["directory"]))
    box, identity = BoxKey(private["box"].tobytes()), Identity(private["identity"].tobytes())
    return MeterAggregator(name, directory, box, identity).party()


def aggregator_input(directory: MeterDirectory, box: bytes, identity: bytes) -> Payload:
    """The private input of an aggregator's process: the directory and the two private keys, 32 bytes each."""
    return {"directory": as_bytes(directory.text()), "box": as_bytes(box), "identity": as_bytes(identity)}


def _require(
    asked: Payload, first: Shapes, name: str,
    others: tuple[str, ...],
) -> NDArray:  # fmt: skip
    """The array by which the shapes of the others are known."""
    if asked.keys() != {*first, *others}:
        raise ProtocolError(f"{name}: expected arrays {sorted({*first, *others})}, got {sorted(asked)}.")
    one = require_arrays(f"question to {name}", {key: asked[key] for key in first}, first)
    return next(iter(one.values()))
