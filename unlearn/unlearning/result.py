"""What forgetting did: the new model, and in sentences what it does not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

from unlearn.checks import FloatArray, IntArray
from unlearn.data import LoadDataset
from unlearn.data.features import Lag
from unlearn.data.hours import hour_ranges
from unlearn.forecasters import Forecaster
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.request import Request
from unlearn.unlearning.steps import AT_MINIMUM, Step, relative_distance

if TYPE_CHECKING:
    from unlearn.unlearning.tuning.apply import Tuned


#: What holds of every deletion: the model that forgets is a new one.
OLD_MODEL = (
    "The model before still knows what was forgotten, wherever it is kept: its sums minus those of this model are the "
    "sums of the forgotten rows, and of a single row the row itself. Destroy its files and copies, and the data, to "
    "end that."
)
#: What a model that is fitted anew learns anew beside its head, where it can.
FITTED_ANEW = ("choice of columns", "feature scaler")
INCOMPLETE = "The result is not complete forgetting:"


def kept_constants(model: Forecaster, anew: Forecaster | None) -> list[str]:
    """Say what the removed rows still touch through preprocessing that is kept, also by a model that is fitted anew."""
    again = () if anew is None or not anew.design_fitted_anew else FITTED_ANEW
    said = [
        f"{constant['name']} is kept: {constant['description']}; fitted on rows: {constant['fitted_on']}."
        for constant in model.card.fitted
        if constant["name"] not in again
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
    gone = request.head_rows[request.forgotten(model).all(dim=1).numpy()]
    said = [*still_there(model, request, np.setdiff1d(request.fitted_on, gone)), *_imputed_before(model)]
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


def still_there(model: Forecaster, request: Request, kept: IntArray, anew: bool = False) -> list[str]:
    """What saw the rows and keeps it: the frozen extractor, and loads that are features of rows which are kept.

    Args:
        model: the model before.
        request: what is forgotten.
        kept: rows whose features, as they were, are still in the model.
        anew: whether all that can be fitted anew is, so that no further remedy is left.
    """
    said = []
    if len(request.frozen):
        first = request.timestamps[int(request.frozen[0])]
        said.append(
            f"{INCOMPLETE} {len(request.frozen)} of the {len(request.rows)} rows asked for (the first is {first}) "
            "trained the extractor, which is frozen and was not changed. Fit the network anew on data without them."
        )
    meant = loads_meant(model, request)
    for lag in (Lag(**own) for own in model.card.lags):
        if lag.load is not None and lag.load not in meant:
            continue
        held = len(request.held_by(lag.hours, kept))
        if held:
            again = ' or lagged="impute" (the feature is made again without these loads)' if lag.made else ""
            way = f'From the model before, forget with lagged="drop" (these rows go, too){again}.'
            frozen = "These trained what is frozen. Fit the model anew on data without these loads."
            said.append(
                f"{INCOMPLETE} {lag}, so forgotten loads are still features of {held} other training rows. "
                f"{frozen if anew else way}"
            )
    return said


def loads_meant(model: Forecaster, request: Request) -> list[str]:
    """Names of the loads that are forgotten."""
    return [model.card.load_names[int(b)] for b in request.outputs]


def _imputed_before(model: Forecaster) -> list[str]:
    """What was imputed before from means of what remained then, which is now taken away in part."""
    if not any(event.get("imputed") for event in model.card.forgotten):
        return []
    return [
        f"{INCOMPLETE} loads that were forgotten before were imputed by means of those that remained then, these among "
        'them. Forget with lagged="impute", which imputes them anew.'
    ]


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
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for; where the model was fitted anew because of lags,
            to what another solver gives, None where that is too rough.
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
        lagged_rows: rows of the data set that were not asked for as a whole and went as a whole, because forgotten
            loads were among their features; with `lagged="drop"`.
        dataset: the data set that the model is now fitted on; go on with it. With `lagged="impute"` its forgotten loads
            are imputed, else it is the one that was given; None of `forget_rows`, which has none.
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
    lagged_rows: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    dataset: LoadDataset | None = None

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "complete as given" if self.complete_as_given else "not complete"
        by = "" if self.criterion is None else f", re-weighted by {self.criterion}"
        left = f", rows not forgotten: {len(self.not_forgotten)}" if len(self.not_forgotten) else ""
        left += f", rows that held them: {len(self.lagged_rows)}" if len(self.lagged_rows) else ""
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
    dataset: LoadDataset | None = None,
    anew: Forecaster | None = None,
    more: Mapping[str, object] | None = None,
) -> Forgotten:
    """The result of a step.

    `said` is why it is incomplete, nothing if it is not; `given` what had to be taken as the caller gave it; `further`
    what else is to be said; `dataset` what the model is now fitted on; `anew` the model where it was fitted anew and
    the step is its head; `more` what else the card says of it.
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
        **(more or {}),
    }
    before = model.theta if anew is None else model.head_in_columns_of(anew).reshape(-1)
    return Forgotten(
        model=(anew or model).with_theta(step.theta, step.weights, event, step.sums, forgotten),
        unlearn_rows=request.unlearn,
        not_forgotten=request.frozen,
        hours=hours,
        weights=step.weights[:, request.outputs[0]].numpy(),
        distance_to_original=relative_distance(step.theta, before),
        distance_to_retrained=distance_to_retrained,
        criterion=criterion,
        complete=verdict["complete"],
        complete_as_given=verdict["complete_as_given"],
        statistics=step.statistics,
        seconds=seconds,
        limitations=[*kept_constants(model, anew), *what_happened(model, request), *said, *given, OLD_MODEL, *further],
        lagged_rows=request.head_rows[request.dropped],
        dataset=dataset,
    )
