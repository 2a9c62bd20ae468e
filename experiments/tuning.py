"""What lowers the cost after a deletion: `python -m experiments.tuning`; interrupt it, run it again, it goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.groups import Group
from experiments.loads import FORECASTERS
from unlearn.linalg.options import IhvpOptions
from unlearn.studies.tuning.options import TuningOptions

if TYPE_CHECKING:
    import pandas as pd


@experiment(
    keeps=lambda job: job.store,
    **{**FORECASTERS, "data": Group("data", optional=True)},
    ihvp=IhvpOptions,
    tuning=TuningOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures and page of all cells, and print what they say."""
    from experiments.together import publish
    from experiments.tuning_jobs import run_all

    records = run_all(job)
    return Ending(numbers(records), publish(job, "tuning", records, folder))


def numbers(records: pd.DataFrame) -> list[Number]:
    """What scaling and TAMU cost beside complete unlearning, and how often the chosen tuning costs less than TAMU."""
    from unlearn.studies.tuning.run import costs_of

    cost = costs_of(records).reindex(columns=["retrained", "scale", "TAMU", "chosen"])
    told = {"scale": "Cost of tuning by one factor", "TAMU": "Cost of TAMU"}
    found = [
        Number(f"{name}, of complete unlearning's (median)", float((cost[own] / cost["retrained"]).median()), "share")
        for own, name in told.items()
    ]
    both = cost[["chosen", "TAMU"]].dropna()
    won = float((both["chosen"] < both["TAMU"]).sum()) if len(both) else math.nan
    return [*found, Number(f"Cells, of {len(both)}, in which the chosen tuning costs less than TAMU", won)]


if __name__ == "__main__":
    main()
