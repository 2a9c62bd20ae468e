"""How far a release is from real households: `python -m experiments.fidelity generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.releases import RELEASES, build_releases
from unlearn.studies.fidelity.options import FidelityStudyOptions


@experiment(
    keeps=lambda job: job.synthesis.folder,
    owner_only=True,
    **RELEASES,
    fidelity=FidelityStudyOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    from experiments.together import publish
    from unlearn.studies._shared.fidelity.measure import REAL
    from unlearn.studies.fidelity.measure import study_fidelity

    records = study_fidelity(build_releases(job), job.generator, job.fidelity)
    page = publish(job, "fidelity", records, folder)
    floor = {"metric": "headline", "scope": "all", "reference": "floor"}
    name = job.generator.name
    numbers = [
        number(f"Distances of {name} to real households, in floors", records, generator=name, **floor),
        number(f"AUC of a classifier of {name} against real days", records, metric="auc", generator=name),
        number("AUC of a classifier of real days against real days", records, metric="auc", generator=REAL),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
