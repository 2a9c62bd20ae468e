"""Influence of each remaining sample on the three criteria, for the forecasters of the paper."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd

from experiments.app import experiment, write_records
from experiments.build import build_study
from experiments.endings import Ending, number
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config, with_forecaster
from unlearn.criteria import CRITERIA
from unlearn.records import write_parquet
from unlearn.studies.paper.measure import sensitivity


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Write the Pearson matrix and the samples of each forecaster in `paper.forecasters`."""
    tables = []
    refuse_loads_and_forms(config, "sensitivity")
    for kind in config.paper.forecasters:
        study = build_study(with_forecaster(config, kind))
        records, samples = sensitivity(study, config.unlearning.share, config.evaluation.draw)
        samples = samples.assign(protocol=config.protocol, forecaster=kind)
        write_parquet(samples, folder / f"samples-{kind}.parquet")
        tables.append(records)
    records = write_records(config, pd.concat(tables, ignore_index=True), folder)
    own = {"forecaster": config.paper.forecasters[0], "split": "remain"}
    said, pairs = f"{own['forecaster']}: correlation of influences on", combinations(CRITERIA, 2)
    numbers = [number(f"{said} {a} and {b}", records, metric=f"pearson_{a}_{b}", **own) for a, b in pairs]
    return Ending(numbers, folder)


if __name__ == "__main__":
    main()
