"""The averaging in processes of their own: a coordinator and each utility, over TLS on this machine."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from unlearn.privacy.federated.averaged_network import AveragedNetwork
from unlearn.privacy.federated.flower.jobs import MODEL, save_utility
from unlearn.privacy.federated.flower.members import TRAFFIC, Member
from unlearn.privacy.federated.flower.processes import Federation
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import unpack
from unlearn.studies.federated.members import ARCHITECTURE, averaging_options
from unlearn.studies.federated.setting import Setting

#: What runs, and how a utility answers.
JOB = "unlearn.privacy.federated.flower.jobs:averaging"
PARTY = "unlearn.privacy.federated.flower.jobs:averaging_party"
#: How long members may take for one answer, in seconds: a round of training on a shared machine.
TIMEOUT_S = 300.0


def averaged_in_processes(setting: Setting) -> tuple[AveragedNetwork, dict[str, float]]:
    """Average the Mixer across processes, with the settings of `averaged_by_all`, which it equals.

    Returns:
        The network, and seconds and bytes.

    Raises:
        MissingPackageError: Flower is not installed.
        ProtocolError: a process ended, or members did not answer.
    """
    options = averaging_options(setting.options.averaging, setting.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        keys = {name: Identity.new() for name in setting.names}
        roster = Roster({name: own.public for name, own in keys.items()})
        members = []
        for name, dataset in setting.datasets.items():
            own = save_utility(folder / "data" / name, dataset, keys[name], roster, {"in_plain": True})
            members.append(Member(name, PARTY, own))
        with Federation(members, folder / "federation", timeout_s=TIMEOUT_S) as federation:
            start = time.perf_counter()
            found = federation.run(JOB, {"architecture": ARCHITECTURE, "options": asdict(options)})
            seconds = time.perf_counter() - start
            network = AveragedNetwork.from_payload(unpack((found / MODEL).read_bytes()))
            sent = json.loads((found / TRAFFIC).read_text())["bytes"]
    return network, {"seconds": seconds, "bytes": float(sent["coordinator"])}
