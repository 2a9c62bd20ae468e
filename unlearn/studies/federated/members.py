"""Channels to the members of a federation, as every part of the study asks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from unlearn.data import LoadDataset
from unlearn.privacy.federated.averaging import AveragingOptions
from unlearn.privacy.federated.averaging_secure import averaging_party
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.learners import Learner, NetworkLearner
from unlearn.privacy.federated.utility import Utility
from unlearn.studies.federated.options import AveragingSettings

#: Architecture of the networks that are averaged.
ARCHITECTURE = "mixer"


def exact_channel(datasets: Mapping[str, LoadDataset], full: bool = False) -> tuple[LocalChannel, dict[str, Utility]]:
    """Members of exact least squares, each with keys of its own; `full` records what their messages hold."""
    keys = {name: Identity.new() for name in datasets}
    roster = Roster({name: own.public for name, own in keys.items()})
    utilities = {name: Utility(name, dataset) for name, dataset in datasets.items()}
    return LocalChannel([own.party(keys[name], roster) for name, own in utilities.items()], full=full), utilities


def averaging_channel(
    learners: Mapping[str, Learner], lost: Callable[[str, str, int], bool] | None = None
) -> LocalChannel:
    """Members of federated averaging, in plain sight; see `secure_channel`."""
    parties = [averaging_party(name, learner) for name, learner in learners.items()]
    return LocalChannel(parties) if lost is None else LocalChannel(parties, lost)


def secure_channel(learners: Mapping[str, Learner]) -> LocalChannel:
    """Members of federated averaging whose updates are only seen as their sum."""
    keys = {name: Identity.new() for name in learners}
    roster = Roster({name: own.public for name, own in keys.items()})
    return LocalChannel([averaging_party(name, learner, keys[name], roster) for name, learner in learners.items()])


def learners_of(datasets: Mapping[str, LoadDataset]) -> dict[str, Learner]:
    """What trains a network at each member."""
    return {name: NetworkLearner(dataset, ARCHITECTURE) for name, dataset in datasets.items()}


def averaging_options(
    settings: AveragingSettings, seed: int, aggregation: str = "mean", secure: bool = False, least: int | None = None
) -> AveragingOptions:
    """Settings of one training; robust rules count each member once, for claims of rows are a member's own."""
    return AveragingOptions(
        rounds=settings.rounds,
        local_epochs=settings.local_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
        aggregation=aggregation,
        secure=secure,
        least_members=least,
    )
