"""Utilities that learn together without pooling data, and leave again: `python -m experiments.federated`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.groups import STORE, Group
from unlearn.studies.federated.options import SINGLE, SUM, FederatedOptions


@experiment(
    keeps=lambda job: job.store,
    owner_only=True,
    households=Group("households"),
    grid=Group("grid"),
    federated=FederatedOptions,
    store=STORE,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures and page, and print what they say."""
    from experiments.loads import store_of
    from experiments.together import publish
    from unlearn.households.io.sources import load_households
    from unlearn.studies.federated.measure import require_packages, study_federated
    from unlearn.studies.federated.table import FederatedTable

    require_packages(job.federated)
    records = study_federated(load_households(job.households), job.grid.build(), job.federated, store_of(job))
    page = publish(job, "federated", records, folder)
    table = FederatedTable(records)
    gap, single, summed = table.to_pooled("mse"), table.inverted(SINGLE), table.inverted(SUM)
    nothing = float("nan")
    numbers = [
        Number("Largest distance to never-joined after an exact withdrawal", table.exact_distance, "relative"),
        Number("MSE of the averaged Mixer against pooled training", gap.mean if gap else nothing, "percent"),
        Number(
            f"Error of load windows from a secure sum over guessing (from one update: {single.text('.2g')})"
            if single
            else "Error of load windows from a secure sum over guessing",
            summed.mean if summed else nothing,
        ),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
