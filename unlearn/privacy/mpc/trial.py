"""Meters and aggregators made in one place, with all keys in hand: for trials, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearn.checks import short_repr
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.party import Party
from unlearn.privacy.mpc.aggregator import MeterAggregator, aggregator_input
from unlearn.privacy.mpc.meter_directory import BoxKey, MeterDirectory, MeterRules


@short_repr
@dataclass(frozen=True)
class TrialMeters:
    """A directory, and every private key of it; in earnest each stays where it was made.

    Attributes:
        directory: of all.
        keys: of the meters, in the directory's order.
        boxes, identities: private keys of the aggregators by name, 32 bytes each.
    """

    directory: MeterDirectory
    keys: tuple[BoxKey, ...] = field(repr=False)
    boxes: dict[str, bytes] = field(repr=False)
    identities: dict[str, bytes] = field(repr=False)

    def parties(self) -> list[Party]:
        """New aggregators, who have opened nothing yet, for a channel within this process."""
        return [
            MeterAggregator(name, self.directory, BoxKey(self.boxes[name]), Identity(self.identities[name])).party()
            for name in self.directory.aggregators
        ]

    def private_input(self, name: str) -> Payload:
        """What the process of one aggregator gets."""
        return aggregator_input(self.directory, self.boxes[name], self.identities[name])


def trial_meters(groups: Sequence[str], rules: MeterRules | None = None, n_aggregators: int = 5) -> TrialMeters:
    """Make meters, one in each of the groups, and aggregators.

    Args:
        groups: of each meter.
        rules: by default those of `MeterRules`.
        n_aggregators: how many.

    Raises:
        InputError: as for a directory.
    """
    keys = tuple(BoxKey.new() for _ in groups)
    names = [f"aggregator-{i + 1:02d}" for i in range(n_aggregators)]
    own = {name: BoxKey.new() for name in names}
    boxes = {name: box.key.private_bytes_raw() for name, box in own.items()}
    identities = {name: Ed25519PrivateKey.generate().private_bytes_raw() for name in names}
    directory = MeterDirectory(
        meters=[f"meter-{i}" for i in range(len(keys))],
        groups=list(groups),
        meter_keys=[key.public for key in keys],
        box_keys={name: box.public for name, box in own.items()},
        roster=Roster({name: Identity(private).public for name, private in identities.items()}),
        rules=rules or MeterRules(),
    )
    return TrialMeters(directory, keys, boxes, identities)
