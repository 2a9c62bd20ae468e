"""Secure sums of federated averaging: how updates are written, and a member that takes part in nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unlearn.errors import ProtocolError
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.fixed_point import FixedPoint
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.learners import Learner
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.party import Party
from unlearn.privacy.federated.sum_protocol import UNMASK, SumOptions
from unlearn.privacy.federated.summands import summand
from unlearn.privacy.federated.summing import RefusedError, SecureTotal, secure_sum
from unlearn.privacy.federated.training import LAYOUT, trainer, training_contributions

#: Sums of updates in steps of 2^-40, of numbers up to 2^85: 16 bytes an entry.
SUM_OPTIONS = SumOptions(fixed_point=FixedPoint(fraction_bits=40, ring_bits=128))


def averaging_party(
    name: str,
    learner: Learner,
    identity: Identity | None = None,
    roster: Roster | None = None,
    options: SumOptions | None = None,
    in_plain: bool = False,
) -> Party:
    """A member of federated averaging.

    Without an identity it answers in plain sight of the coordinator. With one it takes part in secure sums alone,
    unless it agrees to both: a coordinator that asks it for its update gets none.

    Args:
        name: of the member.
        learner: what trains.
        identity: its key.
        roster: all members; needed with an identity.
        options: the least that it accepts of a secure sum, see `summand`.
        in_plain: whether it answers in plain sight, too, where it has an identity.
    """
    plain = trainer(name, learner)
    if identity is None or roster is None:
        return Party(name, plain)
    shown = {task: handler for task, handler in plain.items() if in_plain or task == LAYOUT}
    return Party(name, {**shown, **summand(name, identity, roster, training_contributions(name, learner), options)})


def summed_securely(
    channel: Channel, what: str, asked: Payload, members: Sequence[str], least: int
) -> tuple[SecureTotal, dict[str, str]]:
    """Sum what members contribute, from at least `least` of them, or see nothing at all.

    One that refuses is left out, and the others are asked for a new sum: each of them computes its part again.

    Returns:
        The sum, and why members refused.

    Raises:
        InputError: fewer members asked than it needs.
        ProtocolError: fewer took part; everybody was told to abort.
    """
    names, refused = list(members), dict[str, str]()
    while True:
        least = max(least, SUM_OPTIONS.least(len(channel.members)), len(names) // 2 + 1)
        try:
            return secure_sum(channel, what, asked, replace(SUM_OPTIONS, threshold=least), names), refused
        except RefusedError as error:
            # Once masks have come off, a sum of fewer would show by its difference what the others sent.
            if error.task == UNMASK:
                raise
            refused |= error.refusals
            names = [name for name in names if name not in refused]
            if len(names) < least:
                raise ProtocolError(
                    f"{error} Expected at least {least} members without them, got {len(names)}. Start anew when they "
                    "are mended."
                ) from error
