"""What a utility can publish with differential privacy, and how far off it is: `python -m experiments.dp_release`.

Interrupt it, run it again, it goes on. Noise comes from OpenDP: pip install "unlearn[release]".
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.groups import STORE, Group
from unlearn.studies.dp_release.options import DpReleaseOptions


@experiment(
    keeps=lambda job: job.store,
    owner_only=True,
    households=Group("households"),
    grid=Group("grid"),
    dp_release=DpReleaseOptions,
    store=STORE,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures and page, and print what they say."""
    from experiments.loads import store_of
    from experiments.together import publish
    from unlearn.households.io.sources import load_households
    from unlearn.studies.dp_release.measure import study_dp_release
    from unlearn.studies.dp_release.setting import require_noise
    from unlearn.studies.dp_release.table import DpReleaseTable

    require_noise(job.dp_release)
    households = load_households(job.households)
    records = study_dp_release(households, job.grid.build(), job.dp_release, store_of(job))
    page = publish(job, "dp_release", records, folder)
    table, epsilon = DpReleaseTable(records), job.dp_release.main_epsilon
    numbers = [
        Number(f"Homes where noise is 1 % of an hourly total, ε = {epsilon:g}", table.main_homes("hour")),
        Number(f"Homes where it is of a {table.longest} of them", table.main_homes(table.longest)),
        Number("Largest audited ε over the promised one", table.largest_share),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
