"""Influence of each remaining sample on the three criteria, for the forecasters of the paper."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.app import experiment, write_records
from experiments.build import build_study
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config, with_forecaster
from unlearn.evaluation import sensitivity
from unlearn.records import write_parquet


@experiment
def main(config: Config, folder: Path) -> None:
    """Write the Pearson matrix and the samples of each forecaster in `paper.forecasters`."""
    tables = []
    refuse_loads_and_forms(config, "sensitivity")
    for kind in config.paper.forecasters:
        study = build_study(with_forecaster(config, kind))
        records, samples = sensitivity(study, config.unlearning.share, config.evaluation.draw)
        samples = samples.assign(protocol=config.protocol, forecaster=kind)
        write_parquet(samples, folder / f"samples-{kind}.parquet")
        tables.append(records)
    write_records(config, pd.concat(tables, ignore_index=True), folder)


if __name__ == "__main__":
    main()
