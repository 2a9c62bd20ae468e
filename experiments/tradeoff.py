"""PAMU and TAMU over all λ₁: `python -m experiments.tradeoff forecaster=linear protocol=published`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, Number, number
from experiments.loads import FORECASTER, build_study
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import TradeoffOptions

if TYPE_CHECKING:
    import pandas as pd


@experiment(**FORECASTER, ihvp=IhvpOptions, unlearning=TradeoffOptions)
def main(job: Job, folder: Path) -> Ending:
    """Remove the configured share and write the criteria on the test rows for every budget."""
    from unlearn.studies.paper.run import tradeoff

    frame = tradeoff(build_study(job), job.unlearning.share, job.unlearning.l1_budgets)
    return Ending(costs(write_records(job, frame, folder)), folder)


def costs(records: pd.DataFrame) -> list[Number]:
    """Operating cost of the original model, after complete unlearning, and by TAMU at the largest λ₁."""
    own = records[(records["experiment"] == "tradeoff") & (records["metric"] == "cost")]
    largest = own["l1_budget"].max()
    return [
        number("Operating cost on test hours, original model", own, method="original"),
        number("Operating cost on test hours, after complete unlearning", own, method="retrained"),
        number(f"Operating cost on test hours, TAMU at λ₁ = {largest:g}", own, criterion="cost", l1_budget=largest),
    ]


if __name__ == "__main__":
    main()
