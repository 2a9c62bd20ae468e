"""From anomaly to unlearning: `python -m experiments.poisoning forecaster=linear`.

Training hours are poisoned, found without the truth, and unlearnt; what that mends is priced on the grid. Interrupt it,
run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.loads import FORECASTER, build_dataset, build_model, store_of
from unlearn.errors import InputError
from unlearn.studies.poisoning.options import PoisoningOptions

if TYPE_CHECKING:
    import pandas as pd

    from unlearn.data import LoadDataset
    from unlearn.forecasters import Forecaster


@experiment(keeps=lambda job: job.store, **FORECASTER, poisoning=PoisoningOptions)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page over attacks, shares, seeds and detectors, and print what they say."""
    from experiments.together import publish

    records = measured(job)
    page = publish(job, "poisoning", records, folder)
    own, detector = records[records["metric"] == "cost"], job.poisoning.detectors[0]
    after = number(f"Operating cost after unlearning what {detector} flags", own, method="unlearnt", detector=detector)
    before = [number(f"Operating cost, {kind} training data", own, method=kind) for kind in ("clean", "poisoned")]
    return Ending([*before, after], page)


def measured(job: Job) -> pd.DataFrame:
    """Records of the configured sweep.

    Raises:
        InputError: names the setting that cannot be measured.
    """
    if job.protocol != "fair":
        raise InputError(
            f"protocol: poisoning needs fair, whose thresholds and gradients see validation hours only, got "
            f"{job.protocol}."
        )
    from unlearn.studies.poisoning.measure import measure_poisoning

    cost = job.grid.build()

    def fitted(seed: int) -> tuple[LoadDataset, Forecaster]:
        own = replace(job, seed=seed, split=replace(job.split, random_state=seed))
        dataset = build_dataset(own, cost)
        return dataset, build_model(own, dataset)

    return measure_poisoning(job.poisoning, fitted, cost, store_of(job), job.evaluation.hours)


if __name__ == "__main__":
    main()
