"""Poisoned hours as anomalies of load curves: any detector of `unlearn.detectors` on windows of every load."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unlearn.checks import FloatArray, IntArray
from unlearn.data import LoadDataset
from unlearn.detectors.base import FittedDetector
from unlearn.detectors.scaling import scale
from unlearn.detectors.windows import Windows, cut_windows
from unlearn.households.buildings.series import BuildingSeries
from unlearn.studies._shared.study import Study
from unlearn.studies.poisoning.detection import Detection, above
from unlearn.studies.poisoning.options import PoisoningOptions
from unlearn.unlearning import evaluation_rows

#: Fits a detector of anomalies on windows, given a seed.
FitWindows = Callable[[Windows, int], FittedDetector]


def by_windows(study: Study, name: str, fit: FitWindows, options: PoisoningOptions, seed: int) -> Detection:
    """Flag hours that a detector of anomalies scores above all but a few validation hours.

    Loads take the place of buildings. The detector is fitted on all training windows, poisoned ones among them: the
    hours that an operator trusts are a few weeks of one season, and no window of another season would look normal
    beside them. The score of an hour is the mean over loads. Scales come from training hours alone.

    Args:
        study: a forecaster that was fitted on poisoned rows.
        name: of the detector, for records.
        fit: fits it.
        options: windows, and false alarms on validation hours.
        seed: of fitting.

    Raises:
        InputError: no window fits into the training or the validation hours.
    """
    dataset = study.dataset
    trusted = evaluation_rows(dataset, "validation")
    scaled = scale(series_of(dataset), _hours(dataset, dataset.split.train))
    parts = [
        cut_windows(scaled, options.window_hours, options.stride_hours, _hours(dataset, rows))
        for rows in (dataset.split.train, trusted)
    ]
    detector = fit(parts[0], seed)
    known, judged = (_mean_over_loads(detector, windows) for windows in parts)
    return above(name, known[study.training_rows], judged[trusted], options.false_alarms)


def series_of(dataset: LoadDataset) -> BuildingSeries:
    """The hourly energy of every load before the first test hour, shape (B, T), as of a building."""
    end = int(dataset.split.test.min())
    return BuildingSeries(
        name=dataset.name,
        buildings=dataset.load_names,
        hours=dataset.timestamps.to_numpy().astype("datetime64[h]")[:end],
        kwh=1000.0 * dataset.load_mw[:end].T,
    )


def _hours(dataset: LoadDataset, rows: IntArray) -> np.ndarray:
    """Hours of a series that are among some rows, shape (T,)."""
    return np.isin(np.arange(int(dataset.split.test.min())), rows)


def _mean_over_loads(detector: FittedDetector, windows: Windows) -> FloatArray:
    return np.asarray(detector.score(windows).by_hour(windows).mean(axis=0))
