"""Tables of the page on federated learning."""

from __future__ import annotations

import numpy as np

from unlearn.reporting.verdict import Spread, text, write
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    EXACT,
    FEDERATED,
    HALF_BACK,
    KEPT,
    NOTHING_WRONG,
    OTHER_SEED,
    POOLED,
    PROCESSES,
    RETRAINED,
    ROLLED_BACK,
    SECURE,
    WEIGHTED_MEAN,
)
from unlearn.studies.federated.table import (
    AGGREGATE_NAMES,
    CASE_NAMES,
    FORECASTER_NAMES,
    METHOD_NAMES,
    PILOT_NAMES,
    VIEW_NAMES,
    WRONG_NAMES,
    FederatedTable,
)

Row = dict[str, str]


def size(value: float | Spread | None) -> str:
    """Bytes as people read them."""
    n = value.mean if isinstance(value, Spread) else value
    if n is None or not np.isfinite(n):
        return "–"
    unit, factor = ("MB", 1e-6) if n >= 1e6 else ("kB", 1e-3)
    return f"{write(factor * n, 'short')} {unit}"


def exact_rows(table: FederatedTable) -> list[Row]:
    """A row per forecaster and way to fit it."""
    rows = []
    for forecaster in table.forecasters:
        for method in (FEDERATED, POOLED, ALONE):
            own = {"forecaster": forecaster, "method": method}
            if table.spread("exact", "mse", **own):
                rows.append(
                    {
                        "forecaster": FORECASTER_NAMES[forecaster],
                        "fitted": METHOD_NAMES[method],
                        "distance to pooled": write(table.most("exact", "distance", **own), ".1g"),
                        "MSE [p.u.²]": text(table.spread("exact", "mse", **own), ".4g"),
                        "MAPE [%]": text(table.spread("exact", "mape", **own), ".3g"),
                        "cost [money/h]": text(table.spread("exact", "cost", **own), "short"),
                        "s": write(table.value("exact", "seconds", **own), ".2g"),
                        "sent": size(table.value("exact", "bytes", **own)),
                    }
                )
    return rows


def unlearning_rows(table: FederatedTable) -> list[Row]:
    """A row per leaver, model and way to unlearn."""
    rows = []
    for case in table.cases:
        for forecaster in FORECASTER_NAMES:
            for method in (EXACT, RETRAINED, ROLLED_BACK, HALF_BACK, KEPT, OTHER_SEED):
                own = {"forecaster": forecaster}
                distance = table.unlearnt(case, method, **own)
                if not distance:
                    continue
                rows.append(
                    {
                        "leaves": CASE_NAMES[case],
                        "model": FORECASTER_NAMES[forecaster],
                        "unlearnt by": METHOD_NAMES[method],
                        "distance of forecasts": text(distance, ".2g"),
                        "of parameters": write(table.unlearnt(case, method, "distance_parameters", **own), ".2g"),
                        "cost [money/h]": write(table.unlearnt(case, method, "cost", **own), "short"),
                        "s": write(table.unlearnt(case, method, "seconds", **own), ".2g"),
                        "sent": size(table.unlearnt(case, method, "bytes", **own)),
                    }
                )
    return rows


