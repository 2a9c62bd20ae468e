"""Who can tell that a household took part in a release? `python -m experiments.attack generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.build import build_generator, build_releases, options_of
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.attacks.base import label_of
from unlearn.studies._shared.leakage.samples import COPIED
from unlearn.studies.leakage.measure import study_leakage
from unlearn.studies.leakage.options import LeakageStudyOptions
from unlearn.studies.leakage.verdict import headline_attack


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    generator = build_generator(config)
    records = study_leakage(build_releases(config), generator, options_of(LeakageStudyOptions, config.attack))
    page = publish(config, "attack", records, folder)
    attack, name = headline_attack(records), generator.name
    own = records[(records["metric"] == "auc") & (records["attack"] == attack)]
    said = f"AUC of the {label_of(attack)} attack on"
    numbers = [
        number(f"{said} days of {name}", own, generator=name, unit_attacked="profile"),
        number(f"{said} households of {name}", own, generator=name, unit_attacked="household"),
        number(f"{said} days that were copied", own, generator=COPIED, unit_attacked="profile"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
