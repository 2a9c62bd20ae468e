"""Federated unlearning of a member from averaged weights: train anew without it, or roll back and go on without it.

Weights before the first round that a member took part in have not seen it. Rolling back to them and repeating the
rounds since, without the member, is what Plato does and what is exact; it saves the rounds before. A member of the
first hour costs as much as training anew. Fewer rounds than were lost save more, and end elsewhere.

Whoever keeps what the coordinator saw can subtract: the first round that is repeated begins at the same weights, and
all but one take part again. Where the others train by the same steps as before, the difference of the two sums is the
leaver's own update, though each was summed securely. It hides only among others that leave with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unlearn.checks import require_count
from unlearn.errors import InputError
from unlearn.privacy.federated.averaging import Averaged, continued
from unlearn.privacy.federated.channel import Channel


@dataclass(frozen=True)
class Unlearned:
    """Weights without a member.

    Attributes:
        averaged: the weights, and how they came about; rounds before the rollback are those of old.
        leaver: who is no longer in them.
        first: round that was gone back to; as many as there were where the leaver had never taken part.
        lost: rounds since, which had seen the leaver.
        repeated: rounds that were trained without it.
        n_bytes, seconds: of the repeated rounds.
        limitations: what of the leaver may still be there, or what differs from training anew, in sentences.
    """

    averaged: Averaged = field(repr=False)
    leaver: str
    first: int
    lost: int
    repeated: int
    n_bytes: int
    seconds: float
    limitations: tuple[str, ...]


def retrain(
    channel: Channel, averaged: Averaged, leaver: str, *, fixed_saw: Sequence[str] = (), rounds: int | None = None
) -> Unlearned:
    """Train anew from the initial weights, without a member.

    Args:
        channel: to the members that remain; the leaver is not asked, whether it is on it or not.
        averaged: what training came to.
        leaver: name of the member.
        fixed_saw: members whose data are in what stays fixed in training, such as scalers.
        rounds: how many; None means as many as before.

    Raises:
        InputError: a member that has never been one; fewer members left than a round needs.
        ProtocolError: see `federated_average`.
    """
    return _without(channel, averaged, leaver, 0, rounds, fixed_saw)


def roll_back(
    channel: Channel, averaged: Averaged, leaver: str, *, fixed_saw: Sequence[str] = (), rounds: int | None = None
) -> Unlearned:
    """Go back to the weights before the first round that a member took part in, and repeat the rounds without it.

    With all rounds repeated, by the same seeds, the weights are those of a federation that it never joined, as long as
    the others answer as they did.

    Args:
        channel: to the members that remain; the leaver is not asked, whether it is on it or not.
        averaged: what training came to, with its states (`keep_states`).
        leaver: name of the member.
        fixed_saw: members whose data are in what stays fixed in training, such as scalers.
        rounds: how many of the lost rounds are repeated; None means all. Fewer go through the learning rates of the
            lost ones in larger steps.

    Raises:
        InputError: a member that has never been one; states that were not kept; fewer members left than a round needs.
        ProtocolError: see `federated_average`.
    """
    took_part = [i for i, own in enumerate(averaged.history) if leaver in (*own.members, *own.rejected)]
    first = took_part[0] if took_part else len(averaged.history)
    if first < len(averaged.history) and len(averaged.states) != len(averaged.history):
        raise InputError(
            "averaged: expected the weights before every round to go back to, got those before the first alone. Train "
            "with keep_states=True, or call retrain."
        )
    return _without(channel, averaged, leaver, first, rounds, fixed_saw)


def _without(
    channel: Channel, averaged: Averaged, leaver: str, first: int, rounds: int | None, fixed_saw: Sequence[str]
) -> Unlearned:
    known = {*channel.members, *averaged.members}
    if leaver not in known:
        raise InputError(f"leaver: expected one of {', '.join(sorted(known))}; got {leaver!r}.")
    lost = len(averaged.history) - first
    n_rounds = lost if rounds is None else require_count("rounds", rounds)
    if lost and n_rounds > lost:
        raise InputError(f"rounds: expected at most the {lost} that were lost, got {n_rounds}.")
    limitations = []
    if leaver in fixed_saw:
        limitations.append(
            f"What stays fixed in training, such as scalers, was computed with {leaver} and still holds its share of "
            "the sums."
        )
    if not lost:
        return Unlearned(averaged, leaver, first, 0, 0, 0, 0.0, tuple(limitations))
    if averaged.options.secure:
        limitations.append(
            f"Sums of round {first} with and without {leaver} begin at the same weights: whoever kept both can "
            "subtract them, and has its update."
        )
    if n_rounds < lost:
        limitations.append(f"{n_rounds} of {lost} lost rounds were repeated: training anew ends elsewhere.")
    # Numbers of rounds say learning rates and seeds: fewer rounds still end at the last one.
    numbers = [
        averaged.history[first + int(i)].round for i in np.ceil(np.arange(1, n_rounds + 1) * lost / n_rounds) - 1
    ]
    start = replace(
        averaged,
        weights=averaged.states[first],
        history=averaged.history[:first],
        states=averaged.states[:first],
        joined={name: number for name, number in averaged.joined.items() if name != leaver},
    )
    done = continued(channel, start, numbers, [name for name in channel.members if name != leaver])
    again = done.history[first:]
    spent = sum(own.n_bytes for own in again), sum(own.seconds for own in again)
    return Unlearned(done, leaver, first, lost, n_rounds, *spent, tuple(limitations))