def averaging_rows(table: FederatedTable) -> list[Row]:
    """A row per way to train the Mixer, where nothing goes wrong."""
    rows = []
    for method in (AVERAGED, PROCESSES, SECURE, POOLED, ALONE, FEDERATED):
        own: dict[str, str] = {"method": method}
        if method in (AVERAGED, SECURE):
            own |= {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
        if not table.spread("averaging", "mse", **own):
            continue
        against = {metric: table.gap("averaging", metric, own, {"method": POOLED}) for metric in ("mse", "cost")}
        rows.append(
            {
                "trained": "linear, one secure sum" if method == FEDERATED else METHOD_NAMES[method],
                "MSE [p.u.²]": text(table.spread("averaging", "mse", **own), ".4g"),
                "against pooled [%]": text(against["mse"], "+.2g"),
                "MAPE [%]": text(table.spread("averaging", "mape", **own), ".3g"),
                "cost [money/h]": text(table.spread("averaging", "cost", **own), "short"),
                "cost against pooled [%]": text(against["cost"], "+.2g"),
                "s": write(table.value("averaging", "seconds", **own), "short"),
                "sent": size(table.value("averaging", "bytes", **own)),
            }
        )
    return rows


def wrong_rows(table: FederatedTable) -> list[Row]:
    """A row per way to put updates together: the error where something goes wrong over the error where nothing does."""
    rows = []
    for aggregate in table.aggregates:
        row = {"updates put together by": AGGREGATE_NAMES[aggregate]}
        for wrong in table.wrongs:
            row[f"MSE, {WRONG_NAMES[wrong]} [times]"] = text(table.under(wrong, aggregate), ".3g")
        rows.append(row)
    return rows


def spent_rows(table: FederatedTable) -> list[Row]:
    """ε of the training by the members that are left."""
    return [
        {
            "members left in each round": f"{survivors:g}",
            "promised ε": write(table.spent("promised", survivors), ".3g"),
            "ε of what was released": write(table.spent("right", survivors), ".3g"),
            "shares of noise sized for all": write(table.spent("naive", survivors), ".3g"),
        }
        for survivors in table.survivors
    ]


def pilot_rows(table: FederatedTable) -> list[Row]:
    """A row per way to tell owners of electric cars."""
    rows = []
    for method, name in PILOT_NAMES.items():
        for epsilon in table.pilot_epsilons if method.startswith("private") else [None]:
            if auc := table.pilot(method, "auc", epsilon):
                rows.append(
                    {
                        "classifier": f"{name}, ε = {epsilon:g}" if epsilon else name,
                        "AUC": auc.text(".3f"),
                        "balanced accuracy": text(table.pilot(method, "balanced_accuracy", epsilon), ".3f"),
                        "AUC, these households": text(table.pilot(method, "auc", epsilon, "these"), ".3f"),
                    }
                )
    return rows


def inversion_rows(table: FederatedTable) -> list[Row]:
    """A row per kind of attacked update."""
    rows = []
    for view, batch, noise in table.attacked:
        seen = VIEW_NAMES[view] + ("" if np.isnan(noise) else f", {noise:g} of the norm")
        rows.append(
            {
                "seen": seen,
                "windows": f"{batch:g}",
                "error [of the load]": text(table.inversion(view, batch, noise, "error"), ".2g"),
                "guessing": text(table.inversion(view, batch, noise, "guess"), ".2g"),
                "over guessing": text(table.inversion(view, batch, noise), ".2g"),
            }
        )
    return rows


def traffic_rows(table: FederatedTable) -> list[Row]:
    """A row per joint computation and party: what it sent and received."""
    rows = []
    for family in table.values("traffic", "family"):
        for party in dict.fromkeys(row["party"] for row in table.rows("traffic", "bytes_sent", family=family)):
            own = {"family": family, "party": party}
            rows.append(
                {
                    "computation": str(family),
                    "party": str(party),
                    "messages received": write(table.value("traffic", "messages", **own), ",.0f"),
                    "sent": size(table.value("traffic", "bytes_sent", **own)),
                    "received": size(table.value("traffic", "bytes_received", **own)),
                }
            )
    return rows


def difference_rows(table: FederatedTable) -> list[Row]:
    """What two totals tell of one customer, by the customers that left together."""
    return [
        {
            "customers that leave together": f"{n:g}",
            "error of a customer's mean day [over guessing]": text(
                table.spread("traffic", "difference_relative", n_changed=n), ".2g"
            ),
            "correlation": text(table.spread("traffic", "difference_correlation", n_changed=n), ".2g"),
        }
        for n in sorted(map(float, table.values("traffic", "n_changed")))
    ]
