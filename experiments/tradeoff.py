"""PAMU and TAMU over all λ₁: `python -m experiments.tradeoff forecaster=linear protocol=published`."""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment, write_records
from experiments.build import build_study
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from unlearn.evaluation import tradeoff


@experiment
def main(config: Config, folder: Path) -> None:
    """Remove the configured share and write the criteria on the test rows for every budget."""
    refuse_loads_and_forms(config, "tradeoff")
    study = build_study(config)
    frame = tradeoff(study, config.unlearning.share, config.unlearning.l1_budgets)
    write_records(config, frame, folder)


if __name__ == "__main__":
    main()
