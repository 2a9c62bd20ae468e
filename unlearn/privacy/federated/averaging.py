"""Federated averaging: members train on data of their own, and the coordinator averages what they changed.

`w ← w + Σ n_i (w_i − w) / Σ n_i` over the members that answered in the round, never over all (McMahan et al. 2017). In
plain sight of the coordinator, or by secure summation: it then sees Σ n_i and Σ n_i (w_i − w) alone.

A secure round costs one masked vector of P + 1 entries a member, 16 bytes an entry where 8 carry it in plain sight, and
three short exchanges; see `secure_sum`. What is lost is the sight of single updates, which robust rules need.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, require_choice, require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.averaging_secure import summed_securely
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.learners import LocalTraining
from unlearn.privacy.federated.messages import Payload, as_bytes, require_arrays
from unlearn.privacy.federated.party import ABORT
from unlearn.privacy.federated.robust import AGGREGATORS, Aggregator, WeightedMean
from unlearn.privacy.federated.training import (
    TRAIN,
    WEIGHED_BY,
    flattened,
    round_message,
    unflattened,
)

_LOG = logging.getLogger(__name__)

#: How the learning rate goes over the rounds.
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class AveragingOptions:
    """Settings of federated averaging.

    Attributes:
        rounds: of training and averaging.
        local_epochs: passes of a member over its rows in a round.
        batch_size: rows of a local step; 0 means all of a member's.
        learning_rate: of the first round.
        optimiser: of the local steps, "adam" or "sgd"; its state begins anew in every round.
        schedule: "constant", or "cosine" down to almost 0 in the last round.
        clip: norm that honest members clip their updates to; 0 means none.
        seed: of the batch order.
        least_members: answers that a round needs; None means a majority of those asked.
        aggregation: name of an aggregator with its default settings, see `AGGREGATORS`; "mean" in a secure sum.
        weigh: whether an update counts by the "samples" that its member claims, or by "members", each once.
        secure: whether the coordinator sees sums alone.
        keep_states: whether the weights before every round are kept, which rolling back needs.
    """

    rounds: int = 20
    local_epochs: int = 1
    batch_size: int = LocalTraining.batch_size
    learning_rate: float = LocalTraining.learning_rate
    optimiser: str = LocalTraining.optimiser
    schedule: str = "cosine"
    clip: float = LocalTraining.clip
    seed: int = 0
    least_members: int | None = None
    aggregation: str = "mean"
    weigh: str = "samples"
    secure: bool = False
    keep_states: bool = True

    def __post_init__(self) -> None:
        require_count("rounds", self.rounds)
        require_choice("schedule", self.schedule, SCHEDULES)
        require_choice("weigh", self.weigh, WEIGHED_BY)
        if self.least_members is not None:
            require_count("least_members", self.least_members)
        require_choice("aggregation", self.aggregation, AGGREGATORS)
        if self.secure and self.aggregation != "mean":
            raise InputError(
                f"aggregation: expected 'mean' with secure=True, for a secure sum shows no single update, got "
                f"{self.aggregation!r}. Let members clip their updates (clip=), or set secure=False."
            )
        self.local(0)

    def local(self, round: int) -> LocalTraining:
        """How members train in a round."""
        share = 0.5 * (1 + np.cos(np.pi * round / self.rounds)) if self.schedule == "cosine" else 1.0
        return LocalTraining(
            self.local_epochs, self.batch_size, float(self.learning_rate * share), self.optimiser, self.clip
        )


@dataclass(frozen=True)
class RoundRecord:
    """What happened in a round.

    Attributes:
        round: its number, from 0.
        members: whose updates are in the new weights.
        vanished: who did not answer in time.
        refused: whose answer was refused, or who refused, and why.
        rejected: whom a robust rule left out; what they sent still decided whom it kept.
        n_bytes: sent and received by the coordinator.
        seconds: that it took.
        norms: of the members' updates where they are visible; empty in a secure sum.
        norm: of the update that was made of them.
    """

    round: int
    members: tuple[str, ...]
    vanished: tuple[str, ...]
    refused: dict[str, str]
    rejected: tuple[str, ...]
    n_bytes: int
    seconds: float
    norms: dict[str, float]
    norm: float


@dataclass(frozen=True, eq=False)
class Averaged:
    """What federated averaging came to.

    Attributes:
        weights: of the model, by name, in double precision.
        history: of every round.
        states: weights before each round, the initial ones first; only those if they were not kept.
        fixed: what stayed fixed in training, such as scalers.
        options: settings.
        aggregate: how updates were combined.
        joined: first round of members that were not asked before it.
    """

    weights: Payload = field(repr=False)
    history: list[RoundRecord] = field(repr=False)
    states: list[Payload] = field(repr=False)
    fixed: Payload = field(repr=False)
    options: AveragingOptions
    aggregate: Aggregator
    joined: Mapping[str, int] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody whose updates are in the weights, or decided whose are; sorted."""
        return tuple(sorted({name for own in self.history for name in (*own.members, *own.rejected)}))


