"""The study of detectors: each fitted, scored and measured seed by seed, and kept on disk.

A run's folder has files of each detector and seed under the names of the published code; `models/`, a copy of what is
kept, holds safetensors and cards instead of pickled weights.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.detectors.base import Detector, require_detectors
from unlearn.detectors.metrics import ThresholdRule
from unlearn.detectors.storage import save_detector
from unlearn.detectors.windows import Division, divide
from unlearn.errors import InputError
from unlearn.households.buildings import BuildingSeries
from unlearn.households.injection import inject
from unlearn.households.io.sources import InjectionOptions
from unlearn.records import CARD, read_card, read_json, write_card, write_csv
from unlearn.registry import settings_of
from unlearn.store import Artefact, Store
from unlearn.studies.detection.archive import ScoreArchive, load_archive, require_labels, save_archive, score_division
from unlearn.studies.detection.measure import measure_detector, measure_thresholds, thresholds_of
from unlearn.studies.detection.options import DetectionOptions, ThresholdsOptions
from unlearn.studies.detection.report import save_detector_images

SCORES, MODELS = "anomaly_scores.npz", "models"


@dataclass(frozen=True, eq=False)
class Judged:
    """One detector and seed: its scores, its records, and the folder that keeps its model."""

    archive: ScoreArchive
    records: pd.DataFrame
    folder: Path


class DetectionStudy:
    """Readings, and detectors fitted to them, each kept on disk.

    Args:
        series: labelled readings; or, where anomalies are injected, readings without labels.
        options: settings.
        injection: anomalies that are put into the readings anew for every seed; None puts none in.

    Raises:
        InputError: readings without labels, or a detector that cannot be fitted.
    """

    def __init__(
        self, series: BuildingSeries, options: DetectionOptions | None = None, injection: InjectionOptions | None = None
    ) -> None:
        self.options, self.series, self.injection = options or DetectionOptions(), series, injection
        self.detectors = require_detectors(self.options.detectors)
        self.folder = Path(self.options.folder)
        self.store = Store(self.folder)
        if series.anomaly is None and injection is None:
            raise InputError(
                f"{series.name}: expected labelled readings, got a table without the column anomaly. Name the labelled "
                "one, or inject anomalies with buildings=households."
            )
        self.divided = lru_cache(maxsize=1)(self._divided)

    def judged(self) -> Iterator[Judged]:
        """Every seed and detector, fitted, scored and measured, or taken from disk."""
        wanted = [(seed, detector) for seed in self.options.seeds for detector in self.detectors]
        for seed, detector in tqdm(wanted, desc="detectors", leave=False):
            scored = self._scored(detector, seed)
            archive, card = load_archive(scored.folder / SCORES), read_card(scored.folder)
            archive = archive.with_readings(self.divided(seed).scaled.series)
            yield Judged(archive, self._records(archive, card, scored), scored.folder)

    def _divided(self, seed: int) -> Division:
        series = self.series if self.injection is None else inject(self.series, self.injection, seed)
        division = divide(series, self.options.division, seed)
        require_labels(division)
        return division

    def depends(self, detector: Detector, seed: int) -> dict[str, Any]:
        """Everything that the scores of a detector depend on, as the store takes it."""
        own = type(detector)
        return {
            "kind": "detectors",
            "name": re.sub(r"\W+", "-", detector.name),
            "options": {
                "class": f"{own.__module__}.{own.__qualname__}",
                "settings": settings_of(detector),
                "seed": seed,
                "division": self.options.division,
                "injection": self.injection,
            },
            "data": {"readings": self.series},
            "code": [own, score_division, divide, inject],
            "packages": ["numpy", "scikit-learn", "torch", *detector.needs],
        }

    def _scored(self, detector: Detector, seed: int) -> Artefact:
        """Scores and model of a detector, made if they are not there."""
        depends = self.depends(detector, seed)
        artefact = self.store.artefact(**depends)
        training = self.folder / "trainings" / artefact.folder.name
        self.store.get(make=lambda folder: self._fit(detector, seed, folder, training), read=read_card, **depends)
        return artefact

    def _fit(self, detector: Detector, seed: int, folder: Path, training: Path) -> None:
        went_on = training.exists()
        division, start = self.divided(seed), time.perf_counter()
        candidates = detector.fit(division.train, seed, training)
        fitted = time.perf_counter()
        archive, chosen = score_division(candidates, division, detector.name, seed)
        scored = time.perf_counter()
        save_archive(archive, folder / SCORES)
        save_detector(chosen, folder / MODELS)
        # Of a training that went on after an interrupt, the time of the first part is not known.
        seconds = {"score_seconds": scored - fitted} | ({} if went_on else {"fit_seconds": fitted - start})
        card = {"seconds": seconds, "history": chosen.state()[0].get("history", {})}
        card |= {"training_windows": len(division.train), "few_readings": division.few_readings}
        card |= {"constant": division.constant, "training_buildings": len(division.split.train)}
        models = [str(file.relative_to(folder)) for file in (folder / MODELS).iterdir()]
        write_card(card, folder, [SCORES, *models])

    def _records(self, archive: ScoreArchive, card: dict[str, Any], scored: Artefact) -> pd.DataFrame:
        rule, draws = self.options.rule, self.options.draws

        def measured() -> pd.DataFrame:
            table = measure_detector(archive, rule, draws)
            for name, seconds in card["seconds"].items():
                table.add(name, seconds, "s")
            for name in ("training_windows", "training_buildings", "few_readings", "constant"):
                table.add(name, card[name], "windows" if name == "training_windows" else "buildings")
            return table.to_frame()

        return self.store.table(
            "records",
            scored.name,
            make=measured,
            options={"rule": rule, "draws": draws},
            data={"scores": scored, "readings": self.series},
            code=[measure_detector],
            packages=["numpy", "pandas"],
        )


def try_thresholds(options: ThresholdsOptions) -> pd.DataFrame:
    """Records of other thresholds on the kept scores of a finished run; nothing is fitted again.

    Raises:
        InputError: no such run, or a rule that its validation scores do not allow.
    """
    files = sorted(Path(options.run).rglob(SCORES)) if options.run else []
    if not files:
        raise InputError(
            f"thresholds.run: expected the folder of a finished run of detection, with {SCORES} in it, got "
            f"{options.run!r}. Run python -m experiments.anomaly first."
        )
    tables = [measure_thresholds(load_archive(file), options).to_frame() for file in files]
    return pd.concat(tables, ignore_index=True)


#: Columns of `performance_metrics.csv`.
_METRICS = ["level", "split", "kind", "rule", "metric", "value", "low", "high", "unit"]


def write_outputs(judged: Judged, rule: ThresholdRule, folder: Path) -> None:
    """Write training history, results, metrics, scores, models and images of one detector and seed.

    Args:
        judged: scores, records, model.
        rule: of the thresholds.
        folder: of the run; a folder for detector and seed is made in it.
    """
    archive = judged.archive
    own = folder / archive.detector / f"seed_{archive.seed}"
    chosen = {level: found.value for level, found in thresholds_of(archive, rule).items()}
    history = pd.DataFrame(read_json(judged.folder / CARD)["history"])
    history.insert(0, "epoch", np.arange(len(history)))
    write_csv(history, own / "training_history.csv")
    write_csv(_results(archive, chosen["window"]), own / "anomaly_detection_results.csv")
    records = judged.records
    metrics = records[records["at"].isna()].reindex(columns=_METRICS)
    write_csv(metrics, own / "performance_metrics.csv")
    save_archive(archive, own / SCORES, thresholds=chosen)
    shutil.copytree(judged.folder / MODELS, own / MODELS, dirs_exist_ok=True)
    save_detector_images(archive, chosen, own / "images")


def _results(archive: ScoreArchive, threshold: float) -> pd.DataFrame:
    """A row per test window."""
    windows = archive.test_window
    return pd.DataFrame(
        {
            "building": np.array(archive.buildings)[windows.building],
            "start": archive.hour(windows.start),
            "score": windows.score,
            "prediction": (windows.score >= threshold).astype(int),
            "label": windows.label.astype(int),
        }
    )
