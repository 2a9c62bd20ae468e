"""Forget rows, completely or re-weighted: `python -m experiments.unlearn criterion=none`."""

from __future__ import annotations

from pathlib import Path

import unlearn
from experiments.app import experiment, write_records
from experiments.build import MODEL, build_study, kept_model
from experiments.endings import Ending, number
from experiments.evidence import OldModel, require_single_run, write_evidence
from experiments.rows import forgotten, refuse_other_options
from experiments.schema import Config


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Save the unlearnt model, its metrics on the test rows, and what still knows what was forgotten.

    The model before is deleted last, if that is asked for.
    """
    require_single_run(config)
    wanted, name = config.unlearning, config.criterion.name
    refuse_other_options(config)
    study = build_study(config)
    before = OldModel.at(kept_model(config, study.dataset).folder / MODEL)
    result = forgotten(config, study)
    unlearnt = unlearn.save_forecaster(result.model, folder / "model")
    table = study.records("unlearn")
    columns = {
        "criterion": name,
        "proportion": len(result.unlearn_rows) / len(study.training_rows),
        "not_forgotten": len(result.not_forgotten),
        "l1_budget": wanted.l1_budget,
        "form": wanted.form,
        "loads": ",".join(wanted.loads or []),
        "damping": config.ihvp.damping,
        "complete": result.complete,
    }
    after = study.measure(result.model.theta, study.priced_test_rows)
    for method, hourly in (("original", study.original), ("unlearnt", after)):
        hourly.add_means(table, study.priced_test_rows, method=method, split="test", **columns)
    for metric in ("distance_to_retrained", "distance_to_original"):
        table.add(metric, getattr(result, metric), "relative", method="unlearnt", **columns)
    records = write_records(config, table.to_frame(), folder)
    write_evidence(config, result, study, before, unlearnt, folder)
    names = {"original": "Operating cost on test hours, before", "unlearnt": "Operating cost on test hours, after"}
    costs = [number(what, records, metric="cost", method=method) for method, what in names.items()]
    distance = number("Distance of the parameters to the retrained model", records, metric="distance_to_retrained")
    return Ending([*costs, distance], folder)


if __name__ == "__main__":
    main()
