"""Forecasters on networks, CNN or MLP-Mixer: a frozen extractor, fitted on this data set or another, under an analytic
head; or the whole network trained for a criterion on the rows that remain.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.checks import IntArray
from unlearn.criteria import Criterion, fresh, grids_of, make_criterion, require_base, require_per_sample
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.data.hours import Rows, rows_of
from unlearn.errors import InputError
from unlearn.forecasters.base import FROZEN, UNUSED, Forecaster
from unlearn.forecasters.card import NO_ROWS, ModelCard, make_card
from unlearn.forecasters.extractors import N_FEATURES
from unlearn.forecasters.head import HeadObjective
from unlearn.forecasters.origin import as_fitted, origin_of, require_elsewhere
from unlearn.forecasters.specs import Network, TrainingOptions, network_named
from unlearn.forecasters.training import RowLoss, n_watched, train_network
from unlearn.grid import GridCase, OperatingCost


class NetworkForecaster(Forecaster):
    """`ŷ = W [φ(x), 1]` with an extractor φ that is frozen.

    Only W has seen the sensitive rows (section IV-B), or any row at all (`fit_network(extractor_from=...)`). Or the
    whole network was trained for a criterion (`fit_network(loss=...)`): W is then no minimiser over rows, there is
    nothing to unlearn, and that is refused.
    """

    # Float64 products of an extractor differ in their last bits between batches (measured: 8e-16).
    design_noise = 1e-15

    def __init__(self, card: ModelCard, extractor: nn.Module, scaler: StandardScaler) -> None:
        super().__init__(card, N_FEATURES + 1)
        self.extractor = extractor.double().requires_grad_(False)
        self.scaler = scaler

    def design(self, features: Tensor) -> Tensor:
        extracted = self.extractor(self.scaler(features))
        return torch.cat([extracted, torch.ones_like(extracted[:, :1])], dim=1)

    def column_names(self) -> list[str]:
        return [*(f"extracted {i}" for i in range(N_FEATURES)), "intercept"]

    @property
    def _whole(self) -> bool:
        return self.card.head_rows == NO_ROWS

    def training_rows(self, dataset: LoadDataset) -> IntArray:
        return np.zeros(0, dtype=np.int64) if self._whole else super().training_rows(dataset)

    def parts_of(self, dataset: LoadDataset) -> Tensor:
        if not self._whole:
            return super().parts_of(dataset)
        self.require_match(dataset)  # which rows it was trained on the model alone knows
        return self.parts.clone()

    def objective(self, dataset: LoadDataset) -> HeadObjective:
        self._refuse_whole()
        return super().objective(dataset)

    def _prepared_anew(self, dataset: LoadDataset, rows: IntArray) -> Forecaster:
        self._refuse_whole()
        return super()._prepared_anew(dataset, rows)

    def _refuse_whole(self) -> None:
        if self._whole:
            raise InputError(
                "model: expected a head that was fitted to rows of its own, got a network that was trained as a whole "
                f"for {self.card.settings['loss']}: no row has an influence that the head could be solved for, and "
                "none can be unlearnt. Call fit_network without loss, or train anew with rows= that leave some out."
            )


def fit_network(
    dataset: LoadDataset,
    architecture: str = "cnn",
    training: TrainingOptions | None = None,
    seed: int = 0,
    l2: float = 0.0,
    *,
    loss: str | Criterion | None = None,
    grid: OperatingCost | GridCase | str | None = None,
    rows: Rows | None = None,
    extractor_from: LoadDataset | Forecaster | None = None,
) -> Forecaster:
    """Train an extractor on the core rows, freeze it, fit the last layer on the sensitive rows; with `extractor_from`,
    train it on another data set; or, with `loss`, train the whole network for a criterion.

    Inputs and, while the extractor trains, targets are standardised with core rows only, so that nothing but the head
    has seen the sensitive rows. The core is hours of the same customers: what the extractor learnt there stays.

    With `extractor_from`, all training rows of that other data set train the extractor and its scalers, and the head
    is fitted on all training rows of this one, core and sensitive. Nothing but the head has seen any of them, so what
    `forget` removes from the head is gone from the network. The other data set may be of simulated customers, a
    synthetic release, or another utility.

    With `loss`, core and sensitive rows are one: all that is fitted is fitted on `rows`, and forgetting some of them
    means training anew on the others. That is what unlearning is compared with. See `fit_whole_network`.

    Args:
        dataset: loads and features; its split says which training rows are core.
        architecture: "cnn" or "mixer".
        training: settings of the extractor's or the whole network's training; the published ones by default.
        seed: seed of initial weights and batch order.
        l2: regulariser of the head's summed loss, >= 0.
        loss: None; or "mse", "mape", "cost", or a criterion of your own, such as
            `Weighted({OperatingCostCriterion(grid): 1, MSE(): 1000})`, that the whole network is trained for.
        grid: what a criterion by name is priced on, if it is priced: "cost" is. The others look at no grid.
        rows: with `loss`, training rows of the data set in any form that `forget` takes; None means all of them.
        extractor_from: data set to train the extractor on, with as many loads and the same features; or a network that
            was fitted to such data, whose extractor and feature scaler are taken as they are. It keeps no loads and no
            customers, so whether it saw some of this data set under another fingerprint, such as that of another
            split, is for the caller to know. Nothing is trained then, and `seed` has no effect.

    Raises:
        SingularHessianError: extracted features are linearly dependent.
        InputError: `rows` without a loss, or not among the training rows; l2 with a loss; what the criterion refuses;
            `extractor_from` with a loss or rows, or of this very data set or its customers.
        MismatchError: loads are per unit of another base than the grid's, or `extractor_from` has other loads or
            features.
        ConvergenceError: training diverged.
    """
    spec = network_named(architecture)(l2, training or TrainingOptions())
    if extractor_from is not None:
        if loss is not None or rows is not None:
            raise InputError(
                "extractor_from: expected neither loss nor rows with it, for the head is fitted to all training rows "
                f"by least squares; got {'rows' if loss is None else 'a loss'}. Leave that out, or extractor_from."
            )
        if training is not None and not isinstance(extractor_from, LoadDataset):
            raise InputError(
                "training: expected none with a forecaster in extractor_from, whose extractor is taken as it is; got "
                "some. Pass the data set to train on instead."
            )
        return fit_head_on_extractor_of(spec, dataset, extractor_from, seed)
    if loss is not None:
        return fit_whole_network(spec, dataset, make_criterion(loss, grid), rows, seed)
    if rows is not None:
        raise InputError(
            "rows: expected none without a loss, for the split says which rows extractor and head are fitted on; got "
            'some. Name a loss, such as loss="mse", or fit on all and forget the others.'
        )
    return spec.fit(dataset, seed)


def _untrained(spec: Network, dataset: LoadDataset, seed: int) -> tuple[nn.Module, nn.Linear]:
    """The extractor and a last layer, with initial weights of a seed; the caller's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = spec.extractor(dataset.n_loads, len(dataset.feature_names))
        return extractor, nn.Linear(N_FEATURES, dataset.n_loads)


