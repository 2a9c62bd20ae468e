"""What a deletion does not cover, said in sentences, and what it did to the error."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from unlearn.checks import IntArray, require_rows
from unlearn.criteria import Criterion
from unlearn.data import LoadDataset
from unlearn.data.features import Lag
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.request import Request
from unlearn.unlearning.steps import AT_MINIMUM, Step


def evaluation_rows(dataset: LoadDataset, evaluate_on: str | ArrayLike) -> IntArray:
    """Rows of a data set that a criterion is evaluated on: a named slice, or row numbers."""
    if isinstance(evaluate_on, str):
        if evaluate_on not in ("validation", "test"):
            raise InputError(f'evaluate_on: expected "validation", "test" or row numbers, got {evaluate_on!r}.')
        rows = dataset.split.validation if evaluate_on == "validation" else dataset.split.test
        if not len(rows):
            raise InputError(
                'evaluate_on: this split has no validation rows; use a split with some, or pass evaluate_on="test" '
                "to take the gradient on the test rows as the published code does."
            )
        return rows
    return require_rows("evaluate_on", evaluate_on, len(dataset.timestamps))


def require_base(criterion: Criterion, dataset: LoadDataset) -> None:
    """Refuse to price loads in per unit of another power base than the grid's."""
    grid = getattr(criterion, "grid", None)
    if grid is not None and grid.case.base_mva != dataset.base_mva:
        raise MismatchError(
            f"data set and grid do not match: loads are per unit on {dataset.base_mva:g} MVA, grid {grid.case.name!r} "
            f"on {grid.case.base_mva:g}. Load the data with base_mva={grid.case.base_mva:g}."
        )


#: What holds of every deletion: the model that forgets is a new one.
OLD_MODEL = (
    "The model before still knows what was forgotten, wherever it is kept: its sums minus those of this model are the "
    "sums of the forgotten rows, and of a single row the row itself. Destroy its files and copies, and the data, to "
    "end that."
)
_INCOMPLETE = "The result is not complete forgetting:"


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
            f"{_INCOMPLETE} {moved} remaining rows were re-weighted with scores computed at the original parameters; "
            "the result depends on the removed rows through that."
        )
    if form == "first_order":
        said.append(
            f"{_INCOMPLETE} the first-order form's Hessian still held the removed rows, so part of their influence is "
            "kept."
        )
    if ihvp is not None and ihvp.damping > 0:
        said.append(
            f"{_INCOMPLETE} the Hessian was damped by {ihvp.damping:g}, which shortens the step, so part of the "
            "removed rows' influence is kept."
        )
    residual = float(step.statistics["relative_residual"])
    if residual > 1e-8:
        said.append(f"{_INCOMPLETE} the linear solve ended with a relative residual of {residual:.1e}.")
    if not reweighted and form != "remain_gradient" and step.stationarity_before > AT_MINIMUM:
        said.append(
            f"{_INCOMPLETE} the parameters were {step.stationarity_before:.1e} (relative) away from the minimum of "
            "their training problem, and this form keeps that; form='remain_gradient' does not."
        )
    if not earlier(model).get("complete_as_given", True):
        said.append(f"{_INCOMPLETE} an earlier step on this model was not.")
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
            f"{_INCOMPLETE} {len(request.frozen)} of the {len(request.rows)} rows asked for (the first is {first}) "
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
                f"{_INCOMPLETE} {Lag(**lag)}, so forgotten loads are still features of {int(held.sum())} other "
                "training rows. Fit without this feature, or anew on data without these loads."
            )
    return said
