"""Forget rows, completely or re-weighted: `python -m experiments.unlearn criterion=none unlearning.l1_budget=0`."""

from __future__ import annotations

from pathlib import Path

import unlearn
from experiments.app import experiment
from experiments.build import build_study, rows_to_unlearn
from experiments.schema import Config
from unlearn.evaluation import METRICS, PROTOCOLS
from unlearn.records import write_json, write_parquet


@experiment
def main(config: Config, folder: Path) -> None:
    """Save the unlearnt model, what it still depends on, and its metrics on the test rows."""
    study = build_study(config)
    wanted = config.unlearning
    rows = rows_to_unlearn(config, study)
    result = unlearn.forget(
        study.model,
        study.dataset,
        rows,
        criterion=config.criterion.name,
        l1_budget=wanted.l1_budget,
        grid=study.cost,
        evaluate_on=PROTOCOLS[config.protocol],
        loads=wanted.loads,
        linf_budget=wanted.linf_budget,
        form=wanted.form,
        ihvp=study.ihvp,
        compare_retrained=True,
    )
    unlearn.save_forecaster(result.model, folder / "model")
    write_json({"declared": result.declared, "statistics": result.statistics}, folder / "forgotten.json")
    table = study.records("unlearn")
    share = len(rows) / len(study.training_rows)
    columns = {"criterion": config.criterion.name, "proportion": share, "l1_budget": wanted.l1_budget}
    after = study.measure(result.model.theta, study.priced_test_rows)
    for method, hourly in (("original", study.original), ("unlearnt", after)):
        for metric, value in hourly.means(study.priced_test_rows).items():
            table.add(metric, value, METRICS[metric], method=method, split="test", **columns)
    table.add("distance_to_retrained", result.distance_to_retrained or 0.0, "relative", method="unlearnt", **columns)
    table.add("distance_to_original", result.distance_to_original, "relative", method="unlearnt", **columns)
    write_parquet(table.to_frame(), folder / "records.parquet")


if __name__ == "__main__":
    main()
