"""Parts of `poisoning`: each attack, share, seed and detector measured once and kept; an interrupted run goes on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

import unlearn
from experiments.build import build_cost, build_dataset, build_model
from experiments.schema import Config
from experiments.schema_poisoning import PoisonConfig
from unlearn.checks import require_choice
from unlearn.data import LoadDataset, Poisoned, poison
from unlearn.detectors import AdversarialOptions, Detector, Gan, InversionOptions, make_detector
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.records import COLUMNS, config_hash, kept_table, provenance, source_fingerprint
from unlearn.studies.poisoning.measure import DETECTORS, PoisonedStudy
from unlearn.studies.poisoning.options import PoisoningOptions

log = logging.getLogger(__name__)

#: Rooms of the library whose source the records depend on.
MEASURING = ("data", "grid", "linalg", "forecasters", "influence", "unlearning", "detectors", "studies")


@dataclass(frozen=True)
class Cell:
    """One poisoned training set."""

    attack: PoisonConfig
    share: float
    seed: int


class PoisoningRun:
    """The sweep of a configuration over attacks, shares, seeds and detectors."""

    def __init__(self, config: Config) -> None:
        """Refuse what cannot be measured before anything is fitted.

        Raises:
            InputError: names the setting.
        """
        own = config.poisoning
        self.config, self.folder = config, Path(own.folder)
        if config.protocol != "fair":
            raise InputError(
                f"protocol: poisoning needs fair, whose thresholds and gradients see validation hours only, got "
                f"{config.protocol}."
            )
        for name, values in (("attacks", own.attacks), ("shares", own.shares), ("seeds", own.seeds)):
            if not values or any(value in values[:i] for i, value in enumerate(values)):
                raise InputError(f"poisoning.{name}: expected at least one, each once, got {list(values)}.")
        for name, names in (("detectors", own.detectors), ("anomalies", own.anomalies)):
            if len(set(names)) < len(names):
                raise InputError(f"poisoning.{name}: expected each once, got {list(names)}.")
        for name in own.detectors:
            require_choice("poisoning.detectors", name, DETECTORS)
        for name in own.anomalies:
            make_detector(name)
        if "gan" in own.anomalies and not set(own.gan.shares) & set(own.shares):
            log.warning(
                "the GAN is left out: none of poisoning.shares is among poisoning.gan.shares %s", own.gan.shares
            )
        self.options = PoisoningOptions(
            own.false_alarms,
            own.rounds,
            tuple(own.tails),
            tuple(own.criteria),
            tuple(own.l1_budgets),
            own.window_hours,
            own.stride_hours,
        )
        self.cost = build_cost(config)

    def records(self) -> pd.DataFrame:
        """Records of every part; those that were measured before are read."""
        own = self.config.poisoning
        tables = []
        for seed in own.seeds:
            dataset, model = self._fitted(seed)
            cells = [Cell(attack, share, seed) for attack in own.attacks for share in own.shares]
            self._refuse(dataset, model, cells)
            for cell in tqdm(cells, desc=f"poisoning, seed {seed}", leave=False):
                tables += self._measured(cell, dataset, model)
        records = pd.concat([table.dropna(axis="columns", how="all") for table in tables], ignore_index=True)
        return records.reindex(columns=[*COLUMNS, *(column for column in records if column not in COLUMNS)])

    def _fitted(self, seed: int) -> tuple[LoadDataset, Forecaster]:
        """Clean data and the forecaster that was fitted on it; a seed has its own core and initial weights."""
        config = replace(self.config, seed=seed, split=replace(self.config.split, seed=seed))
        dataset = build_dataset(config, self.cost)
        return dataset, build_model(config, dataset)

    def _poisoned(self, cell: Cell, dataset: LoadDataset, model: Forecaster) -> Poisoned:
        own = self.config.poisoning
        rows = model.training_rows(dataset)
        return poison(
            dataset,
            cell.share,
            cell.attack.kind,
            cell.attack.strength,
            cell.seed,
            interval_hours=own.interval_hours,
            rows=rows,
            loads=own.loads,
        )

    def _refuse(self, dataset: LoadDataset, model: Forecaster, cells: list[Cell]) -> None:
        """Try every attack before the first one is measured."""
        for cell in cells:
            self._poisoned(cell, dataset, model)

    def _measured(self, cell: Cell, dataset: LoadDataset, model: Forecaster) -> Iterator[pd.DataFrame]:
        part = _Part(self.cost, self._poisoned(cell, dataset, model), model, self.options, cell, self.config)
        own = self.config.poisoning
        yield self._kept(part, "models", lambda: part.study.models())
        for name in own.detectors:
            yield self._kept(part, name, lambda name=name: part.study.detected(name))
        for name in own.anomalies:
            if name != "gan" or cell.share in own.gan.shares:
                yield self._kept(part, name, lambda name=name: part.study.detected(self._anomalies(name)))

    def _anomalies(self, name: str) -> Detector:
        """A detector of anomalies; the GAN as configured for loads."""
        own = self.config.poisoning.gan
        if name != Gan.name:
            return make_detector(name)
        training = AdversarialOptions(own.epochs, own.batch_size)
        return Gan(training=training, inversion=InversionOptions(own.steps, own.learning_rate))

    def _kept(self, part: _Part, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Records that were measured before with the same key, or that `make` measures."""
        gan = asdict(self.config.poisoning.gan) if name == "gan" else None
        file = self.folder / f"{name}-{config_hash({**part.key, 'part': name, 'gan': gan})}.parquet"
        return kept_table(file, make)


@dataclass(frozen=True, eq=False)
class _Part:
    """What the parts of a cell share; fitted only if one of them is missing."""

    cost: OperatingCost
    poisoned: Poisoned
    model: Forecaster
    options: PoisoningOptions
    cell: Cell
    config: Config

    @cached_property
    def study(self) -> PoisonedStudy:
        hours = self.config.evaluation.hours
        return PoisonedStudy(self.model, self.poisoned, self.cost, self.options, hours, self.cell.seed)

    @cached_property
    def key(self) -> dict[str, Any]:
        """Everything that the records depend on."""
        return {
            "options": asdict(self.options),
            "cell": asdict(self.cell),
            "model": hashlib.sha256(self.model.theta.numpy().tobytes()).hexdigest(),
            "data": [self.poisoned.dataset.name, self.poisoned.dataset.fingerprint, self.poisoned.original.fingerprint],
            "grid": [asdict(self.config.grid), self.cost.case.fingerprint],
            "hours": self.config.evaluation.hours,
            "made_of": _made_of(),
        }


def _made_of() -> dict[str, Any]:
    library = Path(unlearn.__file__).parent
    sources = {room: source_fingerprint(library / room) for room in MEASURING}
    return {"versions": provenance()["versions"], "sources": sources}
