"""What a request to forget names, and what that means for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.data import LoadDataset
from unlearn.data.hours import Rows, rows_of
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.forecasters.base import FROZEN, HEAD, UNUSED
from unlearn.forecasters.card import NO_ROWS

_WHAT = "rows to unlearn"


@dataclass(frozen=True, eq=False)
class Request:
    """Hours to forget, and who learnt from them; all rows index the data set.

    Attributes:
        rows: what was asked for.
        unlearn: rows that the head was fitted on, which can be forgotten.
        positions: where these stand among the head's n training rows.
        frozen: rows that only the frozen extractor was trained on, which stay.
        head_rows: the head's n training rows.
        fitted_on: all rows that any part of the model was fitted on.
        outputs: positions of the outputs that forget, shape (B',).
        timestamps: hours of the data set, shape (N,).
        dropped: where further rows stand among the head's, which are forgotten in all outputs because loads that are
            forgotten are among their features.
    """

    rows: IntArray
    unlearn: IntArray
    positions: IntArray
    frozen: IntArray
    head_rows: IntArray
    fitted_on: IntArray
    outputs: Tensor
    timestamps: pd.DatetimeIndex
    dropped: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def forgotten(self, model: Forecaster) -> Tensor:
        """Which measurements are forgotten afterwards, shape (n, B)."""
        forgotten = model.forgotten.clone()
        forgotten[torch.from_numpy(self.positions)[:, None], self.outputs] = True
        forgotten[torch.from_numpy(self.dropped)] = True
        return forgotten

    def weights(self, model: Forecaster) -> Tensor:
        """Weights of the head's training rows afterwards, shape (n, B)."""
        weights = model.weights.clone()
        weights[torch.from_numpy(self.positions)[:, None], self.outputs] = 0.0
        weights[torch.from_numpy(self.dropped)] = 0.0
        return weights

    def held_by(self, hours: Sequence[int], rows: IntArray) -> IntArray:
        """Of some rows of the data set, those that a lag of these hours leads to an hour that was asked for."""
        return rows[np.isin(rows[:, None] - np.array(hours), self.rows).any(axis=1)]

    def changed(self, model: Forecaster) -> Tensor:
        """Positions of the outputs in which what is forgotten still had weight: those that change."""
        return self.outputs[(model.weights[self.positions][:, self.outputs] > 0).any(dim=0)]


def resolve(
    model: Forecaster,
    rows: Rows,
    loads: Sequence[str] | None = None,
    dataset: LoadDataset | None = None,
    lagged: bool = False,
) -> Request:
    """Find what a request means for a model.

    Args:
        model: a fitted forecaster.
        rows: of the data set, in any form that `rows_of` takes.
        loads: names of the loads whose measurements are meant; None means all.
        dataset: the data set; None takes its hours from the model.
        lagged: what was forgotten before may be asked for again, since it may still be a lag of other rows.

    Raises:
        InputError: unknown loads; rows that are none, not in the data set, or repeated; that the head was not fitted
            on; that were forgotten before; or all that is left of a load, unless that load alone is meant.
    """
    require_loads(loads, model.card.load_names)
    parts = (model.parts if dataset is None else model.parts_of(dataset)).numpy()
    if not len(parts):
        raise InputError(
            "model: expected one that knows the hours it was fitted on, got one without (saved by an earlier "
            "version?). Call model.with_statistics(dataset) once."
        )
    hours = dataset.timestamps if dataset else pd.date_range(model.card.first_hour, periods=len(parts), freq="h")
    asked = rows_of(_WHAT, rows, hours)
    if not asked.size:
        raise InputError(f"{_WHAT}: expected at least one, got none; nothing to forget.")
    unlearn, frozen = asked[parts[asked] == HEAD], asked[parts[asked] == FROZEN]
    if not unlearn.size:
        unused = "validation, test or left-out" if model.card.head_rows == NO_ROWS else "validation or test"
        why = (
            f"the head was fitted on none of the {len(asked)} asked for; {len(frozen)} of them trained the extractor, "
            "which is frozen and forgets nothing. Fit the network anew on data without them."
            if frozen.size
            else f"the model was fitted on none of the {len(asked)} asked for (they are {unused} rows); "
            "nothing to forget."
        )
        raise InputError(f"{_WHAT}: {why}")
    head_rows, fitted_on = np.flatnonzero(parts == HEAD), np.flatnonzero(parts != UNUSED)
    positions = np.searchsorted(head_rows, unlearn)
    names = model.card.load_names
    outputs = torch.tensor([b for b, name in enumerate(names) if loads is None or name in loads])
    request = Request(asked, unlearn, positions, frozen, head_rows, fitted_on, outputs, hours)
    if lagged and forgotten_before(request, model):
        return request
    _refuse_what_is_gone(request, model)
    return request


def require_loads(loads: Sequence[str] | None, names: Sequence[str]) -> None:
    """Refuse loads that are no list of some of the names; None stands for all of them."""
    if loads is None:
        return
    if isinstance(loads, str):
        raise InputError(f"loads: expected a list of names, got {loads!r}; write [{loads!r}].")
    unknown = [name for name in loads if name not in names]
    if unknown or not len(loads):
        raise InputError(f"loads: expected some of {', '.join(names)}; got {', '.join(map(str, unknown)) or 'none'}.")


def forgotten_before(request: Request, model: Forecaster) -> bool:
    """Whether all that is asked for was forgotten before."""
    return bool(model.forgotten[request.positions][:, request.outputs].all())


def refuse_again(request: Request, model: Forecaster) -> None:
    """Refuse to forget what was forgotten before, and say so if it still stands in other rows."""
    kept = request.head_rows[~model.forgotten.all(dim=1).numpy()]
    meant = {model.card.load_names[int(b)] for b in request.outputs}
    lags = [lag for lag in model.card.lags if lag["load"] is None or lag["load"] in meant]
    left = (
        'they stand in other rows alone, as lags. Forget them with lagged="drop" or lagged="impute".'
        if any(len(request.held_by(lag["hours"], kept)) for lag in lags)
        else "there is nothing of them left in this model."
    )
    raise InputError(f"{_WHAT}: all {len(request.positions)} were forgotten before; {left}")


def _refuse_what_is_gone(request: Request, model: Forecaster) -> None:
    """Refuse to forget twice, and to leave nothing that a head could be fitted to."""
    asked, n_rows = len(request.positions), len(model.weights)
    if forgotten_before(request, model):
        refuse_again(request, model)
    after = request.weights(model)
    emptied = ~after.any(dim=0) & model.weights.any(dim=0)
    if not bool(emptied.any()):
        return
    withdrawn = request.forgotten(model).all(dim=0)
    if bool((emptied & ~withdrawn).any()):
        raise InputError(
            f"{_WHAT}: what remains has no weight (re-weighting has set it to 0); nothing would remain to define the "
            "model. Forget from the model before it was re-weighted."
        )
    if not bool(after.any()):
        what = f"got all {asked} training rows" if asked == n_rows else "these are all that is left"
        raise InputError(
            f"{_WHAT}: {what}; nothing would remain to define the model. Keep some rows, or discard the model; a "
            "load that leaves is loads=[name] with all rows, a customer inside a load is forget_customers()."
        )
