"""What still depends on the removed rows, in sentences that a privacy officer can read."""

from __future__ import annotations

import numpy as np

from unlearn.checks import IntArray
from unlearn.criteria import Criterion
from unlearn.forecasters import Forecaster
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.steps import AT_MINIMUM, Step


def kept_constants(model: Forecaster) -> list[str]:
    """Say what the removed rows still touch through preprocessing that is kept."""
    said = [
        f"{constant['name']} is kept: {constant['description']}; fitted on rows: {constant['fitted_on']}."
        for constant in model.card.fitted
    ]
    if model.card.l2:
        said.append(f"The head is regularised with l2 = {model.card.l2:g}, kept as it was.")
    return said


def why_incomplete(
    model: Forecaster, step: Step, rows: IntArray, form: str, ihvp: IhvpOptions | None, judge: Criterion | None
) -> list[str]:
    """Say why the result is not complete forgetting; nothing said means that it is."""
    said = []
    moved = 0
    if judge is not None:
        others = np.setdiff1d(np.arange(len(step.weights)), rows)
        moved = int(((step.weights[others] != 1) & (model.weights[others] > 0)).any(dim=1).sum())
    if moved:
        said.append(
            f"The result is not complete forgetting: {moved} remaining rows were re-weighted with scores computed "
            "at the original parameters; the result depends on the removed rows through that."
        )
    if form == "first_order":
        said.append(
            "The result is not complete forgetting: the first-order form's Hessian still held the removed rows, so "
            "part of their influence is kept."
        )
    if ihvp is not None and ihvp.damping > 0:
        said.append(
            f"The result is not complete forgetting: the Hessian was damped by {ihvp.damping:g}, which shortens the "
            "step, so part of the removed rows' influence is kept."
        )
    residual = float(step.statistics["relative_residual"])
    if residual > 1e-8:
        said.append(
            f"The result is not complete forgetting: the linear solve ended with a relative residual of {residual:.1e}."
        )
    if judge is None and form != "remain_gradient" and step.undone > AT_MINIMUM:
        said.append(
            f"The result is not complete forgetting: the parameters were {step.undone:.1e} (relative) away from the "
            "minimum of their training problem, and this form keeps that; form='remain_gradient' does not."
        )
    if not all(event["complete"] for event in model.card.forgotten):
        said.append("The result is not complete forgetting: an earlier step on this model was not.")
    return said
