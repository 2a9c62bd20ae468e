"""`Forecaster`: fixed features of the inputs and a linear head, which is all that is unlearnt."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape
from unlearn.data import LoadDataset
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters.card import ModelCard
from unlearn.forecasters.head import HeadObjective, HeadStatistics

#: Relative difference of sums over the same rows that rounding explains; that of one measurement is far above it.
SAME_SUMS = 1e-12

#: What a row of the data set was used for: nothing that was fitted, the head, or the frozen extractor alone.
UNUSED, HEAD, FROZEN = 0, 1, 2


class Forecaster(nn.Module):
    """Maps raw features (n, B, F) to loads in p.u. (n, B): `W φ(x)`, in float64; `V φ(x)` once it is tuned.

    Subclasses give `design`, the fixed map φ with an intercept as its last column; scaler and
    extractor live inside it. `head` is W, shape (B, D). `weights` says what W is the minimiser for:
    the weight of each of the head's n training rows for each output, shape (n, B), ones when fitted.
    `forgotten`, of the same shape, says which of these measurements were forgotten; their weight is 0, but so may be
    that of others, which re-weighting has switched off. With both, a model can forget again and again.
    `tuned` is V, shape (B, D), the head of a tuned model, beneath which W stays as it was; without a row otherwise.
    `parts` says what each of the data set's N rows was used for: `UNUSED`, `HEAD` or `FROZEN` (the extractor alone).
    `statistics` are the sums over the rows with these weights, enough to forget rows without the
    others; None in a model that was saved before they were kept (see `with_statistics`).

    `design_noise` is how far, relatively, φ of a row may be from φ of the same row in another batch.
    """

    head: Tensor
    weights: Tensor
    forgotten: Tensor
    parts: Tensor
    tuned: Tensor
    statistics: HeadStatistics | None
    design_noise = 0.0
    #: Whether `fitted_anew` fits all that φ learnt from rows anew as well; if not, φ stays as it is.
    design_fitted_anew = False
    #: How the tuned head was found, see `unlearn.Tuning`; lost on the way through a file, where the card says it.
    recipe: object = None

    def __init__(self, card: ModelCard, n_columns: int) -> None:
        super().__init__()
        self.card = card
        self.statistics = None
        self.register_buffer("weights", torch.ones((0, len(card.load_names)), dtype=torch.float64))
        self.register_buffer("forgotten", torch.zeros((0, len(card.load_names)), dtype=torch.bool))
        self.register_buffer("parts", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("head", torch.full((len(card.load_names), n_columns), torch.nan, dtype=torch.float64))
        self.register_buffer("tuned", torch.zeros((0, n_columns), dtype=torch.float64))

    def design(self, features: Tensor) -> Tensor:
        """Features of the head, intercept last, shape (n, D)."""
        raise NotImplementedError(f"{type(self).__name__} must define design()")

    def column_names(self) -> list[str]:
        """Names of the D columns of the design."""
        raise NotImplementedError(f"{type(self).__name__} must define column_names()")

    def forward(self, features: Tensor) -> Tensor:
        return self.design(features.double()) @ self.forecast_head.T

    @property
    def theta(self) -> Tensor:
        """The least-squares head as a flat vector, shape (P,), which unlearning works on whether tuned or not."""
        return self.head.detach().reshape(-1).clone()

    @property
    def forecast_head(self) -> Tensor:
        """The head that forecasts, shape (B, D): the tuned one, or the least-squares one."""
        return self.tuned if self.is_tuned else self.head

    @property
    def is_tuned(self) -> bool:
        """Whether forecasts come from a tuned head."""
        return len(self.tuned) > 0

    def untuned(self) -> Forecaster:
        """Return a copy that forecasts with its least-squares head."""
        return self.with_theta(self.theta)

    def with_tuned(self, tuned: Tensor, recipe: object, said: dict[str, Any]) -> Forecaster:
        """Return a copy that forecasts with a tuned head.

        Args:
            tuned: V, shape (B, D).
            recipe: how it was tuned, to be repeated when the model forgets again.
            said: the same for the card, as JSON.
        """
        other = self.with_theta(self.theta)
        other.tuned, other.recipe, other.card = tuned.detach().clone(), recipe, replace(self.card, tuned=said)
        return other

    def require_untuned(self, what: str) -> None:
        """Refuse a tuned model where the least-squares head is meant.

        Raises:
            InputError: it is tuned.
        """
        if self.is_tuned:
            raise InputError(
                f"{what}: expected a model that forecasts with its least-squares head, got one tuned by "
                f"{self.card.tuned.get('method', {}).get('name', 'hand')}. Pass model.untuned(), and tune the result."
            )

    def with_theta(
        self,
        theta: Tensor,
        weights: Tensor | None = None,
        event: dict[str, Any] | None = None,
        statistics: HeadStatistics | None = None,
        forgotten: Tensor | None = None,
    ) -> Forecaster:
        """Return an untuned copy with another head; frozen parts (extractor, scaler, card, statistics) are shared.

        Args:
            theta: the head as a flat vector, shape (P,).
            weights: weights that it goes with, shape (n, B); None keeps weights and statistics.
            event: the step that led to it, for the card.
            statistics: the sums over the rows with these weights; None if they are not known.
            forgotten: which measurements are forgotten, shape (n, B); None keeps what is known.
        """
        other = copy.copy(self)
        other._buffers = dict(self._buffers)
        other.head = theta.detach().reshape(self.head.shape).clone()
        if self.is_tuned:
            other.tuned, other.recipe, other.card = self.tuned[:0], None, replace(self.card, tuned={})
        other.weights = (self.weights if weights is None else weights).detach().clone()
        if forgotten is not None:
            other.forgotten = forgotten.detach().clone()
        if weights is not None:
            other.statistics = statistics
        if event is not None:
            other.card = replace(other.card, forgotten=[*self.card.forgotten, event])
        return other

    def weight_groups(self, outputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Those of some outputs that share their weights: weights, shape (n,), and positions.

        One group unless single loads were forgotten.
        """
        if not len(outputs):
            return []
        columns, group = torch.unique(self.weights[:, outputs], dim=1, return_inverse=True)
        return [(columns[:, g], outputs[group == g]) for g in range(columns.shape[1])]

    def with_statistics(self, dataset: LoadDataset) -> Forecaster:
        """Return a copy with its sufficient statistics summed up anew from the data, at its present weights.

        Raises:
            MismatchError: the data set is not the one this model was fitted on.
        """
        objective = self.objective(dataset)
        statistics = HeadStatistics.of(objective.design, objective.target, self.weights)
        other = self.with_theta(self.theta, self.weights, statistics=statistics)
        other.parts = self.parts_of(dataset)
        other.card = replace(other.card, first_hour=dataset.timestamps[0].isoformat())
        return other

    def parts_of(self, dataset: LoadDataset) -> Tensor:
        """What each row of the data set is used for, shape (N,): `UNUSED`, `HEAD` or `FROZEN`."""
        parts = np.full(len(dataset.timestamps), UNUSED, dtype=np.uint8)
        parts[dataset.split.train] = FROZEN
        parts[self.training_rows(dataset)] = HEAD
        return torch.from_numpy(parts)

    def training_rows(self, dataset: LoadDataset) -> IntArray:
        """Rows of the data set that the head is fitted on: all training rows, or the sensitive part."""
        return dataset.split.sensitive if self.card.head_rows == "sensitive" else dataset.split.train

    def design_of(self, dataset: LoadDataset, rows: IntArray) -> Tensor:
        """Design of some rows of a data set, without a gradient, shape (len(rows), D)."""
        with torch.no_grad():
            return torch.cat(
                [self.design(torch.from_numpy(dataset.features[chunk])) for chunk in np.array_split(rows, 8)]
            )

    def objective(self, dataset: LoadDataset) -> HeadObjective:
        """The training problem of the head on the rows it is fitted on.

        Raises:
            MismatchError: the data set is not the one this model was fitted on.
        """
        self.require_match(dataset)
        rows = self.training_rows(dataset)
        target = torch.from_numpy(dataset.load_pu[rows])
        return HeadObjective(self.design_of(dataset, rows), target, self.card.l2, self.column_names())

    def fitted_to(self, dataset: LoadDataset) -> Forecaster:
        """Return a copy whose head minimises the training problem, all weights one and nothing forgotten."""
        objective = self.objective(dataset)
        ones = torch.ones((objective.n_samples, objective.n_outputs), dtype=torch.float64)
        statistics = HeadStatistics.of(objective.design, objective.target, ones)
        other = self.with_theta(objective.fit(), ones, statistics=statistics, forgotten=torch.zeros_like(ones).bool())
        other.parts, other.card = self.parts_of(dataset), replace(other.card, forgotten=[])
        return other

    def fitted_anew(
        self, dataset: LoadDataset, weights: Tensor | None = None, forgotten: Tensor | None = None
    ) -> Forecaster:
        """Return a model of the same kind, fitted anew to a data set whose loads and features may be others.

        All that can be fitted anew is, on the training rows of which any measurement remains: of the linear forecaster
        the choice of columns, the scaler and the head; of networks the head alone, for their extractor is frozen. The
        head is solved from the data by least squares, outputs with the same weights together; an output without any
        weight gets the head 0.

        Args:
            dataset: loads and features of the same names, and as many rows that the head is fitted on.
            weights: weights of the head's training rows, shape (n, B), 0 on what is forgotten; None keeps the model's.
            forgotten: which measurements are forgotten, shape (n, B); None keeps what is known.

        Returns:
            An untuned model of the data set; its card keeps what was forgotten before.

        Raises:
            MismatchError: loads or features of other names.
            InputError: weights or marks of another shape; a network that was trained as a whole.
            SingularHessianError: what remains does not determine the parameters.

        >>> import unlearn
        >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000, lags=[24])
        >>> model = unlearn.fit_linear(data)
        >>> model.fitted_anew(data.with_loads(data.load_mw + 1.0)).card.kind
        'linear'
        """
        self._require_names(dataset)
        rows = self.training_rows(dataset)
        weights = self.weights if weights is None else weights
        forgotten = self.forgotten if forgotten is None else forgotten
        for name, given in (("weights", weights), ("forgotten", forgotten)):
            if given.shape != (len(rows), dataset.n_loads):
                raise InputError(f"{name}: expected shape {(len(rows), dataset.n_loads)}, got {tuple(given.shape)}.")
        model = self._prepared_anew(dataset, np.setdiff1d(dataset.split.train, rows[forgotten.all(dim=1).numpy()]))
        objective = model.objective(dataset)
        head = torch.zeros((dataset.n_loads, objective.n_columns), dtype=torch.float64)
        columns, group = torch.unique(weights, dim=1, return_inverse=True)
        for place, column in enumerate(columns.T):
            if bool(column.any()):
                head[group == place] = objective.fit(column).reshape(head.shape)[group == place]
        statistics = HeadStatistics.of(objective.design, objective.target, weights)
        model = model.with_theta(head.reshape(-1), weights, statistics=statistics, forgotten=forgotten)
        model.parts, model.card = self.parts_of(dataset), replace(model.card, forgotten=self.card.forgotten)
        return model

    def head_in_columns_of(self, anew: Forecaster) -> Tensor:
        """The head of the same forecasts by the design of a model that `fitted_anew` gave, shape (B, D)."""
        return self.head

    def _prepared_anew(self, dataset: LoadDataset, rows: IntArray) -> Forecaster:
        """A copy for a data set, φ fitted anew on some training rows where it can be."""
        other = self.with_theta(self.theta)
        other.card = replace(self._card_of(dataset), tuned={})
        return other

    def _card_of(self, dataset: LoadDataset) -> ModelCard:
        """The card, as of a model of another data set."""
        now = {constant.name for constant in dataset.fitted}
        fitted = [{"name": c.name, "fitted_on": c.fitted_on, "description": c.description} for c in dataset.fitted]
        return replace(
            self.card,
            data=dataset.name,
            fingerprint=dataset.fingerprint,
            load_names=list(dataset.load_names),
            split=dataset.split.describe(),
            first_hour=dataset.timestamps[0].isoformat(),
            fitted=[*fitted, *(own for own in self.card.fitted if own["name"] not in now)],
            lags=[asdict(lag) for lag in dataset.lags],
        )

    def carried_to(self, dataset: LoadDataset) -> Forecaster:
        """Return the same model as one of another data set, which differs in what has no weight in the model alone.

        Such a data set is `dataset.blanked(rows)`, once these rows were forgotten (with `lagged="drop"` where loads are
        features of other hours). The head's rows that remain are summed up anew and compared with the kept sums: a
        measurement of one of n rows that is another by more than some `n / 2 · SAME_SUMS`, relatively, is found.
        Parameters, weights, marks, sums and tuning stay as they are.

        Args:
            dataset: loads and features of the same names, in the same hours, divided alike.

        Raises:
            MismatchError: other names, hours or parts; measurements that have weight are others.
            InputError: a model without kept sums.

        >>> import unlearn
        >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
        >>> done = unlearn.forget(unlearn.fit_linear(data), data, range(100))
        >>> done.model.carried_to(data.blanked(range(100))).card.fingerprint != data.fingerprint
        True
        """
        self._require_names(dataset)
        hours = dataset.timestamps[0].isoformat(), len(dataset.timestamps)
        if self.statistics is None or not len(self.weights):
            raise InputError(
                "model: expected one with kept sums of its head's rows, which tell whether the data set is the same "
                "where it matters, got one without. Call model.with_statistics(dataset) with its own data set, or fit "
                "the model anew."
            )
        if hours != (self.card.first_hour, len(self.parts)) or not torch.equal(self.parts, self.parts_of(dataset)):
            raise MismatchError(
                f"model and data set do not match: the model was fitted on {len(self.parts)} hours from "
                f"{self.card.first_hour}, this {dataset.name!r} has {hours[1]} hours from {hours[0]}, or is divided "
                "otherwise. Carry it to a data set of the same hours and split, such as dataset.blanked(rows)."
            )
        rows = self.training_rows(dataset)
        sums = HeadStatistics.of(self.design_of(dataset, rows), torch.from_numpy(dataset.load_pu[rows]), self.weights)
        if (apart := self.statistics.difference(sums)) > SAME_SUMS:
            raise MismatchError(
                f"model and data set do not match: measurements that have weight in the model are others in "
                f"{dataset.name!r} (sums differ by {apart:.1e}, expected at most {SAME_SUMS:.0e}). Forget first what "
                "was blanked, as lags too, or fit to what is there: model.fitted_anew(dataset)."
            )
        other = copy.copy(self)
        other._buffers, other.card = dict(self._buffers), self._card_of(dataset)
        return other

    def of_loads(self, dataset: LoadDataset, after: LoadDataset) -> tuple[Forecaster, bool]:
        """Return the model of some of its loads alone, by the columns of theirs, its sums cut to what they need.

        Weights, marks and scaler stay as they are. The head is the old one in the columns that are left, the minimiser
        only if the sums are solved again.

        Args:
            dataset: the data set it was fitted on.
            after: the same without the other loads; see `LoadDataset.without_loads`.

        Returns:
            An untuned model, and whether its columns are those that fitting it anew would choose; if not, fit it anew.

        Raises:
            InputError: φ was fitted to all loads and cannot do without some of them.
        """
        raise InputError(
            f"model: expected one whose columns each belong to one load, got {self.card.kind!r}, whose extractor reads "
            "all loads and was trained on them: there is no exact way to take some out. Fit it on the rest: "
            "fit_network(dataset.without_loads(loads), ...)."
        )

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecast loads in p.u. for raw features (n, B, F).

        Raises:
            InputError: wrong shape or NaN.
        """
        features = as_floats("features", features, ndim=3)
        require_shape("features", features, (None, len(self.card.load_names), len(self.card.feature_names)))
        require_finite("features", features)
        with torch.no_grad():
            return self(torch.from_numpy(features)).numpy()

    def require_match(self, dataset: LoadDataset) -> None:
        """Refuse a data set that this model was not fitted on."""
        self._require_names(dataset)
        card = self.card
        if dataset.fingerprint != card.fingerprint:
            raise MismatchError(
                f"model and data set do not match: the model was fitted on {card.data!r} with fingerprint "
                f"{card.fingerprint[:12]}, this {dataset.name!r} has {dataset.fingerprint[:12]}. Load the data with "
                "the same options (year, split, grid scaling), or fit the model on this data set."
            )

    def _require_names(self, dataset: LoadDataset) -> None:
        card = self.card
        if list(dataset.load_names) != card.load_names or list(dataset.feature_names) != card.feature_names:
            raise MismatchError(
                f"model and data set do not match: the model expects {len(card.load_names)} loads "
                f"({card.load_names[0]}, ...) with features {card.feature_names}, the data set "
                f"{dataset.name!r} has {dataset.n_loads} loads ({dataset.load_names[0]}, ...) with "
                f"features {list(dataset.feature_names)}."
            )
