"""Files of each detector and seed in a run's folder, under the names of the published code.

`models/` holds safetensors and cards instead of pickled weights, and is a copy of what is kept.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.detectors.thresholds import ThresholdRule
from unlearn.records import CARD, read_json, write_csv
from unlearn.studies.detection.archive import ScoreArchive, save_archive
from unlearn.studies.detection.measure import thresholds_of
from unlearn.studies.detection.report import save_detector_images
from unlearn.studies.detection.run import MODELS, SCORES, Judged

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