def fit_extractor_and_head(spec: Network, dataset: LoadDataset, seed: int, core: IntArray | None = None) -> Forecaster:
    """Train the extractor of a spec, freeze it, fit the head; see `fit_network`.

    Args:
        spec: architecture, training and regulariser.
        dataset: loads and features.
        seed: of initial weights and batch order.
        core: core rows that the extractor may learn; None means all.
    """
    extractor, scaler, history = _trained_extractor(spec, dataset, dataset.split.core if core is None else core, seed)
    card = make_card(
        spec.name,
        dataset,
        head_rows="sensitive",
        scaler_rows="core",
        seed=seed,
        l2=spec.l2,
        settings={"training": asdict(spec.training)},
        history=history,
    )
    return NetworkForecaster(card, extractor, scaler).fitted_to(dataset)


def _trained_extractor(
    spec: Network, dataset: LoadDataset, rows: IntArray, seed: int
) -> tuple[nn.Module, StandardScaler, dict[str, Any]]:
    """An extractor and its feature scaler, fitted with a last layer on these rows alone, and how training went."""
    scaler = StandardScaler.fit(dataset.features[rows], skip=len(CALENDAR_NAMES))
    target_scaler = StandardScaler.fit(dataset.load_pu[rows])
    inputs = scaler(torch.from_numpy(dataset.features[rows])).float()
    targets = target_scaler(torch.from_numpy(dataset.load_pu[rows])).float()
    extractor, last = _untrained(spec, dataset, seed)
    history = train_network(nn.Sequential(extractor, last), inputs, targets, spec.training, seed)
    return extractor, scaler, history


