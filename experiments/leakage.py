"""Who can tell that a household took part in a release? `python -m experiments.leakage generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.groups import Group, Section
from experiments.releases import RELEASES, build_releases
from unlearn.studies.leakage.options import LeakageStudyOptions


@experiment(
    keeps=lambda job: job.synthesis.folder,
    owner_only=True,
    **RELEASES,
    attack=Group("attack", many=True),
    leakage=Section(LeakageStudyOptions, without=("attacks",)),
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    from experiments.together import publish
    from unlearn.attacks.base import label_of
    from unlearn.studies._shared.attributes import COPIED
    from unlearn.studies.leakage.measure import study_leakage
    from unlearn.studies.leakage.verdict import headline_attack

    options = replace(job.leakage, attacks=tuple(job.attack.values()))
    records = study_leakage(build_releases(job), job.generator, options)
    page = publish(job, "leakage", records, folder)
    attack, name = headline_attack(records), job.generator.name
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
