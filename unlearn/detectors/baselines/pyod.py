"""Outliers among windows with PyOD (Zhao et al., JMLR 2019): isolation forest and local outlier factor.

PyOD takes a constant off the isolation forest's published score, which changes no order. The factor of a new window is
against the training windows alone, not among all windows as published.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unlearn.checks import require_count, short_repr
from unlearn.detectors.base import Detector, FittedDetector, WindowScores
from unlearn.errors import InputError

if TYPE_CHECKING:
    from unlearn.detectors.windows import Windows

_NEEDS = {"pyod": '"unlearn[anomaly]", or leave it out'}


@dataclass(frozen=True)
class IsolationForest(Detector):
    """Windows that few random cuts isolate.

    Attributes:
        n_estimators: trees.
        name: for records.
    """

    n_estimators: int = 200
    name: str = "iforest"
    label: ClassVar[str] = "isolation forest"
    needs: ClassVar[Mapping[str, str]] = _NEEDS

    def __post_init__(self) -> None:
        require_count("iforest.n_estimators", self.n_estimators)

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        forest = importlib.import_module("pyod.models.iforest").IForest
        model = forest(n_estimators=self.n_estimators, random_state=seed)
        return [FittedPyod(self.name, model.fit(windows.values.astype(np.float64)))]


@dataclass(frozen=True)
class LocalOutlierFactor(Detector):
    """Windows whose neighbourhood is less dense than their neighbours' own.

    Attributes:
        n_neighbors: of a window.
        max_windows: training windows drawn at random that are kept; the costs of scoring grow with them.
        name: for records.
    """

    n_neighbors: int = 20
    max_windows: int = 10_000
    name: str = "lof"
    label: ClassVar[str] = "local outlier factor"
    needs: ClassVar[Mapping[str, str]] = _NEEDS

    def __post_init__(self) -> None:
        for name in ("n_neighbors", "max_windows"):
            require_count(f"lof.{name}", getattr(self, name))

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        values = windows.values.astype(np.float64)
        if len(values) <= self.n_neighbors:
            raise InputError(
                f"lof.n_neighbors: expected fewer than the {len(values)} training windows, got {self.n_neighbors}."
            )
        if len(values) > self.max_windows:
            values = values[np.sort(np.random.default_rng(seed).permutation(len(values))[: self.max_windows])]
        model = importlib.import_module("pyod.models.lof").LOF(n_neighbors=self.n_neighbors, novelty=True)
        return [FittedPyod(self.name, model.fit(values))]


@short_repr
@dataclass(frozen=True, eq=False)
class FittedPyod(FittedDetector):
    """Scores windows as a whole; every hour repeats its window's score. Trees and neighbours are kept as pickles alone,
    so none are."""

    name: str
    model: Any

    def score(self, windows: Windows) -> WindowScores:
        window = self.model.decision_function(windows.values.astype(np.float64))
        return WindowScores(window, np.repeat(np.asarray(window)[:, None], windows.length, axis=1))
