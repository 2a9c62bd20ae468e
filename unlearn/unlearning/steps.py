"""One step of forgetting on a model: which outputs change, from which weights, to which head.

The Hessian is block diagonal over outputs, so outputs whose weights differ (because single loads were
forgotten before) are problems of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, HeadObjective
from unlearn.linalg import IhvpOptions, inverse_hvp
from unlearn.unlearning.newton import newton_update
from unlearn.unlearning.retrain import retrain


@dataclass(frozen=True, eq=False)
class Step:
    """New head, new weights (n, B), statistics of the worst solve, and how far the old head was from its minimum."""

    theta: Tensor
    weights: Tensor
    statistics: dict[str, float | str]
    undone: float


def touched_outputs(model: Forecaster, loads: Sequence[str] | None) -> Tensor:
    """Positions of the outputs that change."""
    names = model.card.load_names
    return torch.tensor([i for i, name in enumerate(names) if loads is None or name in loads])


def _groups(model: Forecaster, outputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Outputs that share their weights: (weights (n,), positions). One group unless single loads were forgotten."""
    columns, group = torch.unique(model.weights[:, outputs], dim=1, return_inverse=True)
    return [(columns[:, g], outputs[group == g]) for g in range(columns.shape[1])]


def complete_step(
    model: Forecaster, objective: HeadObjective, rows: IntArray, touched: Tensor, form: str, ihvp: IhvpOptions
) -> Step:
    """Forget rows completely in some outputs, from the weights that each of them has now."""
    theta, head, weights = model.theta, model.head.clone(), model.weights.clone()
    solves: list[dict[str, float | str]] = []
    undone = 0.0
    for before, outputs in _groups(model, touched):
        update = newton_update(objective, theta, rows, form, ihvp, before)
        head[outputs] = update.theta.reshape(head.shape)[outputs]
        weights[:, outputs] = update.weights[:, None]
        solves.append(update.solution.statistics)
        left = inverse_hvp(objective, theta, before, objective.gradient(theta, before), ihvp).value
        undone = max(undone, float(left.reshape(head.shape)[outputs].norm() / model.head[outputs].norm()))
    worst = max(solves, key=lambda statistics: float(statistics["relative_residual"]))
    return Step(head.reshape(-1), weights, worst, undone)


def retrained_head(model: Forecaster, objective: HeadObjective, rows: IntArray, touched: Tensor) -> Tensor:
    """The head that refitting those outputs on what remains gives, shape (P,)."""
    head = model.head.clone()
    for before, outputs in _groups(model, touched):
        head[outputs] = retrain(objective, rows, before).reshape(head.shape)[outputs]
    return head.reshape(-1)


def common_weights(model: Forecaster) -> Tensor:
    """The weights of all outputs, (n,); refuses a model whose outputs differ in theirs."""
    if (model.weights != model.weights[:, :1]).any():
        raise InputError(
            "criterion: this model has forgotten single loads, so its outputs have different weights; re-weight before "
            "forgetting single loads, or forget completely (criterion=None)."
        )
    return model.weights[:, 0]
