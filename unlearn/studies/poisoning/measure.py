"""One poisoned training set: what it costs, what each detector finds, and what each mitigation mends.

Models are judged on test hours, which were never poisoned and which no detector, threshold or gradient has seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

from unlearn.data import Poisoned
from unlearn.detectors.base import Detector
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import RecordTable
from unlearn.studies._shared.measure import METRICS
from unlearn.studies._shared.study import Study
from unlearn.studies.poisoning.detection import (
    Detection,
    by_windows,
    quality,
)
from unlearn.studies.poisoning.mitigations import mitigations, refitted
from unlearn.studies.poisoning.options import DETECTORS, PoisoningOptions
from unlearn.unlearning import relative_distance, retrain

#: Metrics of a forecaster that are recorded, of `METRICS`.
KEPT = ("mse", "mape", "cost", "generation_cost", "shedding_cost", "storage_cost", "over_generated")


class PoisonedStudy:
    """A forecaster that was fitted on poisoned hours, beside the one that was fitted on the original values."""

    def __init__(
        self,
        model: Forecaster,
        poisoned: Poisoned,
        cost: OperatingCost,
        options: PoisoningOptions | None = None,
        hours: int | None = None,
        seed: int = 0,
    ) -> None:
        """Fit the head to the poisoned hours.

        Args:
            model: fitted on the data before the attack.
            poisoned: the attack.
            cost: the grid that hours are priced on.
            options: settings.
            hours: hours that are priced per split, evenly spaced; None prices all.
            seed: of fitting detectors of anomalies.

        Raises:
            MismatchError: see `refitted`.
            InputError: an attack on none or all of the rows that the head is fitted on.
        """
        self.options = options or PoisoningOptions()
        self.poisoned, self.seed = poisoned, seed
        self.clean = Study(model, poisoned.original, cost, hours=hours, seed=seed)
        self.study = Study(refitted(model, poisoned), poisoned.dataset, cost, hours=hours, seed=seed)
        self.truth = poisoned.mask[self.study.training_rows]
        if not self.truth.any() or self.truth.all():
            raise InputError(
                f"poisoning: expected some but not all of {len(self.truth)} training rows poisoned, got "
                f"{int(self.truth.sum())}. Choose another share."
            )

    def models(self) -> pd.DataFrame:
        """Criteria on test hours of the methods "clean", "poisoned", and "clean" re-weighted (detector "clean").

        Re-weighting shifts any forecaster towards its criterion; of the clean one, it tells that apart from mending.
        """
        table = self._table()
        _add_criteria(table, self.clean, self.clean.model.theta, method="clean")
        _add_criteria(table, self.study, self.study.model.theta, method="poisoned")
        for mitigation in mitigations(self.clean, np.array([], dtype=np.int64), self.options):
            if mitigation.columns["method"] == "reweighted":
                _add_criteria(table, self.clean, mitigation.theta, detector="clean", **mitigation.columns)
        return table.to_frame()

    def detected(self, detector: str | Detector) -> pd.DataFrame:
        """What a detector finds and what its mitigations mend.

        Args:
            detector: one of `DETECTORS`, or a detector of anomalies on windows of loads.

        Returns:
            Records with the column detector: the method "detection" on the split train says how right it is; the
            methods "unlearnt" and "reweighted" (with criterion and l1_budget) have criteria on test hours, their
            distance to the model retrained without the flagged rows, and the share of weights that still depend on
            those.

        Raises:
            InputError: an unknown detector; no validation hours, or too few for windows.
        """
        detection = self.detection(detector)
        rows = np.flatnonzero(detection.flagged)
        table = self._table(detector=detection.name)
        for metric, value in quality(detection, self.truth).items():
            table.add(metric, value, "share", split="train", method="detection")
        if np.isfinite(detection.threshold):
            table.add("threshold", detection.threshold, split="train", method="detection")
        retrained = retrain(self.study.objective, rows) if len(rows) else self.study.model.theta
        for mitigation in mitigations(self.study, rows, self.options):
            columns = {**mitigation.columns, "proportion": len(rows) / len(self.truth)}
            _add_criteria(table, self.study, mitigation.theta, **columns)
            distance = relative_distance(mitigation.theta, retrained)
            table.add("distance_to_retrained", distance, "relative", split="train", **columns)
            table.add("weights_differ", mitigation.weights_differ, "share", split="train", **columns)
        return table.to_frame()

    def detection(self, detector: str | Detector) -> Detection:
        """What a detector says of the training rows; see `detected`."""
        if not isinstance(detector, str):
            return by_windows(self.study, detector, self.options, self.seed)
        found: Detection = DETECTORS[detector](self.study, self.options, self.truth)
        return found

    def _table(self, **columns: object) -> RecordTable:
        return RecordTable(
            experiment="poisoning",
            data=self.study.dataset.name,
            grid=self.study.cost.case.name,
            forecaster=self.study.model.card.kind,
            protocol=self.study.protocol,
            linf_budget=self.study.linf_budget,
            seed=self.seed,
            kind=self.poisoned.kind,
            strength=self.poisoned.strength,
            share=self.poisoned.share,
            **columns,
        )


def _add_criteria(table: RecordTable, study: Study, theta: Tensor, **columns: object) -> None:
    means = study.measure(theta, study.priced_test_rows).means(study.priced_test_rows)
    for metric in KEPT:
        table.add(metric, means[metric], METRICS[metric], split="test", **columns)
