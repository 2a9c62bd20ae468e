"""Which de-identification steps protect customers, and what they cost: `python -m experiments.anonymize`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, Number, number
from experiments.groups import STORE, Group
from unlearn.studies.anonymize.options import SUPPRESSED, AnonymizeOptions


@experiment(
    keeps=lambda job: job.store,
    owner_only=True,
    households=Group("households"),
    grid=Group("grid"),
    anonymize=AnonymizeOptions,
    store=STORE,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures and page, and print what they say."""
    from experiments.loads import store_of
    from experiments.together import publish
    from unlearn.households import load_households
    from unlearn.studies.anonymize.measure import study_anonymize
    from unlearn.studies.anonymize.table import HIERARCHY, AnonymizeTable

    records = study_anonymize(load_households(job.households), job.grid.build(), job.anonymize, store_of(job))
    page = publish(job, "anonymize", records, folder)
    table, known = AnonymizeTable(records), job.anonymize.main_known
    found, added = table.found("pseudonyms"), table.added(SUPPRESSED)
    numbers = [
        Number(f"Households behind pseudonyms that {known} known readings find", found.mean if found else float("nan"),
               "share"),
        number("Combinations of protected sums that break the 15/15 rule", records, metric="breaking", step=SUPPRESSED,
               publication=HIERARCHY),
        Number("Cost of forecasts from protected sums, against raw readings", added.mean if added else float("nan"),
               "percent"),
    ]  # fmt: skip
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
