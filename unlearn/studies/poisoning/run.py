"""The sweep of `poisoning`: every attack, share, seed and detector is measured once and kept, so that a run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import pandas as pd
from tqdm import tqdm

from unlearn.data import LoadDataset, Poisoned, poison
from unlearn.detectors import AdversarialOptions, Detector, Gan, InversionOptions, make_detector
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import joined
from unlearn.store import Store
from unlearn.studies._shared.study import PACKAGES
from unlearn.studies.poisoning.measure import PoisonedStudy
from unlearn.studies.poisoning.options import Poison, PoisoningOptions

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
        yield self._kept(store, "models", lambda: self.study.models())
        for name in self.options.detectors:
            yield self._kept(store, name, partial(self._detected, name))
        for name in self.options.anomalies:
            if name != Gan.name or self.share in self.options.gan.shares:
                yield self._kept(store, name, partial(self._detected, self._anomalies(name)))

    def _detected(self, detector: str | Detector) -> pd.DataFrame:
        return self.study.detected(detector)

    def _anomalies(self, name: str) -> Detector:
        """A detector of anomalies; the GAN as configured for loads."""
        own = self.options.gan
        if name != Gan.name:
            return make_detector(name)
        training = AdversarialOptions(own.epochs, own.batch_size)
        return Gan(training=training, inversion=InversionOptions(own.max_iter, own.learning_rate))

    def _kept(self, store: Store, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        options = {key: value for key, value in vars(self.options).items() if key not in _SWEPT}
        options |= {"attack": self.attack, "share": self.share, "seed": self.seed, "hours": self.hours}
        options |= {"cost": self.cost, "theta": self.model.theta.numpy()}
        anomalies = self._anomalies(name) if name in self.options.anomalies else None
        return store.table(
            "poisoning",
            name,
            make=make,
            options={**options, "detector": anomalies},
            data={"poisoned": self.poisoned.dataset, "train": self.dataset},
            code=(PoisonedStudy, anomalies) if anomalies else (PoisonedStudy,),
            packages=PACKAGES,
        )
