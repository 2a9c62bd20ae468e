"""The linear forecaster: calendar once, every distinct column of weather and lags, an intercept; solved exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.data import LoadDataset, StandardScaler, distinct_columns
from unlearn.forecasters.base import Forecaster
from unlearn.forecasters.card import ModelCard, make_card


class LinearForecaster(Forecaster):
    """`ŷ = W [x, 1]` over the columns that differ (paper appendix D2).

    The calendar repeats over loads, and loads that share a weather station repeat its columns;
    each distinct column enters once, or the Hessian would be singular.
    """

    design_fitted_anew = True

    def __init__(self, card: ModelCard, columns: list[tuple[int, int]], scaler: StandardScaler) -> None:
        super().__init__(card, len(columns) + 1)
        self.columns = columns
        self.scaler = scaler

    def design(self, features: Tensor) -> Tensor:
        loads, kinds = zip(*self.columns, strict=True)
        chosen = self.scaler(features[:, list(loads), list(kinds)])
        return torch.cat([chosen, torch.ones_like(chosen[:, :1])], dim=1)

    def column_names(self) -> list[str]:
        names = [f"{self.card.load_names[b]}:{self.card.feature_names[f]}" for b, f in self.columns]
        return [*names, "intercept"]

    def head_in_columns_of(self, anew: Forecaster) -> Tensor:
        """The head of the same forecasts by columns and scaler of another model; columns that it lacks are left out."""
        if not isinstance(anew, LinearForecaster):
            return self.head
        slopes = dict(zip(self.columns, (self.head[:, :-1] / self.scaler.std).T, strict=True))
        kept = torch.stack([slopes.get(own, torch.zeros_like(self.head[:, 0])) for own in anew.columns], dim=1)
        intercept = self.head[:, -1] - (self.head[:, :-1] / self.scaler.std) @ self.scaler.mean
        return torch.cat([kept * anew.scaler.std, (intercept + kept @ anew.scaler.mean)[:, None]], dim=1)

    def _prepared_anew(self, dataset: LoadDataset, rows: IntArray) -> Forecaster:
        return prepared(dataset, rows, self.card.l2)


def fit_linear(dataset: LoadDataset, l2: float = 0.0) -> Forecaster:
    """Fit the linear forecaster on the training rows by least squares.

    Args:
        dataset: loads and features.
        l2: regulariser of the summed loss, >= 0.

    Raises:
        SingularHessianError: features depend on each other; the message names them.
    """
    return prepared(dataset, dataset.split.train, l2).fitted_to(dataset)


def prepared(dataset: LoadDataset, rows: IntArray, l2: float) -> LinearForecaster:
    """A linear forecaster without a head: columns chosen and scaler fitted on some training rows."""
    seen = dataset.features[rows]
    columns = list(distinct_columns(seen))
    loads, kinds = zip(*columns, strict=True)
    scaler = StandardScaler.fit(seen[:, list(loads), list(kinds)])
    scope = "train" if len(rows) == len(dataset.split.train) else f"{len(rows)} training rows that remained"
    card = make_card(
        "linear",
        dataset,
        head_rows="train",
        l2=l2,
        settings={"columns": [list(column) for column in columns]},
        scaler_rows=scope if l2 else f"{scope} (forecasts do not depend on it: least squares is invariant to it)",
        columns_rows=scope,
    )
    return LinearForecaster(card, columns, scaler)