def fit_head_on_extractor_of(
    spec: Network, dataset: LoadDataset, source: LoadDataset | Forecaster, seed: int
) -> Forecaster:
    """Train the extractor of a spec on another data set, or take a network's; fit the head on all training rows.

    See `fit_network`, which calls it `extractor_from`.
    """
    if not isinstance(source, LoadDataset | NetworkForecaster):
        raise InputError(
            f"extractor_from: expected a LoadDataset, or a forecaster with an extractor, got {type(source).__name__}. "
            "Pass the data set to train the extractor on, or what fit_network made of it."
        )
    known = source if isinstance(source, LoadDataset) else source.card
    require_elsewhere(dataset, known)
    if isinstance(source, LoadDataset):
        extractor, scaler, history = _trained_extractor(spec, source, source.split.train, seed)
        training = asdict(spec.training)
    else:
        if source.card.kind != spec.name:
            raise InputError(
                f"architecture: expected {source.card.kind!r}, that of the forecaster in extractor_from; got "
                f"{spec.name!r}."
            )
        # Copies, so that moving one model to another device leaves the other where it is.
        extractor, scaler = copy.deepcopy(source.extractor), copy.deepcopy(source.scaler)
        training, history, seed = source.card.settings.get("training", {}), source.card.history, source.card.seed
    card = make_card(
        spec.name,
        dataset,
        head_rows="train",
        scaler_rows="another data set",
        seed=seed,
        l2=spec.l2,
        settings={"training": training, "extractor_from": origin_of(known)},
        history=history,
        extractor=as_fitted(dataset, known),
    )
    return NetworkForecaster(card, extractor, scaler).fitted_to(dataset)


