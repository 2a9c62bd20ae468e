"""PAMU and TAMU over all λ₁: `python -m experiments.tradeoff forecaster=linear protocol=published`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.app import experiment, write_records
from experiments.build import build_study
from experiments.endings import Ending, Number, number
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from unlearn.studies.paper.measure import tradeoff


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Remove the configured share and write the criteria on the test rows for every budget."""
    refuse_loads_and_forms(config, "tradeoff")
    study = build_study(config)
    frame = tradeoff(study, config.unlearning.share, config.unlearning.l1_budgets)
    return Ending(costs(write_records(config, frame, folder)), folder)


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
