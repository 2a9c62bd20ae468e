"""Influence and Newton unlearning of the whole network against true refits: `python -m experiments.full_network`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, number
from experiments.groups import STORE
from experiments.loads import DATA, build_dataset, store_of
from unlearn.errors import InputError
from unlearn.studies.full_network.options import FullNetworkOptions

if TYPE_CHECKING:
    from unlearn.studies.full_network.run import FullNetworkRun


@experiment(keeps=lambda job: job.store, **DATA, store=STORE, full_network=FullNetworkOptions)
def main(job: Job, folder: Path) -> Ending:
    """Write records, the figure, the page and `summary.md`, and print the summary."""
    from unlearn.reporting.style import NOT_A_RESULT
    from unlearn.store import write
    from unlearn.studies.full_network.report import save, write_page
    from unlearn.studies.full_network.verdict import at_chosen_condition, summary

    records = write_records(job, build_full_network(job).records(), folder)
    write_page(records, save(records, folder / "full_network"), folder / "index.html")
    text = summary(records) + (f"\n{NOT_A_RESULT}\n" if job.tiny else "")
    write(folder / "summary.md", text.encode())
    sys.stdout.write(text)
    own = at_chosen_condition(records)
    steps = {"metric": "distance_to_refit", "use": "group"}
    network = {"method": "gauss_newton", "truth": "scratch"}
    numbers = [
        number("Distance to the refit that is left by a Newton step of the head", own, method="head", **steps),
        number("Distance to the refit that is left by a step of the whole network", own, **network, **steps),
        number("Rank correlation (LDS) of the whole network's influence", own, metric="lds", over="seed", **network),
    ]
    return Ending(numbers, folder / "index.html")


def build_full_network(job: Job) -> FullNetworkRun:
    """The configured run; it refuses what cannot be studied before anything is trained."""
    if job.protocol != "fair":
        raise InputError("full_network: expected protocol=fair, which selects groups by validation rows.")
    from unlearn.studies.full_network.run import FullNetworkRun

    return FullNetworkRun(build_dataset(job, job.grid.build()), job.full_network, store_of(job), job.split.random_state)


if __name__ == "__main__":
    main()
