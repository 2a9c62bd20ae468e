"""What is done about flagged hours: complete unlearning, and re-weighting what remains (PAMU, TAMU)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.data import Poisoned
from unlearn.errors import MismatchError
from unlearn.forecasters import Forecaster
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.studies._shared.study import Study
from unlearn.studies.poisoning.detection import validation_hours
from unlearn.studies.poisoning.options import PoisoningOptions
from unlearn.unlearning import Reweighting, forget


@short_repr
@dataclass(frozen=True, eq=False)
class Mitigation:
    """A head that could be used from now on.

    Attributes:
        columns: what names it in records: method, criterion, l1_budget.
        theta: the head, shape (P,).
        weights_differ: share of the remaining rows whose weight would be another one had the flagged rows never been
            seen; 0 for complete unlearning.
    """

    columns: dict[str, object]
    theta: Tensor
    weights_differ: float = 0.0


def refitted(model: Forecaster, poisoned: Poisoned) -> Forecaster:
    """Fit a forecaster's head to the poisoned loads; what was frozen stays.

    Scalers and extractors see features and trusted core hours only, so the result is what fitting from the start gives.

    Args:
        model: fitted on the original data set.
        poisoned: the same with poison in the rows that the head is fitted on.

    Raises:
        MismatchError: the model was fitted on another data set, or rows that its extractor was trained on are
            poisoned.
    """
    model.require_match(poisoned.original)
    frozen = np.setdiff1d(np.flatnonzero(poisoned.mask), model.training_rows(poisoned.original))
    if frozen.size:
        raise MismatchError(
            f"refit: expected poison in rows of the head only, got {frozen.size} poisoned rows of the core, which the "
            "extractor was trained on. Poison rows=dataset.split.sensitive."
        )
    copied = model.with_theta(model.theta)
    copied.card = replace(model.card, fingerprint=poisoned.dataset.fingerprint)
    return copied.fitted_to(poisoned.dataset)


def mitigations(study: Study, rows: IntArray, options: PoisoningOptions) -> Iterator[Mitigation]:
    """Complete unlearning of rows, and re-weighting for every criterion and budget.

    Args:
        study: a forecaster that was fitted on poisoned rows.
        rows: positions of the flagged hours in the head's training rows; where there are none, re-weighting goes
            without forgetting and complete unlearning leaves the model as it is.
        options: criteria and budgets.
    """
    theta = study.model.theta
    unlearn = study.training_rows[rows]
    complete = forget(study.model, study.dataset, unlearn, ihvp=study.ihvp).model.theta if len(rows) else theta
    yield Mitigation({"method": "unlearnt"}, complete)
    for criterion in options.criteria:
        for budget in options.l1_budgets:
            program = Reweighting(budget, study.linf_budget)
            epsilon = _weights(study, rows, criterion, program, theta, study.gradient(criterion).gradient)
            never = _weights(study, rows, criterion, program, complete, _gradient_at(study, criterion, complete))
            differ = float((np.abs(epsilon - never) > 1e-9).sum() / (len(epsilon) - len(rows)))
            # For a quadratic loss the step of re-weighting is the weighted fit.
            yield Mitigation(
                {"method": "reweighted", "criterion": criterion, "l1_budget": budget},
                study.objective.fit(torch.from_numpy(epsilon)),
                differ,
            )


def _weights(
    study: Study, rows: IntArray, criterion: str, program: Reweighting, theta: Tensor, slope: Tensor
) -> FloatArray:
    """ε, shape (n,), 0 on flagged rows, with scores taken at `theta`."""
    remain = np.ones(study.objective.n_samples, dtype=bool)
    remain[rows] = False
    ones = torch.from_numpy(remain.astype(np.float64))
    influence = influence_scores(study.objective, theta, slope, ones, study.ihvp).numpy()
    epsilon = np.zeros(len(remain))
    # The influence of removing a sample is minus its score.
    epsilon[remain] = program.weights(-influence[remain])
    return epsilon


def _gradient_at(study: Study, criterion: str, theta: Tensor) -> Tensor:
    """Gradient of a criterion at another head, on the hours that the study's own is taken on."""
    hours, dataset = validation_hours(study), study.dataset
    loads = dataset.load_pu[hours]
    return criterion_gradient(
        study.model.with_theta(theta), study.criteria[criterion], dataset.features[hours], loads
    ).gradient
