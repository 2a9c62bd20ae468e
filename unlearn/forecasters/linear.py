"""The linear forecaster: calendar once, every distinct column of weather and lags, an intercept; solved exactly."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
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

    def of_loads(self, dataset: LoadDataset, after: LoadDataset) -> tuple[Forecaster, bool]:
        """See `Forecaster.of_loads`; a column that loads shared stays if a load that is left has it, too."""
        kept = [dataset.load_names.index(name) for name in after.load_names]
        rows = self.training_rows(dataset)
        remaining = rows[~self.forgotten.all(dim=1).numpy()]
        columns = distinct_columns(after.features[remaining])
        found = self._columns_of(dataset.features[dataset.split.train], [(kept[b], f) for b, f in columns])
        same = -1 not in found
        pairs = [(own, place) for own, place in zip(columns, found, strict=True) if place >= 0]
        places = torch.tensor([place for _, place in pairs], dtype=torch.int64)
        outputs, within = torch.tensor(kept), torch.cat([places, torch.tensor([len(self.columns)])])
        card = self._card_of(after)
        left = [list(own) for own, _ in pairs]
        other = LinearForecaster(
            replace(card, settings={**card.settings, "columns": left}, tuned={}),
            [own for own, _ in pairs],
            StandardScaler(self.scaler.mean[places], self.scaler.std[places]),
        )
        other.head = self.head[outputs][:, within].clone()
        other.weights, other.forgotten = self.weights[:, outputs].clone(), self.forgotten[:, outputs].clone()
        other.parts = other.parts_of(after)
        other.statistics = None if self.statistics is None else self.statistics.selected(within, outputs)
        return other, same

    def _columns_of(self, seen: FloatArray, wanted: list[tuple[int, int]]) -> list[int]:
        """Which of the columns equals each that is wanted, on the training rows (n, B, F); −1 where none does."""
        own = {pair: place for place, pair in enumerate(self.columns)}
        equal = {seen[:, b, f].tobytes(): place for place, (b, f) in enumerate(self.columns)}
        return [own.get((b, f), equal.get(seen[:, b, f].tobytes(), -1)) for b, f in wanted]

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