def fit_whole_network(
    spec: Network, dataset: LoadDataset, criterion: Criterion, rows: Rows | None, seed: int
) -> NetworkForecaster:
    """Train extractor and last layer together for a criterion.

    Inputs are standardised, and outputs are in standard deviations from the mean load, of `rows` alone: forecasts
    start near the mean, because one below 0 has no cost gradient. The last share of `rows` is watched for early
    stopping, by the same criterion. The network is trained in single precision and judged in double.

    Args:
        spec: the network; its head's regulariser must be 0.
        dataset: loads and features.
        criterion: what is minimised in the mean over hours.
        rows: training rows of the data set; None means all.
        seed: seed of initial weights and batch order.

    Returns:
        The forecaster; its card lists limitations, and `parts` the rows that it was trained on.

    Raises:
        InputError, MismatchError, ConvergenceError: see `fit_network`.
    """
    if spec.l2:
        raise InputError(
            f"l2: expected 0 with a loss, for no head is fitted by regularised least squares; got {spec.l2:g}."
        )
    require_base(criterion, dataset)
    used = _training_rows(rows, dataset)
    watched = n_watched(len(used), spec.training)
    load = torch.from_numpy(dataset.load_pu[used])
    scaler = StandardScaler.fit(dataset.features[used], skip=len(CALENDAR_NAMES))
    outputs = StandardScaler.fit(dataset.load_pu[used])
    criterion = fresh(criterion)  # what it priced before would tell, in last bits, of rows that are left out
    # What the criterion refuses is refused here, in the order of the hours, and not in some batch.
    mean_load = outputs.mean.expand_as(load).clone().requires_grad_()
    require_per_sample(criterion, criterion(mean_load, load), len(load))
    inputs = scaler(torch.from_numpy(dataset.features[used])).float()
    extractor, last = _untrained(spec, dataset, seed)
    loss = loss_in_pu(criterion, outputs)
    history = train_network(nn.Sequential(extractor, last), inputs, load, spec.training, seed, loss=loss)
    settings = {"training": asdict(spec.training), "loss": criterion.name}
    if grids := sorted({grid.case.name for grid in grids_of(criterion)}):
        settings["grids"] = grids
    whole = len(used) == len(dataset.split.train)
    scope = "train" if whole else f"{len(used)} of the {len(dataset.split.train)} training rows"
    card = make_card(
        spec.name, dataset, head_rows=NO_ROWS, scaler_rows=scope, seed=seed, settings=settings, history=history
    )
    limitations = _limitations(criterion.name, len(used), watched, [] if whole else [c.name for c in dataset.fitted])
    model = NetworkForecaster(replace(card, limitations=limitations), extractor, scaler)
    model.head = _head_in_pu(last, outputs)
    parts = np.full(len(dataset.timestamps), UNUSED, dtype=np.uint8)
    parts[used] = FROZEN
    model.parts = torch.from_numpy(parts)
    return model


def _training_rows(rows: Rows | None, dataset: LoadDataset) -> IntArray:
    """Training rows of the data set that a caller names, sorted; refuses others."""
    train = dataset.split.train
    if rows is None:
        return train
    used = rows_of("rows", rows, dataset.timestamps)
    if len(others := np.setdiff1d(used, train)):
        raise InputError(
            f"rows: expected training rows of {dataset.name} alone, got {len(others)} of {len(used)} that are not, "
            f"first {others[0]} ({dataset.timestamps[others[0]]}). Leave out validation and test rows; "
            "dataset.split.train lists the others."
        )
    return used


#: Standard deviations from the mean load beyond which outputs have diverged; no grid prices such forecasts.
DIVERGED = 1e4


def loss_in_pu(criterion: Criterion, scaler: StandardScaler) -> RowLoss:
    """The criterion of outputs, in standard deviations from the mean, and true loads in p.u., in double precision."""

    def loss(outputs: Tensor, load_pu: Tensor) -> Tensor:
        forecast = scaler.inverse(outputs.double())
        if not bool((outputs.abs() < DIVERGED).all()):  # NaN is not below it, either
            return (torch.nan * forecast).sum(dim=1)
        return criterion(forecast, load_pu)

    return loss


def _head_in_pu(layer: nn.Linear, scaler: StandardScaler) -> Tensor:
    """Last layer and scale of the outputs in one, shape (B, D)."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    return torch.cat([scaler.std[:, None] * weight, scaler.inverse(bias)[:, None]], dim=1)


def _limitations(criterion: str, n_rows: int, n_watched_rows: int, fitted: Sequence[str]) -> list[str]:
    said = [
        f"The whole network was trained for {criterion} on {n_rows} rows, the last {n_watched_rows} of which it was "
        "stopped by: none of them can be forgotten or re-weighted but by training anew on the others.",
        f"It was chosen for {criterion} alone. Look at its other errors, too, before you use it for something else.",
        "Gradient descent ends in another network for another seed. Compare means over seeds.",
    ]
    if fitted:
        said.append(f"The rows left out still shaped what preprocessing fitted: {', '.join(fitted)}.")
    return said
