"""Made-up records of the study of de-identification, two seeds."""

from collections.abc import Iterator

import pandas as pd

from unlearn.records import RecordTable, joined
from unlearn.studies.anonymize.options import OF_SUMS, STEPS
from unlearn.studies.anonymize.table import COPY, HIERARCHY, INDEPENDENT, TWO_WAYS

#: Share found by 1, 4 and 48 known readings.
FOUND = {
    "pseudonyms": (0.1, 0.9, 1.0),
    "rotated": (0.1, 0.9, 1.0),
    "rounded": (0.01, 0.2, 0.98),
    "hourly": (0.02, 0.4, 1.0),
    "six_hourly": (0.01, 0.1, 1.0),
    "daily": (0.01, 0.04, 0.99),
    "weekly": (0.01, 0.02, 0.03),
    "extremes": (0.01, 0.05, 0.9),
    "micro_5": (0.01, 0.03, 0.04),
    "micro_15": (0.01, 0.02, 0.03),
}
ISOLATING = {"sums": 5, "sums_15_15": 2, "suppressed": 0}


def made_records(isolating: int = 0, auc: float = 0.9, found: float = 0.9, relinked: float = 0.8) -> pd.DataFrame:
    """Records of all parts.

    Args:
        isolating: differences that remain after complementary suppression.
        auc: of the sum of 100 who knows a year.
        found: share that 4 known readings find behind pseudonyms.
        relinked: share of pseudonyms that are relinked.
    """
    return joined(list(_tables(isolating, auc, found, relinked)))


def _tables(isolating: int, auc: float, found: float, relinked: float) -> Iterator[pd.DataFrame]:
    for seed in (0, 1):
        table = RecordTable(
            experiment="anonymize", data="made up", grid="ieee9", seed=seed, households=80, main_known=4, step=None
        )
        _add_releases(table)
        for step, (one, four, day) in FOUND.items():
            shares = {1: one, 4: found if step == "pseudonyms" else four, 48: day}
            for known, share in shares.items():
                own = {"part": "linkage", "step": step, "known": known, "low": share - 0.01, "high": share + 0.01}
                for metric in ("right_guess", "unique_right"):
                    table.add(metric, share, "share", **own)
                agree = 1 + (1 - share) * (5 if step == "rounded" else 1)
                table.add("matches", agree, "", part="linkage", step=step, known=known)
                table.add("top_1", share / 2, "share", **own)
                table.add("top_10", min(2 * share, 1), "share", **own)
        for method, share in (("assignment", relinked), ("nearest", relinked - 0.1), ("guessing", 1 / 80)):
            table.add("right", share, "share", part="relinking", method=method)
        for step, risk in (("pseudonyms", 0.6), ("daily", 0.3), (COPY, 0.99), (INDEPENDENT, 0.0)):
            for attack in ("singling_out_multivariate", "linkability"):
                table.add("risk", risk, "", part="risk", step=step, attack=attack, low=risk - 0.1, high=risk + 0.1)
        for size, level in ((1, 1.0), (15, 0.95), (100, auc)):
            for span, less in (("day", 0.3), ("year", 0.0)):
                for target in ("all", "largest"):
                    value = max(level - less, 0.5)
                    own = {"part": "sums", "span": span, "target": target, "group_size": size}
                    table.add("auc", value, "", **own, low=value - 0.02, high=value + 0.02)
        for publication in (HIERARCHY, TWO_WAYS):
            for step, number in {**ISOLATING, "suppressed": isolating}.items():
                own = {"part": "differencing", "publication": publication, "step": step}
                for metric, value in (
                    ("breaking", number),
                    ("isolating", number),
                    ("sums", 6),
                    ("withheld", 2),
                    ("recovered", number),
                ):
                    table.add(metric, value, "", **own)
        for stage, recovered in (("before", 3), ("after", 0)):
            for metric, value in (("districts", 10), ("one_solar", 3), ("recovered", recovered)):
                table.add(metric, value, "", part="composition", stage=stage)
        for metric, value in (
            ("k", 5),
            ("l", 2),
            ("suppressed", 0.02),
            ("ncp", 0.3),
            ("right_guess", 0.04),
            ("unique_before", 0.9),
        ):
            table.add(metric, value, "", part="labels")
        for size, year, day in ((2, 0.4, 0.2), (5, 0.7, 0.4), (15, 0.85, 0.6)):
            for of, value in (("year", year), ("mean day", day)):
                table.add("loss", value, "share", part="microaggregation", class_size=size, of=of)
        for metric, value in (("precision", 0.6), ("base_rate", 0.05)):
            table.add(metric, value, "share", part="patterns", pattern="midday_dip")
        for metric, value in (("right_top", 0.4), ("right_all", 0.1)):
            table.add(metric, value, "share", part="patterns", pattern="night_use")
        _add_utility(table, seed)
        yield table.to_frame()


def _add_releases(table: RecordTable) -> None:
    table.add("households", 80, "", part="setting")
    for i, step in enumerate(STEPS):
        own = {"part": "release", "step": step}
        table.add("bytes", 1e6 / (i + 1), "B", **own)
        table.add("seconds", 0.1, "s", **own)
        table.add("information", 1 - i / 20, "share", **own)
        if step in OF_SUMS:
            table.add("largest_difference", 0, "kwh", **own)
            table.add("withheld", 0.2 if step == "suppressed" else 0, "share", **own)
    table.add("largest_difference", 0.05, "kwh", part="release", step="rounded")


def _add_utility(table: RecordTable, seed: int) -> None:
    for i, step in enumerate(step for step in STEPS if step != "labels"):
        own = {"part": "utility", "step": step, "forecaster": "linear"}
        last = 0.4 if step in OF_SUMS else 0.1 * i
        table.add("mape", 10 + last + seed, "percent", **own)
        table.add("cost", 1000 + 10 * last, "money/h", **own)
        table.add("mape", 5 + last / 4, "percent", **{**own, "part": "total"})
    for kind, mape, cost in (("week before", 20.0, 1500.0), ("perfect forecast", 0.0, 800.0)):
        table.add("mape", mape, "percent", part="utility", forecaster=kind)
        table.add("cost", cost, "money/h", part="utility", forecaster=kind)
    table.add("mape", 9.0, "percent", part="utility", step="raw", forecaster="cnn")
