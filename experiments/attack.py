"""Who can tell that a household took part in a release? `python -m experiments.attack generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.attack_stages import AttackRun
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.attacks.base import label_of
from unlearn.studies.leakage.samples import COPIED
from unlearn.studies.leakage.verdict import headline_attack


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    records = AttackRun(config).records(list(config.synthesis.seeds))
    page = publish(config, "attack", records, folder)
    attack, kind = headline_attack(records), config.generator.kind
    own = records[(records["metric"] == "auc") & (records["attack"] == attack)]
    said = f"AUC of the {label_of(attack)} attack on"
    numbers = [
        number(f"{said} days of {kind}", own, generator=kind, unit_attacked="profile"),
        number(f"{said} households of {kind}", own, generator=kind, unit_attacked="household"),
        number(f"{said} days that were copied", own, generator=COPIED, unit_attacked="profile"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
