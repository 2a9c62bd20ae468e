"""Exact least squares over a federation in one round, and exact unlearning in another.

A least-squares head needs of its rows nothing but sums. Every member sums up its own rows, a secure sum adds up the
members, and whoever coordinates solves for the head: the one that pooling all rows would give, up to rounding. What
leaves is subtracted: a member that changed adds the difference of its sums, the others add zeros, and the coordinator
learns neither who changed nor how many. The head afterwards is the one of a federation that never had what left.

What this does not hide: whoever keeps the totals before and after a round has their difference. That is the sums of
the member that left, or a projection of the readings of the customer that was forgotten; see `difference_reveals`. The
totals of all and of all but one, as `refit_federated` gives them, tell the same. Several changes in one round are
seen as their sum only. φ is the coordinator's choice, and features that pick out few rows tell of those: members should
know where an extractor comes from. How long a member takes may tell that it changed.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from unlearn.checks import require_count
from unlearn.errors import InputError, ProtocolError
from unlearn.forecasters.network import NetworkForecaster
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.designs import Design, LinearDesign, NetworkDesign, design_to_payload
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.messages import Payload, as_bytes, require_arrays
from unlearn.privacy.federated.model import FederatedModel
from unlearn.privacy.federated.moments import added, centred, distinct, from_vector
from unlearn.privacy.federated.sum_protocol import SumOptions
from unlearn.privacy.federated.summing import SecureTotal, secure_sum

logger = logging.getLogger(__name__)

#: Fewest members whose sums are added up: the total of one would be its own sums.
LEAST_MEMBERS = 2


def fit_federated(
    channel: Channel,
    architecture: str | NetworkForecaster | Design = "linear",
    options: SumOptions | None = None,
    members: Sequence[str] | None = None,
) -> FederatedModel:
    """Fit a head to the training rows of all members as if they were pooled, in one secure sum.

    >>> from unlearn.data import make_synthetic
    >>> from unlearn.privacy.federated import Identity, LocalChannel, Roster, Utility
    >>> names, keys = ("north", "south", "west"), [Identity.new() for _ in range(3)]
    >>> roster = Roster(dict(zip(names, (key.public for key in keys))))
    >>> data = [make_synthetic(n_loads=2, n_hours=500, random_state=i) for i in range(3)]
    >>> parties = [Utility(*own).party(key, roster) for own, key in zip(zip(names, data), keys)]
    >>> model = fit_federated(LocalChannel(parties))
    >>> model.members, model.forecast(data[0].features[:3]).shape
    (('north', 'south', 'west'), (3, 2))

    Args:
        channel: asks the members, each a `Utility`.
        architecture: "linear" chooses columns that differ over all members' rows; a network's extractor and scaler are
            taken as they are, frozen, and its head is not: it must not have seen what may have to be forgotten.
        options: of the secure sum.
        members: who takes part; None asks all of the channel.

    Raises:
        ProtocolError: fewer than two members, one that refuses, or too few that stay to the end.
        MismatchError: members whose data have different layouts; names what differs.
        SingularHessianError: the rows of all members do not determine the head; names the columns.
    """
    options = options or SumOptions()
    asked = tuple(channel.members if members is None else members)
    _require_members(channel, asked)
    layout, asked = _common_layout(channel, asked)
    design: Design
    if architecture == "linear":
        design, asked = _common_columns(channel, layout, asked)
    else:
        design = _frozen(architecture)
    total, tag = _summed(channel, "statistics", layout, design, {}, (), options, asked)
    statistics = _received(total, layout, design, options)
    accepted = dict.fromkeys(total.members, tag.hex())
    model = _solved(layout, design, statistics, accepted, rounds=1)
    _confirm(channel, total.members, tag)
    return model


def update_federated(
    channel: Channel,
    model: FederatedModel,
    leaving: Collection[str] = (),
    least_changes: int = 1,
    options: SumOptions | None = None,
) -> FederatedModel:
    """Take in what members have changed since the last round, in one secure sum of differences.

    Every member adds its difference, zeros if nothing changed, so that the sum alone is seen. A member that vanishes
    before it could add its own stays as it was known, and adds it in a later round.

    Args:
        channel: asks the members.
        model: of the last round.
        leaving: members that leave, each after `Utility.leave`; it is in this round one last time.
        least_changes: fewest members with a change whose differences are summed up. Above 1, they are counted first, in
            a secure sum of its own; below it, the differences are not asked for, and the same model comes back.
        options: of the secure sums.

    Returns:
        The model of all that is left: the one that never had what left.

    Raises:
        InputError: an unknown member, or fewer than two that would be left.
        ProtocolError: a member refuses, too few stay to the end, or one that leaves vanished before it could take its
            sums out: what remains is summed up afresh, `refit_federated(channel, model, without=[name])`.
        SingularHessianError: what is left does not determine the head.
    """
    options = options or SumOptions()
    gone = _require_leaving(model, leaving)
    require_count("least_changes", least_changes)
    if least_changes > 1:
        counted, _ = _summed(channel, "changed", model.layout, model.design, model.accepted, gone, options)
        if counted.high[0] < least_changes:
            logger.info("federation: fewer members with a change than are summed up together; the model stays")
            return model
    total, tag = _summed(channel, "change", model.layout, model.design, model.accepted, gone, options)
    if lost := [name for name in gone if name not in total.members]:
        raise ProtocolError(
            f"federation: expected members that leave to take their sums out, but {', '.join(lost)} vanished before. "
            f"The model is as it was. Sum up the others: refit_federated(channel, model, without={lost})."
        )
    statistics = added(model.statistics, _received(total, model.layout, model.design, options))
    accepted = {**model.accepted, **dict.fromkeys(total.members, tag.hex())}
    accepted = {name: own for name, own in accepted.items() if name not in gone}
    found = _solved(model.layout, model.design, statistics, accepted, model.rounds + 1)
    _confirm(channel, total.members, tag)
    return found


def withdraw(
    channel: Channel, model: FederatedModel, *members: str, options: SumOptions | None = None
) -> FederatedModel:
    """Let members leave the federation: the model that never had them; see `update_federated`.

    The others add what they have changed since, most of them zeros. Once half of the members that the channel has are
    gone, no secure sum reaches its threshold: form a federation of those who are left, with a roster of their own.
    """
    if not members:
        raise InputError("withdraw: expected a member that leaves, got none. Name it: withdraw(channel, model, name).")
    return update_federated(channel, model, leaving=members, options=options)


def refit_federated(
    channel: Channel, model: FederatedModel, without: Collection[str] = (), options: SumOptions | None = None
) -> FederatedModel:
    """Sum up the members anew, without some that cannot subtract any more; the same model, at the price of a full sum.

    Args:
        channel: asks the members.
        model: of the last round; columns are chosen anew, an extractor is kept.
        without: members that are left out.
        options: of the secure sum.

    Raises:
        InputError: an unknown member, or fewer than two that would be left.
        ProtocolError, SingularHessianError: see `fit_federated`.
    """
    gone = _require_leaving(model, without)
    left = [name for name in model.members if name not in gone]
    found = fit_federated(channel, "linear" if model.design.chosen else model.design, options, left)
    return replace(found, rounds=model.rounds + 1)


def _require_members(channel: Channel, members: Sequence[str]) -> None:
    unknown = [name for name in members if name not in channel.members]
    if unknown or len(set(members)) < len(members):
        raise InputError(
            f"members: expected some of {', '.join(channel.members)}, each once, got {', '.join(members)}."
        )
    if len(members) < LEAST_MEMBERS:
        raise InputError(
            f"members: expected at least {LEAST_MEMBERS}, for the total of one is its own sums, got {len(members)}."
        )


def _require_leaving(model: FederatedModel, leaving: Collection[str]) -> tuple[str, ...]:
    gone = (leaving,) if isinstance(leaving, str) else tuple(leaving)
    if unknown := [name for name in gone if name not in model.accepted]:
        raise InputError(f"leaving: expected some of the members {', '.join(model.members)}, got {', '.join(unknown)}.")
    if gone and len(model.accepted) - len(set(gone)) < LEAST_MEMBERS:
        raise InputError(
            f"leaving: expected at least {LEAST_MEMBERS} members that stay, for the total of one is its own sums, got "
            f"{len(set(gone))} of {len(model.accepted)} that leave. End the federation: delete its model."
        )
    return gone


def _answers(channel: Channel, task: str, asked: Mapping[str, Payload]) -> dict[str, Payload]:
    """Answers of all that are there; a refusal ends it, who vanished is left out."""
    replies = channel.ask(task, asked)
    for name, reason in replies.refusals.items():
        raise ProtocolError(f"{task}: {name} refused: {reason}")
    if replies.vanished:
        logger.warning("%s: no answer of %s; they are left out", task, ", ".join(replies.vanished))
    if len(replies.answers) < LEAST_MEMBERS:
        raise ProtocolError(
            f"{task}: expected answers of at least {LEAST_MEMBERS} members, got {len(replies.answers)}. Start again "
            "once more of them are there."
        )
    return replies.answers


def _common_layout(channel: Channel, members: Sequence[str]) -> tuple[Layout, tuple[str, ...]]:
    answers = _answers(channel, "layout", {name: {} for name in members})
    layouts = {name: Layout.from_payload(name, answer) for name, answer in answers.items()}
    first = next(iter(layouts.values()))
    for name, layout in layouts.items():
        first.require_same(name, layout)
    return first, tuple(layouts)


def _common_columns(channel: Channel, layout: Layout, members: Sequence[str]) -> tuple[LinearDesign, tuple[str, ...]]:
    """Columns are equal over all rows if they are at every member."""
    answers = _answers(channel, "columns", {name: {} for name in members})
    n_features = len(layout.feature_names)
    expected = {"same_as": (np.integer, (len(layout.load_names) * n_features,))}
    labels = [require_arrays(f"columns of {name}", own, expected)["same_as"] for name, own in answers.items()]
    _, first, group = np.unique(np.stack(labels), axis=1, return_index=True, return_inverse=True)
    return LinearDesign(first[group.reshape(-1)].astype(np.int64), n_features), tuple(answers)


def _frozen(architecture: str | NetworkForecaster | Design) -> Design:
    if isinstance(architecture, str):
        raise InputError(
            f'architecture: expected "linear", or a network whose extractor is frozen, got {architecture!r}. Fit one '
            "on data of others, such as simulated households, and pass it."
        )
    return NetworkDesign.of(architecture) if isinstance(architecture, NetworkForecaster) else architecture


def _summed(
    channel: Channel,
    what: str,
    layout: Layout,
    design: Design,
    accepted: Mapping[str, str],
    leaving: Sequence[str],
    options: SumOptions,
    members: Sequence[str] | None = None,
) -> tuple[SecureTotal, bytes]:
    """One secure sum, and the tag by which members know the round."""
    tag = secrets.token_bytes(16)
    asked = {
        **layout.to_payload(),
        **design_to_payload(design),
        "accepted": as_bytes(json.dumps(dict(accepted))),
        "leaving": as_bytes(json.dumps(sorted(leaving))),
        "tag": as_bytes(tag),
    }
    return secure_sum(channel, what, asked, options, tuple(accepted) if members is None else tuple(members)), tag


def _received(total: SecureTotal, layout: Layout, design: Design, options: SumOptions) -> SufficientStatistics:
    vector = np.stack([total.high, total.low])
    found = from_vector(vector, design.n_columns, len(layout.load_names), "secure sum")
    # Every member's entries were rounded to the last bit of the ring.
    rounded = len(total.members) * 2.0**-options.fixed_point.fraction_bits
    return replace(found, rounding=found.rounding + rounded)


def _confirm(channel: Channel, members: Sequence[str], tag: bytes) -> None:
    """Tell members that their contributions were taken in; who does not hear it learns it from the next round."""
    channel.ask("confirm", {name: {"tag": as_bytes(tag)} for name in members})


def _solved(
    layout: Layout, design: Design, statistics: SufficientStatistics, accepted: Mapping[str, str], rounds: int
) -> FederatedModel:
    """Solve about the columns' means, where the problem is as easy as with standardised columns."""
    start = time.perf_counter()
    d, n_outputs = design.n_columns - 1, len(layout.load_names)
    chosen, means = distinct(statistics)
    columns = torch.from_numpy(np.append(chosen if design.chosen else np.arange(d), d))
    origin = torch.zeros(len(statistics.rounding), dtype=torch.float64)
    origin[:d] = torch.from_numpy(means)
    about = centred(statistics, origin).selected(columns, torch.arange(n_outputs))
    names = design.names(layout)
    solution = about.solve(names=[names[i] for i in columns.tolist()])
    if not solution.converged:
        logger.warning("federation: the head is less accurate than 1e-9: columns nearly depend on each other")
    head = np.zeros((n_outputs, d + 1))
    head[:, columns] = solution.value.reshape(n_outputs, -1).numpy()
    head[:, d] -= head[:, :d] @ means
    how = {name: float(solution.statistics[name]) for name in ("condition", "error_estimate")}
    how |= {"rows": statistics.total, "columns": float(len(columns)), "seconds": time.perf_counter() - start}
    return FederatedModel(layout, design, head, statistics, dict(accepted), rounds, how)