def federated_average(
    channel: Channel,
    initial: Payload,
    options: AveragingOptions | None = None,
    *,
    aggregate: Aggregator | None = None,
    fixed: Payload | None = None,
    members: Sequence[str] | None = None,
    joined: Mapping[str, int] | None = None,
) -> Averaged:
    """Train a model by averaging what members change of it.

    Whoever vanishes, refuses, or answers with NaN, other names or shapes is left out of the round, with a reason in its
    record and a warning, and is asked again in the next.

    Args:
        channel: to the members; they answer by `trainer`, and in a secure sum by `training_contributions`.
        initial: weights before the first round, by name.
        options: settings.
        aggregate: an aggregator of your own settings; None means `options.aggregation`.
        fixed: what each member gets beside the weights and none changes, such as scalers.
        members: who takes part; None means all of the channel.
        joined: first round, from 0, of members that join later.

    Raises:
        InputError: initial weights that are no finite floats, unknown members, more members needed than there are, an
            aggregator other than the mean in a secure sum.
        ProtocolError: fewer members answered in a round than it needs; everybody was told to abort.
    """
    options = options or AveragingOptions()
    combine = AGGREGATORS.make(options.aggregation) if aggregate is None else aggregate
    if options.secure and not isinstance(combine, WeightedMean):
        raise InputError(
            f"aggregate: expected WeightedMean() with secure=True, got {type(combine).__name__}. A secure sum shows no "
            "single update; set secure=False."
        )
    initial = _as_weights(initial)
    start = Averaged(initial, [], [], dict(fixed or {}), options, combine, dict(joined or {}))
    return continued(channel, start, range(options.rounds), members)


