"""Influence of each remaining sample on the three criteria, for the forecasters of the paper."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, number
from experiments.loads import FORECASTERS, build_study, many_forecasters
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import DrawOptions


@experiment(**FORECASTERS, ihvp=IhvpOptions, unlearning=DrawOptions)
def main(job: Job, folder: Path) -> Ending:
    """Write the Pearson matrix and the samples of each forecaster."""
    import pandas as pd

    from unlearn.criteria import CRITERIA
    from unlearn.records import write_parquet
    from unlearn.studies.paper.run import sensitivity

    tables = []
    for name, own in many_forecasters(job).items():
        found, samples = sensitivity(build_study(own), job.unlearning.share, job.unlearning.draw)
        write_parquet(samples.assign(protocol=job.protocol, forecaster=name), folder / f"samples-{name}.parquet")
        tables.append(found)
    records = write_records(job, pd.concat(tables, ignore_index=True), folder)
    first = {"forecaster": next(iter(job.forecaster)), "split": "remain"}
    said, pairs = f"{first['forecaster']}: correlation of influences on", combinations(CRITERIA, 2)
    numbers = [number(f"{said} {a} and {b}", records, metric=f"pearson_{a}_{b}", **first) for a, b in pairs]
    return Ending(numbers, folder)


if __name__ == "__main__":
    main()
