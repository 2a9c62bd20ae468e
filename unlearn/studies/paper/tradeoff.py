"""The trade-off between complete forgetting and useful forecasts as λ₁ grows (Figs 6-9)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.records import RecordTable
from unlearn.studies._shared.measure import METRICS
from unlearn.studies._shared.study import Study
from unlearn.unlearning import Reweighting, relative_distance, retrain


def tradeoff(
    study: Study, share: float, l1_budgets: Sequence[float], criteria: Sequence[str] = ("mse", "mape", "cost")
) -> pd.DataFrame:
    """Remove a share, re-weight the rest for each criterion and budget, measure on the test rows.

    Args:
        study: forecaster and protocol.
        share: share of the head's training rows to remove.
        l1_budgets: values of λ₁; 0 is complete unlearning.
        criteria: what to re-weight for: PAMU for "mse" and "mape", TAMU for "cost".

    Returns:
        Records on the split test: every metric of the methods original, retrained and reweighted
        (one row per criterion and budget), with the distance of the parameters to the retrained
        and the original ones.
    """
    table = study.records("tradeoff")
    rows = study.positions(share)
    share = len(rows) / study.objective.n_samples
    theta = study.model.theta
    retrained = retrain(study.objective, rows)
    _add(study, table, theta, retrained, method="original", proportion=share)
    _add(study, table, retrained, retrained, method="retrained", proportion=share)
    jobs = [(criterion, budget) for criterion in criteria for budget in l1_budgets]
    for criterion, budget in tqdm(jobs, desc=f"{study.model.card.kind}: trade-off", leave=False):
        columns = {"method": "reweighted", "criterion": criterion, "proportion": share, "l1_budget": budget}
        new_theta = _reweighted(study, rows, criterion, budget)
        _add(study, table, new_theta, retrained, **columns)
    return table.to_frame()


def _reweighted(study: Study, rows: IntArray, criterion: str, budget: float) -> Tensor:
    program = Reweighting(budget, study.linf_budget)
    slope = study.gradient(criterion).gradient
    return program.update(study.objective, study.model.theta, rows, slope, study.ihvp).theta


def _add(study: Study, table: RecordTable, theta: Tensor, retrained: Tensor, **columns: object) -> None:
    for metric, value in study.measure(theta, study.priced_test_rows).means(study.priced_test_rows).items():
        table.add(metric, value, METRICS[metric], split="test", **columns)
    table.add("distance_to_retrained", relative_distance(theta, retrained), "relative", **columns)
    table.add("distance_to_retrained_2norm", float((theta - retrained).norm()), "pu", **columns)
    table.add("distance_to_original", relative_distance(theta, study.model.theta), "relative", **columns)
