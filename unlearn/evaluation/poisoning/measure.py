"""One poisoned training set: what it costs, what each detector finds, and what each remedy mends.

Models are judged on test hours, which were never poisoned and which no detector, threshold or gradient has seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from unlearn.data import Poisoned
from unlearn.errors import InputError
from unlearn.evaluation.measure import METRICS
from unlearn.evaluation.poisoning.detection import Detection, by_influence, by_residual, by_truth, nothing, quality
from unlearn.evaluation.poisoning.options import PoisoningOptions
from unlearn.evaluation.poisoning.remedies import refitted, remedies
from unlearn.evaluation.poisoning.windows import FitWindows, by_windows
from unlearn.evaluation.study import Study
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import RecordTable
from unlearn.unlearning import relative_distance, retrain

#: Metrics of a forecaster that are recorded, of `METRICS`.
KEPT = ("mse", "mape", "cost", "generation_cost", "shedding_cost", "storage_cost", "over_generated")


def measure_poisoning(
    model: Forecaster,
    poisoned: Poisoned,
    cost: OperatingCost,
    options: PoisoningOptions | None = None,
    detectors: Mapping[str, FitWindows] | None = None,
    hours: int | None = None,
    seed: int = 0,
) -> RecordTable:
    """Measure every detector and remedy on one poisoned training set.

    Args:
        model: fitted on the data before the attack.
        poisoned: the attack.
        cost: the grid that hours are priced on.
        options: settings.
        detectors: further detectors of anomalies by name: each is fitted on windows of the training hours, poisoned
            ones among them, and scores all.
        hours: hours that are priced per split, evenly spaced; None prices all.
        seed: of fitting those detectors.

    Returns:
        Records with the column detector: criteria on test hours of the methods "clean" (fitted on the original values),
        "poisoned", "unlearnt" and "reweighted" (with criterion and l1_budget); and on the split train how right each
        detector is.

    Raises:
        MismatchError: see `refitted`.
        InputError: no validation hours, or too few for windows.
    """
    options = options or PoisoningOptions()
    clean = Study(model, poisoned.original, cost, hours=hours, seed=seed)
    study = Study(refitted(model, poisoned), poisoned.dataset, cost, hours=hours, seed=seed)
    truth = poisoned.mask[study.training_rows]
    if not truth.any() or truth.all():
        raise InputError(f"poisoning: expected some but not all training rows poisoned, got {int(truth.sum())}.")
    table = RecordTable(
        experiment="poisoning",
        data=study.dataset.name,
        grid=cost.case.name,
        forecaster=model.card.kind,
        protocol=study.protocol,
        linf_budget=study.linf_budget,
        seed=seed,
    )
    _add_criteria(table, clean, model.theta, method="clean")
    for remedy in remedies(clean, np.array([], dtype=np.int64), options):
        if remedy.columns["method"] == "reweighted":
            _add_criteria(table, clean, remedy.theta, detector="clean", **remedy.columns)
    _add_criteria(table, study, study.model.theta, method="poisoned")
    for detection in _detections(study, poisoned, options, detectors or {}, seed):
        for metric, value in quality(detection, truth).items():
            table.add(metric, value, "share", split="train", method="detection", detector=detection.name)
        if np.isfinite(detection.threshold):
            table.add("threshold", detection.threshold, split="train", method="detection", detector=detection.name)
        _add_remedies(table, study, detection, options)
    return table


def _detections(
    study: Study, poisoned: Poisoned, options: PoisoningOptions, detectors: Mapping[str, FitWindows], seed: int
) -> Iterator[Detection]:
    """Every detection that is asked for; only "truth" sees the mask."""
    for name in options.detectors:
        if name == "residual":
            yield by_residual(study, options.false_alarms)
        elif name.startswith("influence_"):
            yield by_influence(study, name.removeprefix("influence_"), tuple(options.tails))
        elif name == "truth":
            yield by_truth(poisoned.mask[study.training_rows])
        else:
            yield nothing(len(study.training_rows))
    for name, fit in detectors.items():
        yield by_windows(study, name, fit, options, seed)


def _add_remedies(table: RecordTable, study: Study, detection: Detection, options: PoisoningOptions) -> None:
    rows = np.flatnonzero(detection.flagged)
    share = len(rows) / len(detection.flagged)
    retrained = retrain(study.objective, rows) if len(rows) else study.model.theta
    for remedy in remedies(study, rows, options):
        columns = {**remedy.columns, "detector": detection.name, "proportion": share}
        _add_criteria(table, study, remedy.theta, **columns)
        distance = relative_distance(remedy.theta, retrained)
        table.add("distance_to_retrained", distance, "relative", split="train", **columns)
        table.add("weights_differ", remedy.weights_differ, "share", split="train", **columns)


def _add_criteria(table: RecordTable, study: Study, theta: Tensor, **columns: object) -> None:
    means = study.measure(theta, study.priced_test_rows).means(study.priced_test_rows)
    for metric in KEPT:
        table.add(metric, means[metric], METRICS[metric], split="test", **columns)
