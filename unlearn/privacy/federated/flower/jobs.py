"""Jobs that a federation of utilities runs across processes, and how a utility answers them.

A utility's folder holds `loads` (see `save_loads`), `identity.key`, `roster.json` and `terms.json`, as `save_utility`
writes it. What a member insists on, such as the least threshold of a sum, stands in its own terms: settings of a job
come from the coordinator, against whom these terms protect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.households import load_loads, save_loads
from unlearn.privacy.federated.averaged_network import fit_averaged
from unlearn.privacy.federated.averaging import AveragingOptions
from unlearn.privacy.federated.averaging_secure import averaging_party as utility_party
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.flower.members import Member, Settings
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.learners import NetworkLearner
from unlearn.privacy.federated.least_squares import fit_federated, refit_federated, update_federated
from unlearn.privacy.federated.messages import pack, unpack
from unlearn.privacy.federated.model import FederatedModel
from unlearn.privacy.federated.party import Party
from unlearn.privacy.federated.sum_protocol import SumOptions
from unlearn.privacy.federated.utility import Utility
from unlearn.store import only_for_owner, write

#: Files of a utility's folder.
LOADS, IDENTITY, ROSTER, TERMS = "loads", "identity.key", "roster.json", "terms.json"
#: File of a model in the results of a job.
MODEL = "model.safetensors"

_TERMS: dict[str, Any] = {"threshold": None, "neighbours": None, "leaving": False, "in_plain": False}


def save_utility(
    folder: str | Path, dataset: LoadDataset, identity: Identity, roster: Roster, terms: Mapping[str, Any] | None = None
) -> Path:
    """Write the folder that a utility answers from, readable by its owner alone.

    Args:
        folder: to write; must not hold an identity yet.
        dataset: its loads.
        identity: its own key.
        roster: of all members.
        terms: what it insists on: `threshold` and `neighbours` as the least of `SumOptions`; `leaving`, whether it
            agrees to leave; `in_plain`, whether the coordinator may see its own updates of federated averaging.

    Raises:
        InputError: unknown terms, or an identity is there.
    """
    _checked(terms or {}, "terms")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    only_for_owner(folder)
    identity.save(folder / IDENTITY)
    roster.save(folder / ROSTER)
    write(folder / TERMS, json.dumps({**_TERMS, **(terms or {})}, indent=2).encode())
    save_loads(dataset, folder / LOADS)
    return folder


def exact_party(settings: Settings, member: Member) -> Party:
    """A utility that answers `least_squares`; its file needs `keeps`, for sums are subtracted jobs later."""
    dataset, identity, roster, terms = _own(member)
    utility = Utility(member.name, dataset, leaving=bool(terms["leaving"]))
    return utility.party(identity, roster, _least(terms))


def averaging_party(settings: Settings, member: Member) -> Party:
    """A utility that answers `averaging`, by sums alone unless its terms say `in_plain`."""
    dataset, identity, roster, terms = _own(member)
    learner = NetworkLearner(dataset, str(settings.get("architecture", "mixer")))
    return utility_party(member.name, learner, identity, roster, _least(terms), in_plain=bool(terms["in_plain"]))


def least_squares(channel: Channel, settings: Settings) -> dict[str, bytes]:
    """Fit a linear forecaster to the rows of all utilities, or take in what changed since.

    Settings: `model`, the file of an earlier result at the coordinator, if there is one; `leaving`, names of members
    that leave; `least_changes`, see `update_federated`; `without`, members that can no longer subtract, see
    `refit_federated`; `threshold` and `neighbours` of the sums.

    Returns:
        `model.safetensors`, which `FederatedModel.from_payload` reads, and `members.json`.
    """
    known = {"model", "leaving", "least_changes", "without", "threshold", "neighbours"}
    _require_known(settings, known)
    options = _least(settings)
    if settings.get("model") is None:
        model = fit_federated(channel, options=options)
    else:
        before = FederatedModel.from_payload(unpack(Path(str(settings["model"])).read_bytes()))
        if settings.get("without"):
            model = refit_federated(channel, before, list(settings["without"]), options)
        else:
            leaving, least = list(settings.get("leaving", [])), int(settings.get("least_changes", 1))
            model = update_federated(channel, before, leaving, least, options)
    return {MODEL: pack(model.to_payload()), "members.json": json.dumps(list(model.members)).encode()}


def averaging(channel: Channel, settings: Settings) -> dict[str, bytes]:
    """Train a network over all utilities by federated averaging.

    Settings: `architecture`, "mixer" or "cnn"; `options`, those of `AveragingOptions`, with `secure` true unless said.

    Returns:
        `model.safetensors`, which `AveragedNetwork.from_payload` reads, and `rounds.json` with what happened in each
        round.
    """
    _require_known(settings, {"architecture", "options"})
    options = AveragingOptions(**{"secure": True, **dict(settings.get("options", {}))})
    found = fit_averaged(channel, str(settings.get("architecture", "mixer")), options)
    return {
        MODEL: pack(found.to_payload()),
        "rounds.json": json.dumps([asdict(one) for one in found.averaged.history]).encode(),
    }


def _own(member: Member) -> tuple[LoadDataset, Identity, Roster, dict[str, Any]]:

    folder = member.data
    try:
        terms = json.loads((folder / TERMS).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{member.name}: expected {TERMS} in its folder, got {type(error).__name__}. Write it with save_utility."
        ) from error
    return (
        load_loads(folder / LOADS),
        Identity.load(folder / IDENTITY),
        Roster.load(folder / ROSTER),
        {**_TERMS, **_checked(terms, f"{member.name}, {TERMS}")},
    )


def _checked(terms: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if unknown := sorted(set(terms) - set(_TERMS)):
        raise InputError(f"{where}: expected some of {', '.join(_TERMS)}, got {', '.join(unknown)}.")
    return terms


def _require_known(settings: Settings, known: set[str]) -> None:
    if unknown := sorted(set(settings) - known):
        raise InputError(f"settings: expected some of {', '.join(sorted(known))}, got {', '.join(unknown)}.")


def _least(given: Mapping[str, Any]) -> SumOptions:
    return SumOptions(threshold=given.get("threshold"), neighbours=given.get("neighbours"))