def continued(
    channel: Channel, so_far: Averaged, rounds: Sequence[int], members: Sequence[str] | None = None
) -> Averaged:
    """Go on from the weights of `so_far` with rounds of these numbers, which say learning rates and seeds.

    Raises:
        InputError, ProtocolError: see `federated_average`.
    """
    options, combine = so_far.options, so_far.aggregate
    names = _members(channel, members, so_far.joined)
    weights, history, states = so_far.weights, list(so_far.history), list(so_far.states)
    ask = partial(_secure_round if options.secure else _plain_round, channel, combine)
    _require_enough(names, so_far.joined, rounds, options, combine)
    for number in tqdm(rounds, desc="federated averaging", delay=2, leave=False):
        begin, before = time.perf_counter(), channel.traffic.n_bytes()
        asked = [name for name in names if so_far.joined.get(name, 0) <= number]
        least = max(combine.least, options.least_members or len(asked) // 2 + 1)
        local = options.local(number)
        message = round_message(weights, so_far.fixed, local, number, options.seed, options.weigh)
        update, said = ask(asked, message, weights, least, number)
        if options.keep_states or not states:
            states.append(weights)
        new = unflattened(flattened(weights) + update, weights)
        spent, n_bytes = time.perf_counter() - begin, channel.traffic.n_bytes() - before
        history.append(replace(said, n_bytes=n_bytes, seconds=spent, norm=float(np.linalg.norm(update))))
        weights = new
    return replace(so_far, weights=weights, history=history, states=states)


def _plain_round(
    channel: Channel,
    combine: Aggregator,
    asked: Sequence[str],
    message: Payload,
    weights: Payload,
    least: int,
    number: int,
) -> tuple[FloatArray, RoundRecord]:
    replies = channel.ask(TRAIN, dict.fromkeys(asked, message))
    expected = {"n": (np.floating, (1,)), **{f"update/{name}": (np.floating, w.shape) for name, w in weights.items()}}
    refused, counts, updates = dict(replies.refusals), dict[str, float](), dict[str, FloatArray]()
    for member, answer in replies.answers.items():
        try:
            require_arrays(f"{member}, round {number}", answer, expected)
            if not answer["n"][0] >= 1:
                raise ProtocolError(f"{member}, round {number}: expected at least one row that it trained on.")
        except ProtocolError as error:
            refused[member] = str(error)
            continue
        counts[member] = float(answer["n"][0])
        updates[member] = flattened({name: answer[f"update/{name}"] for name in weights})
    _tell(number, replies.vanished, refused)
    if len(updates) < least:
        _abort(channel, asked, number, least, len(updates), replies.vanished, refused)
    names = tuple(updates)
    update, rejected = combine(np.array([counts[name] for name in names]), np.stack([updates[name] for name in names]))
    out = tuple(names[i] for i in rejected)
    norms = {name: float(np.linalg.norm(own)) for name, own in updates.items()}
    kept = tuple(name for name in names if name not in out)
    return update, RoundRecord(number, kept, replies.vanished, refused, out, 0, 0.0, norms, 0.0)


def _secure_round(
    channel: Channel,
    combine: Aggregator,
    asked: Sequence[str],
    message: Payload,
    weights: Payload,
    least: int,
    number: int,
) -> tuple[FloatArray, RoundRecord]:
    total, refused = summed_securely(channel, TRAIN, message, asked, least)
    count, vector = float(total.high[0]), total.high[1:]
    if len(vector) != sum(value.size for value in weights.values()) or not count > 0:
        raise ProtocolError(
            f"round {number}: expected a sum of as many entries as there are weights, and of rows above 0, got "
            f"{len(vector)} entries. Let every party run the same version."
        )
    _tell(number, total.vanished, refused)
    # One that vanished late is in the sum all the same.
    gone = tuple(name for name in total.vanished if name not in total.members)
    return vector / count, RoundRecord(number, total.members, gone, refused, (), 0, 0.0, {}, 0.0)


def _tell(number: int, vanished: Sequence[str], refused: Mapping[str, str]) -> None:
    for member in vanished:
        _LOG.warning("round %d: %s did not answer in time and is left out of it", number, member)
    for member, reason in refused.items():
        _LOG.warning("round %d: %s is left out of it: %s", number, member, reason)


def _abort(
    channel: Channel,
    asked: Sequence[str],
    number: int,
    least: int,
    came: int,
    vanished: Sequence[str],
    refused: Mapping[str, str],
) -> None:
    why = [*(f"{name} vanished" for name in vanished), *(f"{name} was left out" for name in refused)]
    reason = f"round {number}: expected answers of at least {least} members, got {came} ({', '.join(why)})."
    abort(channel, asked, reason)
    raise ProtocolError(f"{reason} Wait for the others, or lower least_members.")


def abort(channel: Channel, members: Sequence[str], reason: str) -> None:
    """Tell members that a joint computation ends without a result."""
    channel.ask(ABORT, {member: {"reason": as_bytes(reason)} for member in members})


def founders(names: Sequence[str], joined: Mapping[str, int]) -> list[str]:
    """Members of the first round."""
    return [name for name in names if joined.get(name, 0) <= 0]


def _as_weights(initial: Payload) -> Payload:
    """Initial weights in double precision."""
    if not initial:
        raise InputError("initial: expected weights by name, got none.")
    weights = {name: np.asarray(value) for name, value in initial.items()}
    for name, value in weights.items():
        if not np.issubdtype(value.dtype, np.floating) or not np.isfinite(value).all():
            raise InputError(f"initial: expected finite floats in {name}, got {value.dtype} with others among them.")
        if not value.ndim:  # a message holds arrays of at least one axis
            raise InputError(f"initial: expected at least one axis in {name}, got a single number. Use shape (1,).")
    return {name: value.astype(np.float64) for name, value in weights.items()}


def _members(channel: Channel, members: Sequence[str] | None, joined: Mapping[str, int]) -> list[str]:
    names = list(channel.members if members is None else members)
    unknown = sorted({*names, *joined} - set(channel.members))
    if unknown or len(set(names)) != len(names):
        raise InputError(
            f"members: expected each once and among {', '.join(channel.members)}; got "
            f"{', '.join(unknown) or 'one twice'}."
        )
    return names


def _require_enough(
    names: Sequence[str],
    joined: Mapping[str, int],
    rounds: Sequence[int],
    options: AveragingOptions,
    combine: Aggregator,
) -> None:
    least = max(combine.least, options.least_members or 1)
    for number in rounds:
        n_asked = sum(joined.get(name, 0) <= number for name in names)
        if n_asked < least:
            raise InputError(
                f"members: expected at least {least} in round {number}, as least_members and "
                f"{type(combine).__name__} need, got {n_asked}. Let more take part, or lower what is needed."
            )
