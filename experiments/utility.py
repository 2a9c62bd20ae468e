"""What a release is good for: train on it, test on real households: `python -m experiments.utility generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.groups import Group
from experiments.releases import RELEASES, build_releases
from unlearn.studies.utility.options import UtilityStudyOptions


@experiment(
    keeps=lambda job: job.synthesis.folder,
    owner_only=True,
    **RELEASES,
    grid=Group("grid"),
    utility=UtilityStudyOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    from experiments.together import publish
    from unlearn.studies.utility.measure import study_utility

    cost = job.grid.build() if "load" in job.utility.tasks else None
    records = study_utility(build_releases(job), job.generator, cost, job.utility)
    page = publish(job, "utility", records, folder)
    name = job.generator.name
    own = records[records["generator"] == name]
    numbers = [
        number(f"Operating cost after training on {name}", own, task="load", metric="cost"),
        number(f"Balanced accuracy of seasons after training on {name}", own, metric="balanced_accuracy"),
        number(f"RMSE of the next step after training on {name}", own, task="next_step", metric="rmse"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
