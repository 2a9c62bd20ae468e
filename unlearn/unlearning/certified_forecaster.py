"""`fit_certified`: a linear forecaster of hourly loads that certifies what it forgets, from and to files.

Columns and scaler are those of the linear forecaster. The scaled row [φ, 1] of D columns has a norm of about √D; it is
divided by `reach · √D`, a constant that uses no data, and what is still longer than 1 is clipped. Loads are divided by
their largest training load, so that one width of the loss, and one noise, suits small and large loads alike.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_finite,
    require_positive,
    require_shape,
    short_repr,
)
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.hours import Rows, rows_of
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.errors import InputError
from unlearn.forecasters.card import ModelCard
from unlearn.forecasters.linear import LinearForecaster, prepared
from unlearn.records import CARD, read_card, read_safetensors, write_card, write_safetensors
from unlearn.unlearning.certified import CertifiedHead
from unlearn.unlearning.certified_losses import CertifiedLoss

WEIGHTS = "certified.safetensors"
_MEND = "Fit and save the model again."
_WHAT = "rows to unlearn"


@short_repr
@dataclass(frozen=True, eq=False)
class CertifiedForecaster:
    """A certified head on the design of the linear forecaster; `fit_certified` makes one.

    Attributes:
        head: the head, with all that is secret.
        linear: columns and scaler; it has no head of its own.
        unit: what targets were divided by, shape (B,).
        reach: longest row in units of √D.
        train: rows of the data set that the head was fitted on, whether they remain or not, shape (n,).
        n_hours: rows of the data set.
    """

    head: CertifiedHead
    linear: LinearForecaster = field(repr=False)
    unit: FloatArray = field(repr=False)
    reach: float
    train: IntArray = field(repr=False)
    n_hours: int

    def design(self, features: FloatArray) -> FloatArray:
        """Rows of the head before they are clipped, shape (n, D), of raw features (n, B, F)."""
        card = self.linear.card
        features = as_floats("features", features, ndim=3)
        require_shape("features", features, (None, len(card.load_names), len(card.feature_names)))
        require_finite("features", features)
        with torch.no_grad():
            design = self.linear.design(torch.from_numpy(features)).numpy()
        return design / (self.reach * math.sqrt(design.shape[1]))

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecast loads in p.u. for raw features (n, B, F), shape (n, B); log odds of targets that are 0 and 1.

        Raises:
            InputError: wrong shape or NaN.
        """
        return self.head.predict(self.design(features)) * self.unit

    def forget(self, rows: Rows, *, retrain: bool = False) -> CertifiedForecaster:
        """Forget hours, by one Newton step; see `CertifiedHead.forget`.

        Args:
            rows: of the data set, in any form that `unlearn.forget` takes. Validation and test rows, and those that
                were forgotten before, need no forgetting.
            retrain: fit anew, with the same noise, where the budget does not suffice.

        Raises:
            InputError: rows that are not in the data set, or none that the head still holds.
            BudgetError: the budget does not suffice; nothing has been removed.
        """
        hours = pd.date_range(self.linear.card.first_hour, periods=self.n_hours, freq="h")
        asked = rows_of(_WHAT, rows, hours)
        positions = np.flatnonzero(np.isin(self.train, asked))
        positions = positions[np.isin(positions, self.head.rows)]
        if not len(positions):
            raise InputError(
                f"{_WHAT}: expected rows that the model was fitted on and that remain, got {len(asked)} of which none "
                "is; nothing to forget."
            )
        return replace(self, head=self.head.forget(positions, retrain=retrain))

    def retrained(self, noise: Noise | NoiseSource | None = None) -> CertifiedForecaster:
        """Fit the head anew to the rows that remain, see `CertifiedHead.retrained`; columns, scaler and units stay."""
        return replace(self, head=self.head.retrained(noise))

    def limitations(self) -> list[str]:
        """What the certificate does not cover, in sentences."""
        lags = self.linear.card.lags
        said = [
            "Forgotten hours still stand in the lags of other hours, which the certificate does not cover. Fit on data "
            "without lags, or take unlearn.forget with lagged=."
        ]
        return [
            "Choice of columns, feature scaler and the units of the loads were fitted on all training rows, forgotten "
            "ones among them. They are kept; fit the model anew to data without these rows to replace them.",
            *(said if lags else []),
        ]

    def certificate(self) -> dict[str, Any]:
        """What can be said of this model, as plain values; see `CertifiedHead.certificate`."""
        said = self.head.certificate()
        card = self.linear.card
        about = {"data": card.data, "fingerprint": card.fingerprint, "loads": list(card.load_names)}
        return {**said, **about, "limitations": [*said["limitations"], *self.limitations()]}


