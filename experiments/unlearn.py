"""Forget rows, completely and then tuned, completely alone, or re-weighted:

`python -m experiments.unlearn tuning=scale`, `criterion=none`, `tuning=none`.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment, write_records
from experiments.endings import Ending, number
from experiments.groups import Group
from experiments.loads import FORECASTER, MODEL, build_criterion, build_study, forgotten, kept_model
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import ForgettingOptions


@experiment(
    **FORECASTER,
    ihvp=IhvpOptions,
    criterion=Group("criterion", optional=True, later=True),
    tuning=Group("tuning", optional=True),
    unlearning=ForgettingOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Save the unlearnt model, its metrics on the test rows, and what still knows what was forgotten.

    The model before is deleted last, if that is asked for.
    """
    from experiments.evidence import model_at, require_single_run, write_evidence
    from unlearn.forecasters import save_forecaster

    require_single_run(job)
    cost = job.grid.build()
    criterion = build_criterion(job, cost)
    name = None if criterion is None else criterion.name
    tuned = criterion is not None and job.tuning is not None
    budget = job.unlearning.budget(name, tuned)
    study = build_study(job, cost, own_criteria=() if criterion is None else [criterion])
    before = model_at(kept_model(job, study.dataset).folder / MODEL)
    result = forgotten(job, study, criterion, budget)
    table = study.records("unlearn")
    columns = {
        "criterion": name,
        "proportion": len(result.unlearn_rows) / len(study.training_rows),
        "not_forgotten": len(result.not_forgotten),
        "l1_budget": budget,
        "form": job.unlearning.form,
        "loads": ",".join(job.unlearning.loads or []),
        "lagged": job.unlearning.lagged,
        "damping": job.ihvp.damping,
        "complete": result.complete,
        "tuning": job.tuning.name if tuned else None,
    }
    after = study.measure_model(result.model, study.priced_test_rows, result.dataset)
    for method, hourly in {"original": study.original, "unlearnt": after}.items():
        hourly.add_means(table, study.priced_test_rows, method=method, split="test", **columns)
    for metric in ("distance_to_retrained", "distance_to_original"):
        table.add(metric, getattr(result, metric), "relative", method="unlearnt", **columns)
    records = write_records(job, table.to_frame(), folder)
    write_evidence(job, result, study, before, save_forecaster(result.model, folder / "model"), folder)
    names = {"original": "before", "unlearnt": "after"}
    costs = [number(f"Operating cost on test hours, {w}", records, metric="cost", method=m) for m, w in names.items()]
    distance = number("Distance of the parameters to the retrained model", records, metric="distance_to_retrained")
    return Ending([*costs, distance], folder)


if __name__ == "__main__":
    main()
