"""Influence of each remaining sample on the three criteria, for the forecasters of the paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.build import build_study
from experiments.schema import Config, ForecasterConfig
from unlearn.evaluation import sensitivity
from unlearn.records import write_parquet


@experiment
def main(config: Config, folder: Path) -> None:
    """Write the Pearson matrix and the samples of each forecaster in `paper.forecasters`."""
    tables = []
    for kind, select_by in config.paper.forecasters.items():
        forecaster = ForecasterConfig(kind, config.forecaster.l2, select_by)
        unlearning = replace(config.unlearning, select_by=select_by)
        study = build_study(replace(config, forecaster=forecaster, unlearning=unlearning))
        records, samples = sensitivity(study, config.unlearning.share, config.evaluation.draw)
        write_parquet(samples, folder / f"samples-{kind}.parquet")
        tables.append(records)
    write_parquet(pd.concat(tables, ignore_index=True), folder / "records.parquet")


if __name__ == "__main__":
    main()
