"""Sums and bills with split keys over a channel: the server asks meters and holders, and itself decrypts nothing.

Each meter encrypts shares for every holder that takes part, with keys that the holders signed for numbers that the
meter agreed to. A holder that vanishes or refuses, before or after the meters were asked, is left out as long as
`threshold` of them remain. The server gets totals and bills, as the one who asked for them; see `split_keys` and
`bills` for who learns what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from unlearn.checks import IntArray, require_count, require_each_once, short_repr
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.bfv import KeyHolder, RunningSum, label_of
from unlearn.privacy.encrypted.bills import Biller, BillHolder, as_rates, bill_of, signed_bills
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.parameters import BillTerms, Encryptable, Summands
from unlearn.privacy.encrypted.protocol import BATCH, EncryptedTotal
from unlearn.privacy.encrypted.split_keys import Split, SplitEncryptor, joined
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays
from unlearn.privacy.federated.party import Handler, Party

#: The tasks.
KEYS, ENCRYPT, OPEN, OPEN_BILL = "split/keys", "split/encrypt", "split/open", "split/open bill"

#: Types and shapes of a message's arrays.
Arrays = dict[str, tuple[type[np.generic], tuple[int | None, ...]]]

_NOTHING = np.zeros(0, np.uint8)


@short_repr
@dataclass(frozen=True)
class EncryptedBills:
    """What came out.

    Attributes:
        bills: exact bill of each meter, in units of readings times rates.
        vanished: meters and holders who did not answer.
        refused: why each that refused did so, or why its message was left out.
    """

    bills: dict[str, int] = field(repr=False)
    vanished: tuple[str, ...]
    refused: dict[str, str]


def split_meter(
    name: str,
    identity: Identity,
    roster: Roster,
    split: Split,
    content: Encryptable,
    values: Callable[[str], IntArray],
    most_runs: int = 3,
) -> Party:
    """A meter's side, of sums and of bills.

    Args:
        name: its own.
        identity: its own key.
        roster: where the holders' keys stand.
        split: the holders that it trusts, and how many of them decrypt together.
        content: what it agreed to: `Summands` or `BillTerms`.
        values: gives its numbers of a period, shape (n_values,). It raises an InputError for a name that it does not
            know: a period under two names is two periods here.
        most_runs: how often it encrypts one period; each run tells the server at most one result of it. A meter that
            starts anew counts anew.
    """
    runs, used = set[str](), dict[str, int]()
    most = require_count("most_runs", most_runs)

    def encrypt(kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        run, period = (as_text(left.pop(one, _NOTHING)) for one in ("run", "period"))
        keys = {}
        for holder, own in _by_party(left, split.holders).items():
            keys[holder] = PublicKeys.read_signed(own, holder, roster)
            label_of(keys[holder], run)  # refuses what is no run
        # Refuses keys of too few holders, and keys for other numbers.
        encryptor = SplitEncryptor(split, keys, content)
        if run in runs or used.get(period, 0) >= most:
            raise ProtocolError(
                f"{name}: expected a new run, and at most {most} of one period, got another. Take what came out of "
                "the runs before."
            )
        runs.add(run)
        used[period] = used.get(period, 0) + 1
        sent = encryptor.encrypt(values(period), run, name)
        return _together({holder: one.signed(identity).payload() for holder, one in sent.items()}, split.holders)

    return Party(name, {ENCRYPT: encrypt})


def sum_holder(
    name: str, identity: Identity, keys: SecretKeys, roster: Roster, server: str, split: Split, minimum: int
) -> Party:
    """A holder's side of sums; keys are of `bfv.new_keys(split.content(summands))`.

    Args:
        name: its own.
        identity: its own key.
        keys: its secret keys.
        roster: of all.
        server: who sends the sums.
        split: who holds what.
        minimum: least addends of a sum, as the server counts them.
    """
    own = KeyHolder(keys, roster, server, minimum)

    def opened(kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        coefficients, addends = own.open_coefficients(left, as_text(left.pop("run", _NOTHING)))
        return {
            "shares": np.array(coefficients[: own.summands.n_values], dtype=np.int64),
            "addends": np.array([addends], dtype=np.int64),
        }

    return Party(name, {KEYS: _shown(keys, identity), OPEN: opened})


def bill_holder(
    name: str, identity: Identity, keys: SecretKeys, roster: Roster, server: str, split: Split, terms: BillTerms
) -> Party:
    """A holder's side of bills; keys are of `bfv.new_keys(split.content(terms))`. See `sum_holder`."""
    own = BillHolder(keys, terms, split, roster, server)

    def opened(kept: Payload, asked: Payload) -> Payload:
        left = dict(asked)
        run, meter = (as_text(left.pop(one, _NOTHING)) for one in ("run", "meter"))
        return {"shares": np.array(own.open(left, run, meter), dtype=np.int64)}

    return Party(name, {KEYS: _shown(keys, identity), OPEN_BILL: opened})


