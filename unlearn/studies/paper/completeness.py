"""How the three criteria move as more is forgotten completely (Figs 4, 8, 9), and how exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.data import remain_rows
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies._shared.measure import METRICS, HourlyMetrics
from unlearn.studies._shared.study import Study
from unlearn.unlearning import newton_update, relative_distance, retrain


def completeness(study: Study, shares: Sequence[float]) -> pd.DataFrame:
    """Unlearn each share completely; measure original, unlearnt and retrained models.

    Args:
        study: forecaster and protocol.
        shares: shares of the head's training rows to remove.

    Returns:
        Records: every metric on the splits remain, unlearn and test for the methods original and
        unlearnt, on test for retrained; and the relative distance of the unlearnt to the retrained
        parameters for each published form of the update.
    """
    if study.selection == "given":
        raise InputError("completeness: shares need a selection that can be ranked or drawn, got given rows.")
    table = study.records("completeness")
    theta = study.model.theta
    for share in tqdm(shares, desc=f"{study.model.card.kind}: complete unlearning", leave=False):
        rows = study.positions(share)
        retrained = retrain(study.objective, rows)
        for form in ("unlearn_gradient", "remain_gradient", "first_order"):
            update = newton_update(study.objective, theta, rows, form, study.ihvp)
            distance = relative_distance(update.theta, retrained)
            table.add("distance_to_retrained", distance, "relative", method=form, proportion=share)
            if form == "unlearn_gradient":
                unlearnt = study.measure(update.theta, study.priced_rows)
                condition = float(update.solution.statistics.get("condition", float("nan")))
                table.add("hessian_condition", condition, "", method=form, proportion=share)
        splits = {
            "remain": study.training_rows[remain_rows(rows, len(study.training_rows))],
            "unlearn": study.training_rows[rows],
            "test": study.priced_test_rows,
        }
        _add(table, "original", share, study.original, splits)
        _add(table, "unlearnt", share, unlearnt, splits)
        refit = study.measure(retrained, study.priced_test_rows)
        _add(table, "retrained", share, refit, {"test": study.priced_test_rows})
    return table.to_frame()


def _add(table: RecordTable, method: str, share: float, hourly: HourlyMetrics, splits: dict[str, IntArray]) -> None:
    for split, rows in splits.items():
        for metric, value in hourly.means(rows).items():
            table.add(metric, value, METRICS[metric], method=method, proportion=share, split=split)
