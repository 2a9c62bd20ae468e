"""What a request to forget names, and what forgetting did: the new model, and in sentences what it does not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray
from unlearn.data import LoadDataset
from unlearn.data.features import Lag
from unlearn.data.hours import Rows, hour_ranges, rows_of
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.forecasters.base import FROZEN, HEAD, NO_ROWS, UNUSED
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.steps import AT_MINIMUM, Step, relative_distance

if TYPE_CHECKING:
    from unlearn.unlearning.tuning.apply import Tuned

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
    """

    rows: IntArray
    unlearn: IntArray
    positions: IntArray
    frozen: IntArray
    head_rows: IntArray
    fitted_on: IntArray
    outputs: Tensor
    timestamps: pd.DatetimeIndex

    def forgotten(self, model: Forecaster) -> Tensor:
        """Which measurements are forgotten afterwards, shape (n, B)."""
        forgotten = model.forgotten.clone()
        forgotten[torch.from_numpy(self.positions)[:, None], self.outputs] = True
        return forgotten

    def weights(self, model: Forecaster) -> Tensor:
        """Weights of the head's training rows afterwards, shape (n, B)."""
        weights = model.weights.clone()
        weights[torch.from_numpy(self.positions)[:, None], self.outputs] = 0.0
        return weights

    def changed(self, model: Forecaster) -> Tensor:
        """Positions of the outputs in which what is forgotten still had weight: those that change."""
        return self.outputs[(model.weights[self.positions][:, self.outputs] > 0).any(dim=0)]