def split_sum(
    channel: Channel,
    server: str,
    identity: Identity,
    roster: Roster,
    split: Split,
    summands: Summands,
    period: str,
    meters: Sequence[str] | None = None,
) -> EncryptedTotal:
    """Run one sum as the server.

    Args:
        channel: to meters and holders.
        server: the server's name on the roster.
        identity: the server's key.
        roster: of all of them.
        split: who holds what.
        summands: what is summed.
        period: which numbers, as the meters name them.
        meters: who is asked; None means all of the channel but the holders.

    Raises:
        InputError: a meter that the channel does not have, or one named twice.
        ProtocolError: fewer than `threshold` holders answered, such as for a sum of too few.
    """
    run = _Run(channel, roster, split, split.content(summands), _meters(channel, split, meters))
    totals = {holder: RunningSum(keys, run.name, roster) for holder, keys in run.keys.items()}
    members = []
    for name, sent in run.readings(period):
        with run.refusing(name):
            # Either all of a meter's shares are added or none.
            checked = {holder: total.checked(sent[holder], name) for holder, total in totals.items()}
            for holder, parts in checked.items():
                totals[holder].take(parts)
            members.append(name)
    messages = {
        holder: total.total(server).signed(identity).payload() | {"run": as_bytes(run.name)}
        for holder, total in totals.items()
    }
    shape = (split.content(summands).n_values,)
    answers = run.ask(OPEN, messages, {"shares": (np.int64, shape), "addends": (np.int64, (1,))})
    opened = {holder: (one["shares"].tolist(), int(one["addends"][0])) for holder, one in answers.items()}
    run.require_enough(opened, OPEN)
    sums = joined(opened, split, summands)
    return EncryptedTotal(tuple(sums), tuple(members), tuple(run.vanished), run.refused)


def encrypted_bills(
    channel: Channel,
    server: str,
    identity: Identity,
    roster: Roster,
    split: Split,
    terms: BillTerms,
    rates: Sequence[int] | IntArray,
    period: str,
    meters: Sequence[str] | None = None,
) -> EncryptedBills:
    """Bill one period as the utility; it learns each meter's bill and no reading.

    Args:
        channel, server, identity, roster, split, meters: see `split_sum`.
        terms: what meters and holders agreed to.
        rates: of each reading, whole numbers, shape (n_values,).
        period: which readings, as the meters name it.

    Raises:
        InputError: as for `split_sum` and `bills.as_rates`.
        ProtocolError: fewer than `threshold` holders gave keys.
    """
    applied = as_rates(rates, terms)
    run = _Run(channel, roster, split, split.content(terms), _meters(channel, split, meters))
    billers = {holder: Biller(keys, terms, split, applied, run.name, roster) for holder, keys in run.keys.items()}
    bills = {}
    for name, sent in run.readings(period):
        with run.refusing(name):
            about = {"run": as_bytes(run.name), "meter": as_bytes(name)}
            priced = signed_bills(billers, sent, name, server, identity)
            answers = run.ask(
                OPEN_BILL,
                {holder: one | about for holder, one in priced.items()},
                {"shares": (np.int64, (split.n_each,))},
            )
            bills[name] = bill_of(
                {holder: one["shares"].tolist() for holder, one in answers.items()}, split, terms, applied
            )
    return EncryptedBills(bills, tuple(run.vanished), run.refused)


