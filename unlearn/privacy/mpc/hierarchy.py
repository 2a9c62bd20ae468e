"""`sum_meters`: totals of groups and of a region of thousands of meters, of which nobody sees one.

Who is trusted with what. The head-end, which asks and carries sealed messages, and up to t aggregators may pool all
that they see, and learn the opened totals and which meters took part, and nothing more; they are taken to keep to the
protocol. Beyond that, an aggregator that sends wrong shares of totals is found as `shamir` says, and a head-end that
asks for different sets is refused by aggregators of whom a quorum must sign one set. Meters are taken to keep to the
protocol: nobody can check that a reading is in its range or true, and a meter that gives aggregators shares of no one
polynomial makes totals wrong, or an honest aggregator look wrong. An aggregator can always keep meters out, by refusing
their messages. The totals are exact, so they tell what totals of at least `minimum` meters tell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from unlearn.checks import IntArray, short_repr
from unlearn.errors import InputError, ProtocolError, UnlearnError
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.identity import SIGNATURE_BYTES
from unlearn.privacy.federated.messages import Payload, as_bytes, require_arrays
from unlearn.privacy.federated.party import ABORT
from unlearn.privacy.mpc.aggregator import AGREE, COLLECT, OPEN, Shapes
from unlearn.privacy.mpc.meter_directory import MeterDirectory, SumRun
from unlearn.privacy.mpc.opened import plan
from unlearn.privacy.mpc.sealed import MARK_BYTES, Sealed
from unlearn.privacy.mpc.shamir import FIELD, FieldArray, corrects, decode, detects

logger = logging.getLogger(__name__)


@short_repr
@dataclass(frozen=True, eq=False)
class MeterTotals:
    """What came out.

    Attributes:
        region: total of all included meters, shape (values,), in the readings' unit.
        groups: names of the groups whose totals were opened.
        totals: of these groups, shape (groups, values).
        not_enough: groups with too few meters for a total.
        held_back: groups whose total would have told what is in those.
        included: meters that are in the region's total, indices.
        left_out: meters that sent something, and are in none: their messages did not reach all aggregators that
            answered, or were not good.
        refused: meters whose messages an aggregator found not to be theirs, of this run, or for it, by aggregator.
        wrong: aggregators whose shares of totals were wrong and were left out.
        vanished: aggregators that did not answer at some stage.
        detectable, correctable: wrong aggregators, among those who opened, that would have been noticed if none were
            put right, and that are put right.
        seconds: of each stage, by task, and of `decode`.
    """

    region: IntArray = field(repr=False)
    groups: tuple[str, ...]
    totals: IntArray = field(repr=False)
    not_enough: tuple[str, ...]
    held_back: tuple[str, ...]
    included: IntArray = field(repr=False)
    left_out: IntArray = field(repr=False)
    refused: Mapping[str, IntArray] = field(repr=False)
    wrong: tuple[str, ...]
    vanished: tuple[str, ...]
    detectable: int
    correctable: int
    seconds: Mapping[str, float] = field(repr=False)


def sum_meters(
    channel: Channel, directory: MeterDirectory, run: SumRun, sealed: Mapping[str, Sealed], correct: bool = True
) -> MeterTotals:
    """Sum readings of meters by group and in the region, seeing none of them.

    >>> import numpy as np
    >>> from unlearn.privacy.federated import LocalChannel
    >>> from unlearn.privacy.mpc import MeterRules, SumRun, seal_readings, sum_meters, trial_meters
    >>> meters = trial_meters(["north"] * 20 + ["south"] * 30, MeterRules(minimum=15))
    >>> run = SumRun.new(meters.directory, "2013-01-01", n_values=24)
    >>> ones = np.ones((50, 24), dtype=int)
    >>> sealed = seal_readings(meters.directory, run, range(50), meters.keys, ones)
    >>> result = sum_meters(LocalChannel(meters.parties()), meters.directory, run, sealed)
    >>> result.groups, result.totals[:, 0].tolist(), int(result.region[0])
    (('north', 'south'), [20, 30], 50)

    Args:
        channel: to the aggregators.
        directory: who takes part.
        run: what the readings were sealed for.
        sealed: what meters sent to each aggregator, by its name, as `seal_readings` gives it.
        correct: whether a wrong share is put right where redundancy allows; False refuses any, and so notices more.

    Raises:
        InputError: another directory, or aggregators that the channel does not have.
        ProtocolError: not enough meters, too few aggregators, a set that was refused, or wrong shares that cannot be
            put right. Everyone who is left has been told to forget the run.
    """
    if run.directory != directory.fingerprint.hex():
        raise InputError("run: expected one of this directory, got another. Make it with SumRun.new.")
    if set(channel.members) != set(directory.aggregators) or set(sealed) != set(directory.aggregators):
        raise InputError(
            f"channel: expected the aggregators {', '.join(directory.aggregators)} and what meters sent to each, got "
            f"{', '.join(channel.members)} and messages to {', '.join(sorted(sealed))}."
        )
    head_end = _HeadEnd(channel, directory, run)
    try:
        return head_end.run(sealed, correct)
    except UnlearnError as error:
        left = [name for name in directory.aggregators if name not in head_end.vanished]
        own = {"run": as_bytes(run.run), "reason": as_bytes(str(error))}
        channel.ask(ABORT, dict.fromkeys(left, own))
        raise


class _HeadEnd:
    def __init__(self, channel: Channel, directory: MeterDirectory, run: SumRun) -> None:
        self._channel, self._directory, self._run = channel, directory, run
        self._seconds: dict[str, float] = {}
        self.vanished: list[str] = []

    def run(self, sealed: Mapping[str, Sealed], correct: bool) -> MeterTotals:
        directory, rules = self._directory, self._directory.rules
        taken = self._collect(sealed)
        included = _common(taken)
        groups = plan(included, directory.group_of, len(directory.group_names), rules.minimum, self._run.open_groups)
        signatures = self._ask(
            AGREE,
            {name: {"run": as_bytes(self._run.run), "included": included} for name in taken},
            {"signature": (np.uint8, (SIGNATURE_BYTES,))},
            rules.needed,
        )
        shares = self._open(signatures, groups.groups)
        start = time.perf_counter()
        at = {name: i + 1 for i, name in enumerate(directory.aggregators)}
        decoded = decode(
            {at[name]: one for name, one in shares.items()}, rules.threshold, FIELD, correct, "shares of totals"
        )
        values = decoded.values.astype(np.int64)
        self._seconds["decode"] = time.perf_counter() - start
        if (values < 0).any() or (values > len(included) * rules.largest).any():
            raise ProtocolError(
                "totals: expected no more than the meters' largest readings together, got more. Some meter or "
                "aggregators did not keep to the protocol; the totals are not given."
            )
        names = directory.group_names
        wrong = tuple(directory.aggregators[holder - 1] for holder in decoded.wrong)
        if wrong:
            logger.warning("wrong shares of totals from %s were left out", ", ".join(wrong))
        sent = np.unique(np.concatenate([one.meters for one in sealed.values()]))
        return MeterTotals(
            region=values[0],
            groups=tuple(names[i] for i in groups.groups),
            totals=values[1:],
            not_enough=tuple(names[i] for i in groups.too_few),
            held_back=tuple(names[i] for i in groups.held_back),
            included=included,
            left_out=np.setdiff1d(sent, included),
            refused={name: one["bad"].astype(np.int64) for name, one in taken.items() if len(one["bad"])},
            wrong=wrong,
            vanished=tuple(name for name in directory.aggregators if name in self.vanished),
            detectable=detects(len(shares), rules.threshold),
            correctable=corrects(len(shares), rules.threshold) if correct else 0,
            seconds=self._seconds,
        )

    def _collect(self, sealed: Mapping[str, Sealed]) -> dict[str, Payload]:
        about = as_bytes(self._run.text())
        asked: dict[str, Payload] = {
            name: {"about": about, "meters": np.asarray(sealed[name].meters), "boxes": sealed[name].boxes}
            for name in self._directory.aggregators
        }
        expected: Shapes = {
            "good": (np.integer, (None,)),
            "bad": (np.integer, (None,)),
            "marks": (np.uint8, (None, MARK_BYTES)),
        }

        def fits(name: str, answer: Payload) -> bool:
            both = np.concatenate([answer["good"], answer["bad"]])
            return len(answer["good"]) == len(answer["marks"]) and np.array_equal(np.sort(both), sealed[name].meters)

        return self._ask(COLLECT, asked, expected, self._directory.rules.needed, fits)

    def _open(self, signatures: Mapping[str, Payload], groups: IntArray) -> dict[str, FieldArray]:
        """Shares of totals by aggregator, the region's first, shape (1 + groups, values)."""
        names, n, n_groups = self._directory.aggregators, self._run.n_values, len(groups)
        told: Payload = {
            "run": as_bytes(self._run.run),
            "from": np.array([names.index(name) for name in signatures], dtype=np.int64),
            "signature": np.stack([answer["signature"] for answer in signatures.values()]),
        }
        expected: Shapes = {"groups": (np.integer, (n_groups,)), "group_shares": (np.uint64, (n_groups, n)),
                    "region_share": (np.uint64, (n,))}  # fmt: skip

        def fits(name: str, answer: Payload) -> bool:
            prime = np.uint64(FIELD.prime)
            large = (answer["group_shares"] >= prime).any() or (answer["region_share"] >= prime).any()
            return not large and np.array_equal(answer["groups"], groups)

        least = self._directory.rules.threshold + 1
        answers = self._ask(OPEN, dict.fromkeys(signatures, told), expected, least, fits)
        return {
            name: np.concatenate([answer["region_share"][None], answer["group_shares"]])
            for name, answer in answers.items()
        }

    def _ask(
        self,
        task: str,
        asked: Mapping[str, Payload],
        expected: Shapes,
        least: int,
        fits: Callable[[str, Payload], bool] = lambda name, answer: True,
    ) -> dict[str, Payload]:
        """Answers that the protocol allows, of at least so many aggregators; the others are out of the run."""
        start = time.perf_counter()
        replies = self._channel.ask(task, asked)
        self._seconds[task] = time.perf_counter() - start
        self.vanished += [name for name in asked if name in replies.vanished]
        refusals, answers = dict(replies.refusals), {}
        for name in asked:
            if name in replies.answers:
                try:
                    answer = require_arrays(f"answer of {name} to {task}", replies.answers[name], expected)
                    if not fits(name, answer):
                        raise ProtocolError(f"answer of {name} to {task}: its arrays do not belong together.")
                    answers[name] = answer
                except ProtocolError as error:
                    refusals[name] = str(error)
        for name in refusals:
            logger.warning("%s is out of the run at %s", name, task)
        if len(answers) < least:
            said = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in refusals.items())
            raise ProtocolError(
                f"sum of meters: expected at least {least} of {len(self._directory.aggregators)} aggregators at "
                f"{task}, got {len(answers)}; vanished: {', '.join(self.vanished) or 'none'}; refused: "
                f"{said or 'none'}."
            )
        return answers


def _common(taken: Mapping[str, Payload]) -> IntArray:
    """Meters of which every aggregator has a good message of the same sharing, sorted."""
    first, *others = taken.values()
    meters, marks = first["good"].astype(np.int64), first["marks"]
    for other in others:
        own = other["good"].astype(np.int64)
        at = np.searchsorted(own, meters)
        at[at == len(own)] = 0
        same = np.zeros(len(meters), dtype=bool)
        if len(own):
            same = (own[at] == meters) & (other["marks"][at] == marks).all(axis=1)
        meters, marks = meters[same], marks[same]
    return meters
