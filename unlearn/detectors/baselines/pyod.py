"""Outliers among windows with PyOD (Zhao et al., JMLR 2019): isolation forest and local outlier factor.

PyOD takes a constant off the isolation forest's published score, which changes no order. The factor of a new window is
against the training windows alone, not among all windows as published.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from unlearn.checks import FloatArray, require_choice, require_count, require_package, short_repr
from unlearn.detectors.base import WindowScores
from unlearn.detectors.windows import Windows
from unlearn.errors import InputError

KINDS = ("iforest", "lof")


@dataclass(frozen=True)
class PyodOptions:
    """Settings of the outlier detectors.

    Attributes:
        trees: of the isolation forest.
        neighbours: of the local outlier factor.
        max_windows: training windows drawn at random that LOF keeps; its scoring costs grow with them.
    """

    trees: int = 200
    neighbours: int = 20
    max_windows: int = 10_000

    def __post_init__(self) -> None:
        for name in ("trees", "neighbours", "max_windows"):
            require_count(f"pyod.{name}", getattr(self, name))


@short_repr
@dataclass(frozen=True, eq=False)
class PyodDetector:
    """Scores windows as a whole; every hour repeats its window's score."""

    name: str
    model: Any

    def arrays(self) -> dict[str, FloatArray]:
        """Nothing: trees and neighbours have no file format but pickles. The same seed fits the same model again."""
        return {}

    def score(self, windows: Windows) -> WindowScores:
        window = self.model.decision_function(windows.values.astype(np.float64))
        return WindowScores(window, np.repeat(np.asarray(window)[:, None], windows.length, axis=1))


def require_pyod() -> None:
    """Refuse to start without PyOD.

    Raises:
        MissingPackageError: says how to install it.
    """
    require_package("detectors iforest and lof", "pyod", '"unlearn[anomaly]", or leave them out')


def fit_pyod(
    windows: Windows, kind: str = "iforest", options: PyodOptions | None = None, seed: int = 0
) -> PyodDetector:
    """Fit to normal windows of training buildings.

    Args:
        windows: normal windows of training buildings.
        kind: "iforest" or "lof".
        options: settings.
        seed: of the trees, or of the windows that LOF keeps.

    Raises:
        InputError: an unknown kind, PyOD not installed, or fewer windows than neighbours.
    """
    options = options or PyodOptions()
    require_choice("kind", kind, KINDS)
    require_pyod()
    values = windows.values.astype(np.float64)
    if kind == "iforest":
        model = importlib.import_module("pyod.models.iforest").IForest(n_estimators=options.trees, random_state=seed)
        return PyodDetector(kind, model.fit(values))
    if len(values) <= options.neighbours:
        raise InputError(
            f"pyod.neighbours: expected fewer than the {len(values)} training windows, got {options.neighbours}."
        )
    if len(values) > options.max_windows:
        values = values[np.sort(np.random.default_rng(seed).permutation(len(values))[: options.max_windows])]
    model = importlib.import_module("pyod.models.lof").LOF(n_neighbors=options.neighbours, novelty=True)
    return PyodDetector(kind, model.fit(values))