class _Run:
    """One run as the server: keys of the holders, readings of the meters, and who failed to give any."""

    def __init__(self, channel: Channel, roster: Roster, split: Split, own: Encryptable, meters: Sequence[str]) -> None:
        self._channel, self._split, self._meters = channel, split, meters
        self.name, self.vanished, self.refused = new_run(), list[str](), dict[str, str]()
        signed = self._answers(KEYS, {holder: {} for holder in split.holders})
        self.keys = dict[str, PublicKeys]()
        for holder, one in signed.items():
            with self.refusing(holder):
                keys = PublicKeys.read_signed(one, holder, roster)
                if (keys.scheme, keys.settings) != (own.scheme, own.text):
                    raise ProtocolError(
                        f"public keys of {holder}: expected keys for what is computed, got others. Agree anew first."
                    )
                self.keys[holder] = keys
        self.require_enough(self.keys, KEYS)
        self._asked = _together({holder: signed[holder] for holder in self.keys}, split.holders)

    def readings(self, period: str) -> Iterator[tuple[str, dict[str, Payload]]]:
        """Of each meter that answers, what it encrypted for each holder."""
        asked = self._asked | {"run": as_bytes(self.name), "period": as_bytes(period)}
        for start in tqdm(range(0, len(self._meters), BATCH), "split keys", delay=2, leave=False):
            for name, one in self._answers(ENCRYPT, dict.fromkeys(self._meters[start : start + BATCH], asked)).items():
                with self.refusing(name):
                    sent = _by_party(one, self._split.holders)
                    if sent.keys() != self.keys.keys():
                        raise ProtocolError(
                            f"{name}, {ENCRYPT}: expected a ciphertext for each holder, got {len(sent)}. Leave it out."
                        )
                    yield name, sent

    def ask(self, task: str, asked: dict[str, Payload], arrays: Arrays) -> dict[str, Payload]:
        """What holders answer who have not vanished before, of these arrays."""
        found = {}
        left = {holder: one for holder, one in asked.items() if holder not in self.vanished}
        for holder, one in self._answers(task, left).items():
            with self.refusing(holder):
                found[holder] = require_arrays(f"{holder}, {task}", one, arrays)
        return found

    def require_enough(self, answered: Mapping[str, object], task: str) -> None:
        if len(answered) < self._split.threshold:
            reasons = " ".join(self.refused[one] for one in self._split.holders if one in self.refused)
            raise ProtocolError(
                f"split keys, {task}: expected at least {self._split.threshold} of {', '.join(self._split.holders)}, "
                f"got {len(answered)}. {reasons or 'Ask them again.'}"
            )

    @contextmanager
    def refusing(self, name: str) -> Iterator[None]:
        """A message that is refused leaves its sender out and ends nothing."""
        try:
            yield
        except ProtocolError as error:
            self.refused[name] = str(error)

    def _answers(self, task: str, asked: dict[str, Payload]) -> dict[str, Payload]:
        replies = self._channel.ask(task, asked)
        self.vanished += replies.vanished
        self.refused |= replies.refusals
        return replies.answers


def _meters(channel: Channel, split: Split, meters: Sequence[str] | None) -> list[str]:
    names = [one for one in channel.members if one not in split.holders] if meters is None else list(meters)
    if len(set(names)) < len(names):
        require_each_once("meters", names)
    if unknown := (set(names) | set(split.holders)) - set(channel.members):
        raise InputError(f"meters: expected members of the channel, got {len(unknown)} others. Leave them out.")
    return names


def _shown(keys: SecretKeys, identity: Identity) -> Handler:
    signed = keys.public.signed(identity)
    return lambda kept, asked: signed


def _together(payloads: Mapping[str, Payload], parties: tuple[str, ...]) -> Payload:
    """Messages of several parties as one; names of parties may hold any sign."""
    at = {party: i for i, party in enumerate(parties)}
    return {f"{at[party]}:{name}": one for party, payload in payloads.items() for name, one in payload.items()}


def _by_party(payload: Payload, parties: tuple[str, ...]) -> dict[str, Payload]:
    """What `_together` put together.

    Raises:
        ProtocolError: arrays of nobody.
    """
    found = dict[str, Payload]()
    at = {str(i): party for i, party in enumerate(parties)}
    for key, one in payload.items():
        number, _, name = key.partition(":")
        if number not in at:
            raise ProtocolError("split keys: expected arrays of each holder, got others. Let all run the same version.")
        found.setdefault(at[number], {})[name] = one
    return found
