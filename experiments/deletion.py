"""Evidence that a deletion happened: `python -m experiments.deletion forecaster=linear protocol=fair`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.loads import FORECASTER, build_study, store_of
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import SelectionOptions
from unlearn.studies.deletion.options import AuditOptions

if TYPE_CHECKING:
    import pandas as pd


@experiment(
    keeps=lambda job: job.store,
    **FORECASTER,
    ihvp=IhvpOptions,
    unlearning=SelectionOptions,
    deletion=AuditOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page of the configured deletion, and print what they say."""
    from experiments.together import publish
    from unlearn.studies.deletion.verdict import DECIDING, PLAIN

    records = audited(job)
    page = publish(job, "deletion", records, folder)
    told = {"metric": "auc", "attack": DECIDING, "scope": "set", "against": PLAIN}
    left = {"metric": "distance_to_retrained", "against": None}
    numbers = [
        number("AUC by which the original models are told apart", records, method="original", **told),
        number("AUC after complete unlearning", records, method="unlearnt", **told),
        number("Distance to the retrained model after complete unlearning", records, method="unlearnt", **left),
    ]
    return Ending(numbers, page)


def audited(job: Job) -> pd.DataFrame:
    """Records of all parts of the configured audit; those that were measured before are read."""
    from unlearn.studies.deletion.measure import Audit

    return Audit(build_study(job), job.unlearning.share, job.deletion).kept_records(store_of(job))


if __name__ == "__main__":
    main()