def resolve(
    model: Forecaster, rows: Rows, loads: Sequence[str] | None = None, dataset: LoadDataset | None = None
) -> Request:
    """Find what a request means for a model.

    Args:
        model: a fitted forecaster.
        rows: of the data set, in any form that `rows_of` takes.
        loads: names of the loads whose measurements are meant; None means all.
        dataset: the data set; None takes its hours from the model.

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


def _refuse_what_is_gone(request: Request, model: Forecaster) -> None:
    """Refuse to forget twice, and to leave nothing that a head could be fitted to."""
    asked, n_rows = len(request.positions), len(model.weights)
    if bool(model.forgotten[request.positions][:, request.outputs].all()):
        raise InputError(f"{_WHAT}: all {asked} were forgotten before; there is nothing of them left in this model.")
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
            "customer who leaves is loads=[name] with all rows."
        )


#: What holds of every deletion: the model that forgets is a new one.
OLD_MODEL = (
    "The model before still knows what was forgotten, wherever it is kept: its sums minus those of this model are the "
    "sums of the forgotten rows, and of a single row the row itself. Destroy its files and copies, and the data, to "
    "end that."
)
INCOMPLETE = "The result is not complete forgetting:"


def kept_constants(model: Forecaster) -> list[str]:
    """Say what the removed rows still touch through preprocessing that is kept."""
    said = [
        f"{constant['name']} is kept: {constant['description']}; fitted on rows: {constant['fitted_on']}."
        for constant in model.card.fitted
    ]
    if model.card.l2:
        said.append(f"The head is regularised with l2 = {model.card.l2:g}, kept as it was.")
    return said


def what_happened(model: Forecaster, request: Request) -> list[str]:
    """Say what the request meant for this model, where that is not plain."""
    said = []
    unused = len(request.rows) - len(request.unlearn) - len(request.frozen)
    if unused:
        said.append(
            f"{unused} of the {len(request.rows)} rows asked for are validation or test rows, which no part of the "
            "model was fitted on: there is nothing of them to forget."
        )
    withdrawn = request.forgotten(model).all(dim=0) & ~model.forgotten.all(dim=0)
    if bool(withdrawn.any()):
        names = ", ".join(np.array(model.card.load_names)[withdrawn.numpy()])
        said.append(
            f"All measurements of {names} are forgotten: its forecast is 0 from now on, so its true load counts as 0, "
            "too. Its weather stays among the features of the other outputs."
        )
    return said


def why_incomplete(
    model: Forecaster,
    request: Request,
    step: Step,
    form: str = "remain_gradient",
    ihvp: IhvpOptions | None = None,
    reweighted: bool = False,
) -> list[str]:
    """Say why the result is not complete forgetting; nothing said means that it is."""
    said = [*_still_there(model, request)]
    moved = 0
    if reweighted:
        others = torch.from_numpy(np.setdiff1d(np.arange(len(step.weights)), request.positions))
        moved = int(((step.weights[others] != 1) & ~model.forgotten[others]).any(dim=1).sum())
    if moved:
        said.append(
            f"{INCOMPLETE} {moved} remaining rows were re-weighted with scores computed at the original parameters; "
            "the result depends on the removed rows through that."
        )
    if form == "first_order":
        said.append(
            f"{INCOMPLETE} the first-order form's Hessian still held the removed rows, so part of their influence is "
            "kept."
        )
    if ihvp is not None and ihvp.damping > 0:
        said.append(
            f"{INCOMPLETE} the Hessian was damped by {ihvp.damping:g}, which shortens the step, so part of the "
            "removed rows' influence is kept."
        )
    residual = float(step.statistics["relative_residual"])
    if residual > 1e-8:
        said.append(f"{INCOMPLETE} the linear solve ended with a relative residual of {residual:.1e}.")
    if not reweighted and form != "remain_gradient" and step.stationarity_before > AT_MINIMUM:
        said.append(
            f"{INCOMPLETE} the parameters were {step.stationarity_before:.1e} (relative) away from the minimum of "
            "their training problem, and this form keeps that; form='remain_gradient' does not."
        )
    if not earlier(model).get("complete_as_given", True):
        said.append(f"{INCOMPLETE} an earlier step on this model was not.")
    return said


def earlier(model: Forecaster) -> dict[str, bool]:
    """Whether what was forgotten before is complete, and whether it is if rows taken as given were the true ones."""
    if not model.card.forgotten:
        return {}
    last = model.card.forgotten[-1]
    # Models that were saved earlier call it "complete_as_declared", or have no third state.
    as_given = last.get("complete_as_given", last.get("complete_as_declared", last["complete"]))
    return {"complete": last["complete"], "complete_as_given": as_given}


def _still_there(model: Forecaster, request: Request) -> list[str]:
    """What saw the rows and keeps it: the frozen extractor, and loads that are features of other rows."""
    said = []
    if len(request.frozen):
        first = request.timestamps[int(request.frozen[0])]
        said.append(
            f"{INCOMPLETE} {len(request.frozen)} of the {len(request.rows)} rows asked for (the first is {first}) "
            "trained the extractor, which is frozen and was not changed. Fit the network anew on data without them."
        )
    names = model.card.load_names
    meant = {names[int(b)] for b in request.outputs}
    gone = request.head_rows[request.forgotten(model).all(dim=1).numpy()]
    kept = np.setdiff1d(request.fitted_on, gone)
    for lag in model.card.lags:
        if lag["load"] is not None and lag["load"] not in meant:
            continue
        held = np.isin(kept[:, None] - np.array(lag["hours"]), request.rows).any(axis=1)
        if held.any():
            said.append(
                f"{INCOMPLETE} {Lag(**lag)}, so forgotten loads are still features of {int(held.sum())} other "
                "training rows. Fit without this feature, or anew on data without these loads."
            )
    return said


@dataclass(frozen=True, eq=False)
class Forgotten:
    """What `forget`, `forget_rows` or `reweight` did.

    Attributes:
        model: the unlearnt forecaster.
        unlearn_rows: rows of the data set that were forgotten.
        not_forgotten: rows of the data set that were asked for and stay, because only the frozen extractor was
            trained on them.
        hours: first and last hour of each run of forgotten rows, as ISO text.
        weights: weight of each of the head's n training rows (`model.training_rows(dataset)`), 0 where removed,
            shape (n,); with `loads` those of the first load named (`model.weights` holds all, one column per output).
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for.
        criterion: name of the criterion that weights were chosen by; None for complete unlearning.
        complete: True if the result is the model retrained on what remains, up to rounding, and nothing else of the
            model learnt from what was asked for.
        complete_as_given: True if it is, provided that data which the caller gave (`forget_rows`) is what the model
            was fitted on; the model cannot check that. `forget`, given the data set, checks it at its next step.
        statistics: solver, residual, condition number, steps.
        seconds: wall time by stage.
        limitations: what still depends on the removed rows, in sentences; read this before you
            certify a deletion.
        tuned: how the model was tuned afterwards, from what remains alone; None if it was not.
    """

    model: Forecaster
    unlearn_rows: IntArray
    not_forgotten: IntArray
    hours: list[list[str]]
    weights: FloatArray
    distance_to_original: float
    distance_to_retrained: float | None
    criterion: str | None
    complete: bool
    complete_as_given: bool
    statistics: dict[str, float | str]
    seconds: dict[str, float]
    limitations: list[str] = field(default_factory=list)
    tuned: Tuned | None = None

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "complete as given" if self.complete_as_given else "not complete"
        by = "" if self.criterion is None else f", re-weighted by {self.criterion}"
        left = f", rows not forgotten: {len(self.not_forgotten)}" if len(self.not_forgotten) else ""
        then = "" if self.tuned is None else f", tuned by {self.tuned.method} for {self.tuned.criterion}"
        return f"Forgotten({type(self.model).__name__}, rows removed: {len(self.unlearn_rows)}{left}, {kind}{by}{then})"


def concluded(
    model: Forecaster,
    request: Request,
    step: Step,
    loads: Sequence[str] | None,
    said: list[str],
    seconds: dict[str, float],
    given: Sequence[str] = (),
    criterion: str | None = None,
    l1_budget: float = 0.0,
    distance_to_retrained: float | None = None,
    further: Sequence[str] = (),
) -> Forgotten:
    """The result of a step.

    `said` is why it is incomplete, nothing if it is not; `given` what had to be taken as the caller gave it; `further`
    what else is to be said.
    """
    hours = hour_ranges(request.timestamps, request.unlearn)
    verdict = {"complete": not said and not given, "complete_as_given": not said}
    forgotten = request.forgotten(model)
    event = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(request.unlearn),
        "hours": hours,
        "not_forgotten": hour_ranges(request.timestamps, request.frozen),
        "loads": None if loads is None else list(loads),
        "criterion": criterion,
        "l1_budget": float(l1_budget),
        "switched_off": int(((step.weights == 0) & ~forgotten).any(dim=1).sum()),
        **verdict,
    }
    return Forgotten(
        model=model.with_theta(step.theta, step.weights, event, step.sums, forgotten),
        unlearn_rows=request.unlearn,
        not_forgotten=request.frozen,
        hours=hours,
        weights=step.weights[:, request.outputs[0]].numpy(),
        distance_to_original=relative_distance(step.theta, model.theta),
        distance_to_retrained=distance_to_retrained,
        criterion=criterion,
        complete=verdict["complete"],
        complete_as_given=verdict["complete_as_given"],
        statistics=step.statistics,
        seconds=seconds,
        limitations=[*kept_constants(model), *what_happened(model, request), *said, *given, OLD_MODEL, *further],
    )
