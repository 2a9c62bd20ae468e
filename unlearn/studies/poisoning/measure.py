"""Poisoned training sets: what each costs, what each detector finds, and what each mitigation recovers.

Models are judged on test hours, which were never poisoned and which no detector, threshold or gradient uses. Every
attack, share, seed and detector is measured once and kept, so that a run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from torch import Tensor
from tqdm import tqdm

from unlearn.data import LoadDataset, Poisoned, poison
from unlearn.detectors import AdversarialOptions, Detector, Gan, InversionOptions, make_detector
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import RecordTable, joined
from unlearn.store import Store
from unlearn.studies._shared.study import METRICS, PACKAGES, Study
from unlearn.studies.poisoning.detection import Detection, by_windows, mitigations, quality, refitted
from unlearn.studies.poisoning.options import DETECTORS, Poison, PoisoningOptions
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

        Re-weighting shifts any forecaster towards its criterion; of the clean one, it tells that apart from mitigation.
        """
        table = self._table()
        _add_criteria(table, self.clean, self.clean.model.theta, method="clean")
        _add_criteria(table, self.study, self.study.model.theta, method="poisoned")
        for mitigation in mitigations(self.clean, np.array([], dtype=np.int64), self.options):
            if mitigation.columns["method"] == "reweighted":
                _add_criteria(table, self.clean, mitigation.theta, detector="clean", **mitigation.columns)
        return table.to_frame()

    def detected(self, detector: str | Detector) -> pd.DataFrame:
        """What a detector finds and what its mitigations recover.

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


log = logging.getLogger(__name__)

#: Settings that say what else is run, and change no part: a longer list reuses what is done.
_SWEPT = ("attacks", "shares", "seeds", "detectors", "anomalies", "gan")

#: What fits a forecaster for a seed: clean data, and the forecaster that was fitted on it.
Fitted = Callable[[int], tuple[LoadDataset, Forecaster]]


def measure_poisoning(
    options: PoisoningOptions, fitted: Fitted, cost: OperatingCost, store: Store, hours: int | None = None
) -> pd.DataFrame:
    """Records of every attack, share, seed and detector; those that were measured before are taken from the store.

    Args:
        options: settings.
        fitted: gives data and forecaster of a seed, which has its own core and initial weights.
        cost: the grid that hours are priced on.
        store: keeps the parts.
        hours: hours that are priced per split, evenly spaced; None prices all.

    Raises:
        InputError: a setting that cannot be measured, before anything is fitted.
    """
    for name in options.anomalies:
        make_detector(name)
    if Gan.name in options.anomalies and not set(options.gan.shares) & set(options.shares):
        shares = list(options.gan.shares)
        log.warning("the GAN is left out: none of poisoning.shares is among poisoning.gan.shares %s", shares)
    tables: list[pd.DataFrame] = []
    for seed in options.seeds:
        dataset, model = fitted(seed)
        # Every attack is tried before the first one is measured.
        cells = [
            _Cell(options, attack, share, seed, dataset, model, cost, hours)
            for attack in options.attacks
            for share in options.shares
        ]
        for cell in tqdm(cells, desc=f"poisoning, seed {seed}", leave=False):
            tables += cell.measured(store)
    return joined(tables)


@dataclass(frozen=True, eq=False)
class _Cell:
    """One poisoned training set."""

    options: PoisoningOptions
    attack: Poison
    share: float
    seed: int
    dataset: LoadDataset
    model: Forecaster
    cost: OperatingCost
    hours: int | None

    def __post_init__(self) -> None:
        _ = self.poisoned

    @cached_property
    def poisoned(self) -> Poisoned:
        return poison(
            self.dataset,
            self.share,
            self.attack.kind,
            self.attack.strength,
            self.seed,
            interval_hours=self.options.interval_hours,
            rows=self.model.training_rows(self.dataset),
            loads=self.options.loads,
        )

    @cached_property
    def study(self) -> PoisonedStudy:
        """Fitted only if a part of it is missing."""
        return PoisonedStudy(self.model, self.poisoned, self.cost, self.options, self.hours, self.seed)

    def measured(self, store: Store) -> Iterator[pd.DataFrame]:
        asked = [name for name in self.options.anomalies if name != Gan.name or self.share in self.options.gan.shares]
        for name in ("models", *self.options.detectors, *asked):
            yield self._kept(store, name)

    def _anomalies(self, name: str) -> Detector:
        """A detector of anomalies; the GAN as configured for loads."""
        own = self.options.gan
        if name != Gan.name:
            return make_detector(name)
        training = AdversarialOptions(own.epochs, own.batch_size)
        return Gan(training=training, inversion=InversionOptions(own.max_iter, own.learning_rate))

    def _kept(self, store: Store, name: str) -> pd.DataFrame:
        options = {key: value for key, value in vars(self.options).items() if key not in _SWEPT}
        options |= {"attack": self.attack, "share": self.share, "seed": self.seed, "hours": self.hours}
        options |= {"cost": self.cost, "theta": self.model.theta.numpy()}
        anomalies = self._anomalies(name) if name in self.options.anomalies else None
        return store.table(
            "poisoning",
            name,
            make=lambda: self.study.models() if name == "models" else self.study.detected(anomalies or name),
            options={**options, "detector": anomalies},
            data={"poisoned": self.poisoned.dataset, "train": self.dataset},
            code=(PoisonedStudy, anomalies) if anomalies else (PoisonedStudy,),
            packages=PACKAGES,
        )
