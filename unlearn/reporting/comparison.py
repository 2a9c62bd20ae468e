"""A table of what was measured beside what was published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unlearn.reporting.labels import protocols_of

CRITERIA = ("mse", "mape", "cost")


def compare(records: pd.DataFrame, published: Mapping[str, Any], share: float) -> pd.DataFrame:
    """Put each forecaster's key quantities beside the published ones.

    Args:
        records: rows of the experiments, any protocols.
        published: published numbers by forecaster, as in `experiments/published.json`.
        share: share forgotten in the trade-off.

    Returns:
        Columns forecaster, quantity, published, and one per protocol.
    """
    rows = []
    for forecaster, numbers in published["forecasters"].items():
        quantities = _published_quantities(numbers)
        columns = {"published": quantities}
        for protocol in protocols_of(records):
            own = records[(records["forecaster"] == forecaster) & (records["protocol"] == protocol)]
            if not own.empty:
                columns[f"here, {protocol} protocol"] = _measured_quantities(own, share)
        for quantity in quantities:
            values = {column: found.get(quantity) for column, found in columns.items()}
            rows.append({"forecaster": forecaster, "quantity": quantity, **values})
    return pd.DataFrame(rows)


def _published_quantities(numbers: Mapping[str, Any]) -> dict[str, float]:
    found = _levels(numbers["original"], numbers["unlearnt"])
    if "tradeoff" in numbers:
        curves = numbers["tradeoff"]["cost"]
        for criterion in CRITERIA:
            found[f"cost balanced for {criterion}, largest λ₁ / complete"] = (
                curves[criterion][-1] / curves[criterion][0]
            )
    for pair, value in numbers["pearson"].items():
        found[f"Pearson {pair.replace('_', '–')}"] = value
    return found


def _measured_quantities(records: pd.DataFrame, share: float) -> dict[str, float]:
    test = records[(records["experiment"] == "tradeoff") & (records["split"] == "test")]
    original, complete = (_values(test[test["method"] == method]) for method in ("original", "retrained"))
    found = _levels(original, complete)
    for criterion in CRITERIA:
        curve = test[(test["criterion"] == criterion) & (test["metric"] == "cost")].sort_values("l1_budget")["value"]
        found[f"cost balanced for {criterion}, largest λ₁ / complete"] = float(curve.iloc[-1]) / complete["cost"]
    pearson = records[(records["experiment"] == "sensitivity") & (records["split"] == "drawn")]
    for metric, value in zip(pearson["metric"], pearson["value"], strict=True):
        if metric.startswith("pearson_"):
            found[f"Pearson {metric.removeprefix('pearson_').replace('_', '–')}"] = float(value)
    return found


def _values(rows: pd.DataFrame) -> dict[str, float]:
    return dict(zip(map(str, rows["metric"]), map(float, rows["value"]), strict=True))


def _levels(original: Mapping[str, float], complete: Mapping[str, float]) -> dict[str, float]:
    found = {}
    for metric in CRITERIA:
        found[f"{metric} original"] = float(original[metric])
        found[f"{metric} complete unlearning"] = float(complete[metric])
        found[f"{metric} complete / original"] = float(complete[metric]) / float(original[metric])
    return found
