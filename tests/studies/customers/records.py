"""Hand-made records of the study: round numbers that verdicts are computed from by heart."""

from collections.abc import Iterator

import pandas as pd

from unlearn.records import RecordTable

SEEDS, BUSES, SEGMENTS = (0, 1), ("bus_1", "bus_2", "bus_3", "bus_4"), ("poor", "rich")
#: Cost of the forgotten model by case and share; before it is 100 above a perfect forecast of 50.
COST = {
    ("leaves", 0.05): 140.0,
    ("leaves", 0.5): 100.0,
    ("objects", 0.05): 210.0,
    ("objects", 0.5): 550.0,
    ("class_mean", 0.05): 160.0,
    ("class_mean", 0.5): 170.0,
}


def made_records(
    *, complete: float = 1.0, told: float = 0.5, control: float = 0.9, audited: bool = True
) -> pd.DataFrame:
    """Records of two seeds, the second of which costs 10 more before and after.

    Args:
        complete: of every cell.
        told: AUC of the attack on forgotten models.
        control: AUC of the positive control.
        audited: whether attacks were tried.
    """
    tables = [*_seeds(complete)]
    if audited:
        table = _table(0)
        for method, auc in (
            ("forgotten", told),
            ("forgotten, both models shown", told),
            ("positive control", control),
            ("negative control", 0.5),
        ):
            ends = {"low": auc - 0.05, "high": auc + 0.05, "part": "audit", "method": method, "pairs": 100}
            table.add("mean_auc", auc, "", **ends)
            for target in range(3):
                table.add("auc", auc, "", target=target, **ends)
        table.add("largest_difference", 1e-15, "relative", part="audit", method="forgotten")
        tables.append(table.to_frame())
    return pd.concat(tables, ignore_index=True)


def _table(seed: int) -> RecordTable:
    about = {"data": "made", "grid": "four", "weather": "none", "n_customers": 40}
    return RecordTable(experiment="customers", protocol="fair", seed=seed, split="test", **about)


def _seeds(complete: float) -> Iterator[pd.DataFrame]:
    for seed in SEEDS:
        table, more = _table(seed), 10.0 * seed
        _add_original(table, more)
        for (case, share), cost in COST.items():
            _add_cell(table, case, share, cost + more, complete)
        for case in ("objects", "class_mean"):
            _add_division(table, case)
        table.add(
            "refused", 1, part="refusal", forecaster="linear", case="class_mean", selection="segment: rich",
            proportion=0.5, reason="refused", why="expected at least 15 members",
        )  # fmt: skip
        for i in range(20):
            own = {"part": "worth", "customer": i, "bus": BUSES[i % 4], "segment": SEGMENTS[i % 2]}
            for term, sign in (("model", 1), ("load", -1)):
                table.add("worth", sign * (i + 1), "money/h", criterion="cost", method="influence", term=term, **own)
            table.add("worth", i - 5, "money/h", criterion="cost", method="removed", case="class_mean", **own)
            table.add("energy", 100 * (i + 1), "kwh", method="meter", **own)
            table.add("households", 1000, "", **own)
        for metric, value in (("spearman", 0.99), ("calibration", 1.1), ("removals", 20)):
            table.add(metric, value, "", part="agreement", criterion="cost")
            table.add(metric, value, "", part="agreement", criterion="mse")
        for kind, names in (("load", BUSES), ("class", SEGMENTS)):
            for name in names:
                for metric, value in (("customers", 10), ("largest_share", 0.2), ("meets_15_15", 0)):
                    table.add(metric, value, "", part="group", method=kind, bus=name)
        yield table.to_frame()


def _add_original(table: RecordTable, more: float) -> None:
    own = {"part": "original", "forecaster": "linear"}
    for method, cost in (("original", 150.0 + more), ("original_tuned", 130.0 + more), ("perfect", 50.0)):
        table.add("cost", cost, "money/h", method=method, **own)
    table.add("mape", 10.0, "percent", method="original", **own)
    for bus in BUSES:
        table.add("mape", 10.0, "percent", part="bus", method="original", forecaster="linear", bus=bus)


def _add_cell(table: RecordTable, case: str, share: float, cost: float, complete: float) -> None:
    own = {"part": "cell", "forecaster": "linear", "case": case, "selection": "random", "proportion": share}
    own["customers"] = round(40 * share)
    perfect = 40.0 if case == "leaves" else 50.0
    table.add("cost", cost, "money/h", method="forgotten", **own)
    table.add("cost", cost - 20, "money/h", method="forgotten_tuned", **own)
    table.add("cost", perfect, "money/h", method="perfect", **own)
    if case == "leaves":
        table.add("cost", cost - 10, "money/h", method="stale", **own)
        table.add("cost", cost - 10, "money/h", method="stale_tuned", **own)
    for metric, value in (("complete", complete), ("distance_to_retrained", 1e-14), ("seconds", 0.1), ("bias", -1.0)):
        table.add(metric, value, "", method="forgotten", **own)
    table.add("mape", 11.0, "percent", method="forgotten", **own)
    if share == 0.05:
        table.add(
            "limitation", 1, method="forgotten", why="The readings still lie there.", **{**own, "part": "limitation"}
        )


def _add_division(table: RecordTable, case: str) -> None:
    own = {"forecaster": "linear", "case": case, "selection": "random", "proportion": 0.05, "method": "forgotten"}
    for bus, change in zip(BUSES, (60.0, 25.0, 10.0, 5.0), strict=True):
        table.add("change_of_cost", change, "money/h", part="bus", bus=bus, **own)
        table.add("mape", 11.0, "percent", part="bus", bus=bus, **own)
    for segment, change in zip(SEGMENTS, (100.0, 300.0), strict=True):
        table.add("change_per_customer", change, "money/year", part="segment", segment=segment, **own)
    for metric, value in (("change_of_cost", 100.0), ("attribution_gap", 0.001), ("borne_by_removed", 0.2)):
        table.add(metric, value, "", part="division", **own)
