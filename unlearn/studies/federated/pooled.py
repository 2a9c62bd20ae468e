"""What federated models are compared with: least squares and networks trained on the rows of all, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray
from unlearn.data import LoadDataset, distinct_columns
from unlearn.privacy.federated.designs import NetworkDesign
from unlearn.privacy.federated.learners import NetworkLearner
from unlearn.privacy.federated.model import FederatedModel


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """A linear forecaster that another solver than the library's fitted.

    Attributes:
        columns: loads and features that enter, as pairs of positions.
        slopes: shape (D, B), in p.u. per unit of the raw features, the intercept last.
    """

    columns: tuple[tuple[int, int], ...]
    slopes: FloatArray

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecasts in p.u., shape (n, B), of features, shape (n, B, F)."""
        return chosen(features, self.columns) @ self.slopes[:-1] + self.slopes[-1]

    def head_like(self, model: FederatedModel) -> FloatArray:
        """The head in the columns of a federated model, shape (B, D)."""
        place = {name: i for i, name in enumerate(model.design.names(model.layout))}
        layout = model.layout
        head = np.zeros_like(model.head)
        for (b, f), slope in zip(self.columns, self.slopes[:-1], strict=True):
            head[:, place[f"{layout.load_names[b]}:{layout.feature_names[f]}"]] = slope
        head[:, -1] = self.slopes[-1]
        return head


def chosen(features: FloatArray, columns: Sequence[tuple[int, int]]) -> FloatArray:
    """Columns of features, shape (n, D)."""
    loads, kinds = zip(*columns, strict=True)
    return features[:, list(loads), list(kinds)]


def stacked_rows(datasets: Iterable[LoadDataset]) -> tuple[FloatArray, FloatArray]:
    """Training rows of all data sets: features, shape (n, B, F), and loads in p.u., shape (n, B)."""
    own = [(one.features[one.split.train], one.load_pu[one.split.train]) for one in datasets]
    return np.concatenate([features for features, _ in own]), np.concatenate([load for _, load in own])


def fit_pooled(datasets: Iterable[LoadDataset]) -> LeastSquares:
    """Least squares on the stacked training rows, by an orthogonal decomposition of the standardised rows."""
    features, load = stacked_rows(datasets)
    columns = tuple(distinct_columns(features))
    rows = chosen(features, columns)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    design = np.column_stack([(rows - mean) / std, np.ones(len(rows))])
    head = np.linalg.lstsq(design, load, rcond=None)[0]
    slopes = head[:-1] / std[:, None]
    return LeastSquares(columns, np.vstack([slopes, head[-1] - mean @ slopes]))


def relative_distance(own: FloatArray, other: FloatArray) -> float:
    """Norm of the difference over the norm of the other."""
    return float(np.linalg.norm(own - other) / np.linalg.norm(other))


@dataclass(frozen=True, eq=False)
class NetworkHead:
    """A head on a frozen extractor that another solver than the library's fitted.

    Attributes:
        design: the extractor.
        head: shape (B, D), in p.u., the intercept last.
    """

    design: NetworkDesign
    head: FloatArray

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecasts in p.u., shape (n, B), of features, shape (n, B, F)."""
        return np.asarray(self.design.rows(features, checked=False).numpy() @ self.head.T)

    def head_like(self, model: FederatedModel) -> FloatArray:
        """The head in the columns of a federated model, shape (B, D)."""
        return self.head


def fit_pooled_head(datasets: Iterable[LoadDataset], design: NetworkDesign) -> NetworkHead:
    """Least squares of a head on the stacked training rows, by an orthogonal decomposition."""
    features, load = stacked_rows(datasets)
    rows = design.rows(features, checked=False).numpy()
    return NetworkHead(design, np.linalg.lstsq(rows, load, rcond=None)[0].T)


class StackedLearner(NetworkLearner):
    """A learner of the training rows of several data sets, as if they were in one place."""

    def __init__(self, datasets: Iterable[LoadDataset], architecture: str) -> None:
        own = list(datasets)
        super().__init__(own[0], architecture)
        self._features, self._load_pu = stacked_rows(own)
