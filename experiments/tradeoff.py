"""PAMU and TAMU over all λ₁: `python -m experiments.tradeoff forecaster=linear protocol=published`."""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.build import build_study
from experiments.schema import Config
from unlearn.evaluation import tradeoff
from unlearn.records import write_parquet


@experiment
def main(config: Config, folder: Path) -> None:
    """Remove the configured share and write the criteria on the test rows for every budget."""
    study = build_study(config)
    frame = tradeoff(study, config.unlearning.share, config.unlearning.l1_budgets)
    write_parquet(frame, folder / "records.parquet")


if __name__ == "__main__":
    main()
