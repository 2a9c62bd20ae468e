"""Private sums in secret, round by round: members add their shares of noise, the coordinator sees noisy sums alone.

A member's side is `private_summand`: handlers of a secure sum whose contributions have noise, and which take part in no
more rounds than agreed, whatever the coordinator asks for. It counts a round as soon as it has sent its masked vector,
for others can unmask it then. The coordinator's side is `private_round`, which charges what was released; `descend` is
gradient descent on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from unlearn.checks import FloatArray, require_count, require_fraction, require_not_negative, require_positive
from unlearn.dp.noise import Noise, NoiseSource
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.fixed_point import FixedPoint
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.noise import FederatedBudget, RoundNoise, SharedNoise
from unlearn.privacy.federated.party import Handler
from unlearn.privacy.federated.sum_protocol import KEYS, MASKED, UNMASK, About, SumOptions
from unlearn.privacy.federated.summands import Contribution, summand
from unlearn.privacy.federated.summing import RefusedError, secure_sum

_LOG = logging.getLogger(__name__)

#: Noisy sums are whole numbers below 2^53 of each member.
WHOLE = FixedPoint(fraction_bits=0, ring_bits=64)

_OPEN, _COUNTED = "private/open", "private/counted/"


@dataclass(frozen=True, eq=False)
class PrivateContribution:
    """What a member adds to private sums.

    Attributes:
        vectors: message -> a vector of each household, in which all its data are, shape (n, W).
        noise: how members share it.
        rounds: how many it takes part in, at most.
        source: "os", or what `noise_source` gave for the member's data.
    """

    vectors: Callable[[Payload], FloatArray]
    noise: SharedNoise
    rounds: int
    source: Noise | NoiseSource = field(default="os", repr=False)

    def __post_init__(self) -> None:
        require_count("rounds", self.rounds)

    def __call__(self, asked: Payload) -> tuple[FloatArray, None]:
        return self.noise.share(self.vectors(asked), self.source), None


def private_summand(
    name: str,
    identity: Identity,
    roster: Roster,
    private: Mapping[str, PrivateContribution],
    others: Mapping[str, Contribution] | None = None,
) -> dict[str, Handler]:
    """Handlers of a `Party` that takes part in private sums.

    The member takes part in no sum that may end with fewer members than its noise is sized for, and in no more rounds
    of each private contribution than agreed.

    Args:
        name, identity, roster: see `summand`.
        private: what it adds, by name.
        others: contributions without noise, which nothing of this promise covers.

    Raises:
        InputError: no private contribution, one of both names, or more members needed than the roster has.
    """
    if not private or set(private) & set(others or {}):
        raise InputError(
            f"private: expected contributions of names that others do not have, got {sorted(private)}. Rename them."
        )
    least = max(one.noise.least_members for one in private.values())
    if least > len(roster):
        raise InputError(f"least_members: expected at most the {len(roster)} of the roster, got {least}. Lower it.")
    handlers = summand(name, identity, roster, {**private, **(others or {})}, sum_options(least, len(roster)))
    keys, masked = handlers[KEYS], handlers[MASKED]

    def begin(kept: Payload, asked: Payload) -> Payload:
        what = About.read(asked["about"].tobytes()).what if "about" in asked else ""
        if what in private:
            counted = _counted(kept, what)
            if counted >= private[what].rounds:
                raise ProtocolError(
                    f"{name}: expected at most {private[what].rounds} rounds of {what}, got asked for another. Its "
                    "budget is spent."
                )
            _require_whole(name, About.read(asked["about"].tobytes()))
        answer = keys(kept, asked)
        kept[_OPEN] = np.frombuffer(what.encode() if what in private else b"", dtype=np.uint8).copy()
        return answer

    def send(kept: Payload, asked: Payload) -> Payload:
        what = kept.get(_OPEN, np.zeros(0, dtype=np.uint8)).tobytes().decode()
        answer = masked(kept, asked)
        if what:
            kept[_COUNTED + what] = np.array([_counted(kept, what) + 1])
        return answer

    return {**handlers, KEYS: begin, MASKED: send}


def sum_options(least_members: int, federation: int) -> SumOptions:
    """Of secure sums of whole numbers that end with at least so many members, and with a majority."""
    return SumOptions(threshold=max(2, least_members, federation // 2 + 1), fixed_point=WHOLE)


def private_round(
    channel: Channel,
    what: str,
    asked: Payload,
    budget: FederatedBudget,
    members: Sequence[str] | None = None,
) -> tuple[FloatArray, tuple[str, ...]]:
    """Run one round and charge what it released.

    A round that ended before any member was asked to unmask has released nothing and is not charged. If it ended later,
    it is charged as if it had been released with the fewest members: what the coordinator saw is in doubt.

    Args:
        channel: to members with handlers of `private_summand`.
        what: name of the contribution.
        asked: what contributions are made of.
        budget: what was spent so far.
        members: who is asked; None means all of the channel.

    Returns:
        The noisy sum in the unit of the clip, shape (W,), and whose households are in it.

    Raises:
        InputError: the budget does not allow another round.
        ProtocolError: fewer members than promised stayed, or a member refused.
    """
    names = tuple(channel.members if members is None else members)
    budget.require_left(names)
    number = len(budget.rounds)
    before = len(channel.traffic.sent)
    total = None
    try:
        total = secure_sum(channel, what, asked, sum_options(budget.noise.least_members, len(names)), names)
    finally:  # whatever ended it, an interrupt among it
        if total is None and any(one.task == UNMASK for one in channel.traffic.sent[before:]):
            budget.charge(RoundNoise(number, names, doubtful=True))
    budget.charge(RoundNoise(number, total.members))
    return budget.noise.in_units(total.high), total.members


@dataclass(frozen=True)
class PrivateDescent:
    """Settings of private gradient descent; the same for all members.

    Attributes:
        rounds: steps, each of which releases a noisy sum of all households' gradients.
        learning_rate: of each step, on the mean gradient.
        clip: Euclidean norm that a household's gradient is clipped to.
        penalty: of the squared norm of the coefficients without the intercept.
        averaged: share of the last steps whose coefficients are averaged, which costs nothing.
    """

    rounds: int = 40
    learning_rate: float = 2.0
    clip: float = 1.0
    penalty: float = 1e-2
    averaged: float = 0.5

    def __post_init__(self) -> None:
        require_count("rounds", self.rounds)
        require_positive("learning_rate", self.learning_rate)
        require_positive("clip", self.clip)
        require_not_negative("penalty", self.penalty)
        require_fraction("averaged", self.averaged)


def descend(
    channel: Channel,
    what: str,
    n_coefficients: int,
    households: Mapping[str, int],
    budget: FederatedBudget,
    options: PrivateDescent,
) -> FloatArray:
    """Private gradient descent: coefficients after rounds of noisy sums of clipped gradients.

    A round that ends without a result is left out, for its noise would have fallen short.

    Args:
        channel: to members with handlers of `private_summand`, whose vectors are gradients at `coefficients`.
        what: name of the contribution.
        n_coefficients: F + 1; descent begins at zeros.
        households: of each member; they count as public.
        budget: what was spent so far.
        options: settings.

    Returns:
        The mean over the last steps, shape (F + 1,).

    Raises:
        InputError: the budget does not allow so many rounds.
        RefusedError: a member refused.
        ProtocolError: no round had enough members.
    """
    found, steps = np.zeros(n_coefficients), list[FloatArray]()
    for number in tqdm(range(options.rounds), desc="private descent", delay=2, leave=False):
        try:
            total, members = private_round(channel, what, {"coefficients": found}, budget)
        except RefusedError:
            raise
        except ProtocolError as error:
            _LOG.warning("round %d is left out: %s", number, error)
            continue
        gradient = total / sum(households[name] for name in members)
        gradient[1:] += options.penalty * found[1:]
        found = found - options.learning_rate * gradient
        steps.append(found)
    if not steps:
        raise ProtocolError(
            f"private descent: expected a round with at least {budget.noise.least_members} members, got none in "
            f"{options.rounds}. Wait for the others, or form a federation of those who are there."
        )
    last = steps[-max(1, round(options.averaged * len(steps))) :]
    return np.mean(last, axis=0)


def _counted(kept: Payload, what: str) -> int:
    counted = kept.get(_COUNTED + what)
    return 0 if counted is None else int(counted[0])


def _require_whole(name: str, about: About) -> None:
    """Noise in whole numbers would be cut by a ring that is too small, and the sum with it."""
    if about.fixed_point != WHOLE:
        raise ProtocolError(
            f"{name}: expected a private sum in {WHOLE.ring_bits} bits of whole numbers, got {about.ring_bits} with "
            f"{about.fraction_bits} after the point. Let every party run the same version."
        )