def fit_certified(
    dataset: LoadDataset,
    loss: str | CertifiedLoss = "pseudo_huber",
    *,
    target: ArrayLike | None = None,
    l2: float = 0.1,
    epsilon: float = 1.0,
    delta: float = 1e-5,
    sigma: float | None = None,
    reach: float = 2.0,
    noise: Noise | NoiseSource = "os",
) -> CertifiedForecaster:
    """Fit a linear forecaster that certifies what it forgets: hours, in all loads.

    A customer inside a load changes targets, not rows: this does not forget one; see `unlearn.forget_customers`.

    >>> import unlearn
    >>> from unlearn.unlearning import fit_certified
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> model = fit_certified(data, sigma=0.1)
    >>> after = model.forget(range(24, 30))
    >>> after.certificate()["guarantee"], after.certificate()["removed"]
    ('certified', 6)

    Args:
        dataset: loads and features.
        loss: a name of `CERTIFIED_LOSSES`, or a loss; its width is in units of each load's largest training load.
        target: other targets of all rows, shape (N, B'), such as `dataset.load_pu > 0.8 * dataset.load_pu.max(axis=0)`
            with the logistic loss; they are taken as they are. None is the loads.
        l2: regulariser of the sum, > 0, of rows of about norm 1 / `reach`.
        epsilon: ε to promise, at most 1.
        delta: δ to promise.
        sigma: standard deviation of the noise; see `CertifiedHead.fit`.
        reach: longest row in units of √D; more clips fewer rows.
        noise: "os", or a source; a seed is refused unless the data set says that it is simulated.

    Raises:
        InputError: unusable numbers, or targets that do not fit.
        ConvergenceError: no minimiser was found.
    """
    require_positive("reach", reach)
    train = dataset.split.train
    if target is None:
        given = dataset.load_pu
        unit = given[train].max(axis=0)
        unit[unit <= 0] = 1.0
    else:
        given = as_floats("target", target, ndim=2)
        require_shape("target", given, (len(dataset.timestamps), None))
        unit = np.ones(given.shape[1])
    linear = prepared(dataset, train, l2)
    design = linear.design_of(dataset, train).numpy()
    head = CertifiedHead.fit(
        design / (reach * math.sqrt(design.shape[1])),
        given[train] / unit,
        loss,
        l2=l2,
        epsilon=epsilon,
        delta=delta,
        sigma=sigma,
        noise=noise_source(noise, dataset),
    )
    return CertifiedForecaster(head, linear, unit, float(reach), train, len(dataset.timestamps))


def save_certified(model: CertifiedForecaster, folder: str | Path) -> Path:
    """Write a certified forecaster into a folder, to be read by this account alone: rows and noise are in it."""
    folder = Path(folder)
    scaler = model.linear.scaler
    own = {"scaler_mean": scaler.mean, "scaler_std": scaler.std, "unit": torch.from_numpy(model.unit)}
    tensors = {**model.head.to_tensors(), **own, "train": torch.from_numpy(model.train.astype(np.int64))}
    write_safetensors(tensors, folder / WEIGHTS, confidential=True)
    values = {
        "kind": "certified",
        "model": asdict(model.linear.card),
        "head": model.head.settings(),
        "reach": model.reach,
        "n_hours": model.n_hours,
    }
    write_card(values, folder, [WEIGHTS], confidential=True)
    return folder


def load_certified(folder: str | Path) -> CertifiedForecaster:
    """Read what `save_certified` wrote.

    Raises:
        DataError: a missing or damaged file; names it and says what to do.
        InputError: files of another kind of model.
    """
    folder = Path(folder)
    values, tensors = read_card(folder, _MEND), read_safetensors(folder / WEIGHTS, _MEND)
    if values.get("kind") != "certified":
        raise InputError(f"{folder / CARD}: expected a certified model, got {values.get('kind')!r}. Name its folder.")
    try:
        card = ModelCard(**values["model"])
        columns = [(int(load), int(kind)) for load, kind in card.settings["columns"]]
        linear = LinearForecaster(card, columns, StandardScaler(tensors["scaler_mean"], tensors["scaler_std"]))
        head = CertifiedHead.from_tensors(tensors, values["head"])
        unit, train = tensors["unit"].numpy(), tensors["train"].numpy()
        require_shape("units", unit, head.weights.shape[:1])
        require_shape("training rows", train, (head.n_fitted,))
        require_shape("feature scaler", tensors["scaler_mean"].numpy(), (len(columns),))
        require_shape("columns", head.weights, (None, len(columns) + 1))
        return CertifiedForecaster(head, linear, unit, values["reach"], train, values["n_hours"])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: not a certified model of this version ({error}). {_MEND}") from error
