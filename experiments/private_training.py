"""What privacy costs: `python -m experiments.private_training`.

A generator is trained at several ε; fidelity, utility and attacks are measured beside real training. Interrupt it, run
it again, it goes on.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.groups import Group
from experiments.releases import RELEASES, build_releases
from unlearn.studies.private_training.options import PrivateTrainingOptions

if TYPE_CHECKING:
    from unlearn.studies.private_training.measure import PrivateTraining


@experiment(
    keeps=lambda job: job.synthesis.folder,
    owner_only=True,
    **RELEASES,
    seed=0,
    grid=Group("grid"),
    private_training=PrivateTrainingOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page over ε and seeds, and print what they say."""
    from experiments.together import publish

    records = build_private_training(job).records()
    page = publish(job, "private_training", records, folder)
    least = min(math.inf if epsilon is None else epsilon for epsilon in job.private_training.epsilons)
    own = records[(records["epsilon"] == least) & ~records["method"].isin(("start", "not private"))]
    floor = {"generator": own["method"].iloc[0], "metric": "headline", "scope": "all", "reference": "floor"}
    households = {"part": "attack", "metric": "auc", "unit_attacked": "household"}
    numbers = [
        number(f"ε that is spent where {least:g} is asked for", own, metric="epsilon_pld"),
        number(f"Distances to real households at ε = {least:g}, in floors", own, part="fidelity", **floor),
        number(f"AUC of attacks on households at ε = {least:g}", own, **households),
    ]
    return Ending(numbers, page)


def build_private_training(job: Job) -> PrivateTraining:
    """The study of a job; it refuses what cannot be run before anything is trained."""
    from unlearn.studies.private_training.measure import PrivateTraining

    options = job.private_training
    cost = job.grid.build() if "load" in options.utility.tasks or options.forecast.forecasters else None
    return PrivateTraining(build_releases(job), job.generator, cost, options, job.seed)


if __name__ == "__main__":
    main()
