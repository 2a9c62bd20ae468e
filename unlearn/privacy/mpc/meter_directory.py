"""Who takes part in sums of meters, and by what rules: agreed upon beforehand, and the same at everyone."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from unlearn.checks import IntArray, require_count, require_distinct, short_repr
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import KEY_BYTES, Roster
from unlearn.privacy.federated.messages import as_bytes, as_text
from unlearn.privacy.mpc.shamir import FIELD, require_holders

#: Bytes that identify a run.
RUN_BYTES = 16

#: Hours or half-hours of one run; a year of minutes is fewer.
MOST_VALUES = 600_000

_DOMAIN = b"unlearn meter sums 1\n"


@dataclass(frozen=True)
class MeterRules:
    """What aggregators hold to, whoever asks.

    Attributes:
        threshold: t; so many aggregators together learn nothing about a meter.
        minimum: meters of which at least a total must be, as must any difference of totals.
        largest: reading that a meter may have, in whole units such as Wh. It bounds the sum beforehand; that a meter
            keeps to it, nobody can check.
        quorum: aggregators that must have signed one set of meters before any of them opens totals of it; None means
            t + 1. Two sets are then signed by at least 2 quorum - m common aggregators of m: so many must lie before
            two sets can be opened whose difference is of too few meters.

    Raises:
        InputError: a number below 1, a minimum of 1, or a quorum not above the threshold.
    """

    threshold: int = 2
    minimum: int = 15
    largest: int = 10**6
    quorum: int | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "minimum", "largest"):
            require_count(name, getattr(self, name))
        if self.minimum < 2:
            raise InputError("minimum: expected at least 2 meters, got 1, which gives a meter's own readings away.")
        if self.needed <= self.threshold:
            raise InputError(f"quorum: expected above the threshold {self.threshold}, got {self.quorum}.")

    @property
    def needed(self) -> int:
        """How many aggregators must sign a set."""
        return self.threshold + 1 if self.quorum is None else require_count("quorum", self.quorum)


@short_repr
@dataclass(frozen=True)
class MeterDirectory:
    """Meters, their groups, aggregators and rules.

    Everyone compares its fingerprint by another way than the head-end.

    Attributes:
        meters: names, in a fixed order.
        groups: of each meter, such as its feeder.
        meter_keys: public X25519 key of each meter, 32 bytes: who it is to the aggregators.
        box_keys: public X25519 key of each aggregator by name, to which shares are sealed.
        roster: public keys by which aggregators sign sets of meters, of the same names.
        rules: see there.

    Raises:
        InputError: meters without or with two groups or keys, two alike, other aggregators in the roster, a quorum of
            which two need not share an aggregator, or readings whose sum could be too large for the field.
    """

    meters: Sequence[str] = field(repr=False)
    groups: Sequence[str] = field(repr=False)
    meter_keys: Sequence[bytes] = field(repr=False)
    box_keys: Mapping[str, bytes]
    roster: Roster
    rules: MeterRules = field(default_factory=MeterRules)

    def __post_init__(self) -> None:
        n = len(self.meters)
        if not n or not n == len(self.groups) == len(self.meter_keys):
            raise InputError(
                f"directory: expected a group and a key for each meter, got {n} meters, {len(self.groups)} groups and "
                f"{len(self.meter_keys)} keys."
            )
        keys = [*self.meter_keys, *self.box_keys.values()]
        if not all(isinstance(key, bytes) and len(key) == KEY_BYTES for key in keys):
            raise InputError(f"directory: expected public keys of {KEY_BYTES} bytes, got others.")
        if len(set(keys)) < len(keys) or len(set(self.meters)) < n:
            raise InputError("directory: expected another name and key for each meter and aggregator, got some twice.")
        if set(self.box_keys) != set(self.roster.names):
            raise InputError(
                f"roster: expected the aggregators {', '.join(sorted(self.box_keys))}, got "
                f"{', '.join(self.roster.names)}."
            )
        m = len(self.box_keys)
        require_distinct("directory", list(self.box_keys), "aggregator")
        require_holders(m, self.rules.threshold)
        if not m < 2 * self.rules.needed <= 2 * m:
            raise InputError(f"quorum: expected more than half and at most all of {m}, got {self.rules.needed}.")
        if n * self.rules.largest >= FIELD.prime:
            raise InputError(
                f"rules.largest: expected below {FIELD.prime // n} for {n} meters, so that no sum exceeds the field; "
                f"got {self.rules.largest}. Take a larger unit."
            )
        for name, value in (("meters", self.meters), ("groups", self.groups), ("meter_keys", self.meter_keys)):
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "box_keys", dict(sorted(self.box_keys.items())))

    @property
    def aggregators(self) -> tuple[str, ...]:
        """Names in order; aggregator i holds shares at the point i + 1."""
        return tuple(self.box_keys)

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """Of all groups, sorted."""
        return tuple(sorted(set(self.groups)))

    @cached_property
    def group_of(self) -> IntArray:
        """Index of each meter's group in `group_names`, shape (meters,)."""
        at = {name: i for i, name in enumerate(self.group_names)}
        return np.array([at[name] for name in self.groups], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of all of it, 32 bytes."""
        return hashlib.sha256(_DOMAIN + self.text().encode()).digest()

    def text(self) -> str:
        """All of it as JSON, for a file or a message; holds no secret but who the customers are."""
        return json.dumps({
            "meters": list(self.meters), "groups": list(self.groups),
            "meter_keys": [key.hex() for key in self.meter_keys],
            "box_keys": {name: key.hex() for name, key in self.box_keys.items()},
            "roster": {name: key.hex() for name, key in self.roster.keys.items()}, "rules": asdict(self.rules),
        })  # fmt: skip

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `text` wrote.

        Raises:
            InputError: another text, or as for a directory.
        """
        try:
            read = json.loads(text)
            fields = {
                "meters": read["meters"], "groups": read["groups"],
                "meter_keys": [bytes.fromhex(key) for key in read["meter_keys"]],
                "box_keys": {name: bytes.fromhex(key) for name, key in read["box_keys"].items()},
                "roster": Roster({name: bytes.fromhex(key) for name, key in read["roster"].items()}),
                "rules": MeterRules(**read["rules"]),
            }  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("directory: expected what MeterDirectory.text wrote, got another text.") from error
        return cls(**fields)

    def _in_short(self) -> str:
        return f"{len(self.meters)} meters, {len(self.box_keys)} aggregators, {self.fingerprint.hex()[:16]}"


@dataclass(frozen=True)
class SumRun:
    """One sum: everything that a message of it is bound to.

    Attributes:
        run: 16 bytes in hex, drawn anew for each.
        directory: fingerprint of the directory, in hex.
        period: what the readings are of. One meter has one reading for each step of a period, and two periods of
            different names share none: what aggregators compare is totals of one period.
        n_values: readings of each meter.
        open_groups: whether totals of groups are opened beside that of the region.
    """

    run: str
    directory: str
    period: str
    n_values: int
    open_groups: bool = True

    @classmethod
    def new(cls, directory: MeterDirectory, period: str, n_values: int, open_groups: bool = True) -> Self:
        """A new run.

        Raises:
            InputError: a blank period, or no values or more than 600,000.
        """
        if not isinstance(period, str) or not period.strip() or len(period) > 200:
            raise InputError(f"period: expected a text of 1 to 200 signs, got {period!r}.")
        if require_count("n_values", n_values) > MOST_VALUES:
            raise InputError(f"n_values: expected at most {MOST_VALUES}, got {n_values}.")
        run = secrets.token_hex(RUN_BYTES)
        return cls(run, directory.fingerprint.hex(), period, int(n_values), bool(open_groups))

    @cached_property
    def context(self) -> bytes:
        """SHA-256 of all of it, 32 bytes."""
        return hashlib.sha256(_DOMAIN + self.text().encode()).digest()

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, message: np.ndarray, directory: MeterDirectory) -> Self:
        """Read what a message carries.

        Raises:
            ProtocolError: another text, or a run of another directory.
        """
        try:
            run = cls(**json.loads(as_text(message)))
            known = cls.new(directory, run.period, run.n_values, run.open_groups)
            if len(bytes.fromhex(run.run)) != RUN_BYTES or as_bytes(run.text()).tobytes() != message.tobytes():
                raise ValueError
        except (ValueError, TypeError, InputError):
            raise ProtocolError("run: expected what SumRun.text wrote, got another text.") from None
        if run.directory != known.directory:
            raise ProtocolError(
                f"run: expected one of the directory {known.directory[:16]}, got one of {str(run.directory)[:16]}. "
                "Compare fingerprints, and give everyone the same directory."
            )
        return run


class BoxKey:
    """The private X25519 key of a meter or an aggregator."""

    def __init__(self, private: bytes) -> None:
        if not isinstance(private, bytes) or len(private) != KEY_BYTES:
            raise InputError(f"box key: expected a private key of {KEY_BYTES} bytes, got something else.")
        self.key = X25519PrivateKey.from_private_bytes(private)

    @classmethod
    def new(cls) -> Self:
        """A new key, from the operating system's generator."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self.key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"BoxKey({hashlib.sha256(self.public).hexdigest()[:16]})"

    def __reduce__(self) -> str:
        raise TypeError("BoxKey: a private key is not pickled. Make it where it is used.")
