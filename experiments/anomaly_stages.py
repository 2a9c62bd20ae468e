"""Stages of `anomaly`: readings, their division, detectors and their scores kept on disk, records."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pandas as pd
from tqdm import tqdm

from experiments.build import build_households
from experiments.schema import Config
from experiments.schema_anomaly import HouseholdBuildingsConfig, RuleConfig
from experiments.synthetic_stages import made_of
from unlearn.detectors.autoencoder import FittedAutoencoder
from unlearn.detectors.baselines.pyod import KINDS as PYOD
from unlearn.detectors.baselines.simple import Baseline, save_baseline
from unlearn.detectors.gan.fitted import FittedGan
from unlearn.detectors.registry import DetectorOptions, fit_candidates, require_detectors, settings_of
from unlearn.detectors.storage import save_detector
from unlearn.detectors.thresholds import ThresholdRule
from unlearn.detectors.windows import Division, DivisionOptions, divide
from unlearn.errors import InputError
from unlearn.households.buildings import BuildingSeries, buildings_of
from unlearn.households.injection import inject
from unlearn.households.io.sources import load_buildings
from unlearn.households.options import InjectionOptions
from unlearn.records import config_hash, kept_table, read_card, write_card
from unlearn.store import create_folder, kept
from unlearn.studies.detection.archive import ScoreArchive, load_archive, require_labels, save_archive, score_division
from unlearn.studies.detection.measure import MeasureOptions, measure_detector

log = logging.getLogger(__name__)

#: Rooms of the library whose source scores depend on.
SCORING = ("data", "households", "forecasters", "detectors")

SCORES, MODELS = "anomaly_scores.npz", "models"


@dataclass(frozen=True, eq=False)
class Judged:
    """One detector and seed: its scores, its records, and the folder that keeps its model."""

    archive: ScoreArchive
    records: pd.DataFrame
    folder: Path


class AnomalyRun:
    """Readings of a configuration, and detectors fitted to them, each kept on disk."""

    def __init__(self, config: Config) -> None:
        own = config.anomaly
        if not own.seeds or len(set(own.seeds)) < len(own.seeds):
            raise InputError(f"anomaly.seeds: expected at least one seed, each once, got {list(own.seeds)}.")
        require_detectors(own.detectors)
        self.config, self.folder = config, Path(own.folder)
        self.division = DivisionOptions(**asdict(own.division))
        self.detectors = detector_options(config)
        self.measured = MeasureOptions(threshold_rule(own.rule), own.draws)
        self.injection = _injection(config)
        self.series = _series(config)
        if self.series.anomaly is None and self.injection is None:
            raise InputError(
                f"{self.series.name}: expected labelled readings, got a table without the column anomaly. Name the "
                "labelled one, or inject anomalies with buildings=households."
            )
        self.divided = lru_cache(maxsize=1)(self._divided)

    def judged(self) -> Iterator[Judged]:
        """Every seed and detector, fitted, scored and measured, or taken from disk."""
        own = self.config.anomaly
        wanted = [(seed, name) for seed in own.seeds for name in own.detectors]
        for seed, name in tqdm(wanted, desc="detectors", leave=False):
            folder = self._scored(name, seed)
            archive, card = load_archive(folder / SCORES), read_card(folder)
            archive = archive.with_readings(self.divided(seed).scaled.series)
            yield Judged(archive, self._records(archive, card, folder), folder)

    def _divided(self, seed: int) -> Division:
        series = self.series if self.injection is None else inject(self.series, self.injection, seed)
        division = divide(series, self.division, seed)
        require_labels(division)
        return division

    def key(self, name: str, seed: int) -> dict[str, Any]:
        """Everything that the scores of a detector depend on."""
        key: dict[str, Any] = {"settings": settings_of(name, self.detectors), "seed": seed, "name": name}
        key |= {"data": self.series.name, "series": self.series.fingerprint, "division": asdict(self.division)}
        key |= {"injection": None if self.injection is None else asdict(self.injection), "made_of": made_of(SCORING)}
        return key | ({"pyod": version("pyod")} if name in PYOD else {})

    def _scored(self, name: str, seed: int) -> Path:
        """The folder with scores and model of a detector; filled if it is not there."""
        own = f"{name}-{config_hash(self.key(name, seed))}"
        folder = self.folder / "detectors" / own

        def make() -> None:
            create_folder(folder, lambda temporary: self._fit(name, seed, temporary, self.folder / "trainings" / own))
            log.info("%s of seed %d scored, kept in %s", name, seed, folder)

        kept(folder, lambda: read_card(folder), make)
        return folder

    def _fit(self, name: str, seed: int, folder: Path, training: Path) -> None:
        went_on = training.exists()
        division, start = self.divided(seed), time.perf_counter()
        candidates = fit_candidates(name, division.train, self.detectors, seed, training)
        fitted = time.perf_counter()
        archive, chosen = score_division(candidates, division, name, seed)
        scored = time.perf_counter()
        save_archive(archive, folder / SCORES)
        if isinstance(chosen, FittedGan | FittedAutoencoder):
            save_detector(chosen, folder / MODELS)
        else:
            save_baseline(cast(Baseline, chosen), folder / MODELS)
        # Of a training that went on after an interrupt, the time of the first part is not known.
        seconds = {"score_seconds": scored - fitted} | ({} if went_on else {"fit_seconds": fitted - start})
        card = {"seconds": seconds, "history": _history(chosen)}
        card |= {"training_windows": len(division.train), "few_readings": division.few_readings}
        card |= {"constant": division.constant, "training_buildings": len(division.split.train)}
        models = [str(file.relative_to(folder)) for file in (folder / MODELS).iterdir()]
        write_card(card, folder, [SCORES, *models])

    def _records(self, archive: ScoreArchive, card: dict[str, Any], folder: Path) -> pd.DataFrame:
        key = {"scores": folder.name, "measured": asdict(self.measured), "made_of": made_of((*SCORING, "studies"))}
        file = self.folder / "records" / f"{archive.detector}-{config_hash(key)}.parquet"

        def measured() -> pd.DataFrame:
            table = measure_detector(archive, self.measured)
            for name, seconds in card["seconds"].items():
                table.add(name, seconds, "s")
            for name in ("training_windows", "training_buildings", "few_readings", "constant"):
                table.add(name, card[name], "windows" if name == "training_windows" else "buildings")
            return table.to_frame()

        return kept_table(file, measured)


def detector_options(config: Config) -> DetectorOptions:
    """The library's options of all detectors."""
    return DetectorOptions.from_settings(asdict(config.anomaly))


def threshold_rule(config: RuleConfig) -> ThresholdRule:
    """The library's rule."""
    return ThresholdRule(config.kind, config.at)


def _injection(config: Config) -> InjectionOptions | None:
    if not isinstance(config.buildings, HouseholdBuildingsConfig):
        return None
    own = config.buildings.injection
    return InjectionOptions(own.share, tuple(own.kinds))


def _series(config: Config) -> BuildingSeries:
    if isinstance(config.buildings, HouseholdBuildingsConfig):
        return buildings_of(build_households(config), config.buildings.start, config.buildings.end)
    return load_buildings(**asdict(config.buildings))


def _history(detector: object) -> dict[str, list[float]]:
    """Losses of each epoch; none of detectors that are not trained."""
    card: dict[str, Any] = getattr(detector, "card", {})
    return dict(card.get("history", {}))
