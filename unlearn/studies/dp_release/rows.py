"""Tables of the page on differentially private statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import Spread, text, write
from unlearn.studies.dp_release.claims import rounded
from unlearn.studies.dp_release.options import PURE, WITHIN, ZCDP
from unlearn.studies.dp_release.table import INTACT, LEVEL_NAMES, MECHANISM_NAMES, SPAN_NAMES, TRUE, DpReleaseTable

Row = dict[str, Any]


def noise_rows(table: DpReleaseTable) -> list[Row]:
    """A row for each mechanism and level."""
    rows = []
    for _, row in table.rows("noise", "scale_formula").iterrows():
        own = {"mechanism": row["mechanism"], "level": row["level"], "query": row["query"]}
        rows.append(
            {
                "noise": named(row["mechanism"], MECHANISM_NAMES),
                "protects": named(row["level"], LEVEL_NAMES),
                f"scale by formula [{_unit(row)}]": write(row["value"], ".5g"),
                "in the measurement": write(table.value("noise", "scale_measured", **own), ".5g"),
                "p": write(table.value("noise", "p_value", **own), ".2g"),
                "deviation": write(table.value("noise", "sd_ratio", **own), ".3f"),
            }
        )
    return rows


def audit_rows(table: DpReleaseTable) -> list[Row]:
    """A row for each audited release, those broken on purpose last."""
    return [
        {
            "release": "as it is" if row["method"] == INTACT else f"broken: {row['method']}",
            "query": str(row["query"]).replace("_", " "),
            "noise": named(row["mechanism"], MECHANISM_NAMES),
            "protects": named(row["level"], LEVEL_NAMES),
            "ε promised": f"{row['epsilon']:g}",
            "ε at least": write(row["value"], ".3f"),
            "promise broken": "yes" if row["value"] > row["epsilon"] else "no",
        }
        for part in (table.intact, table.broken)
        for row in part.to_dict("records")
    ]


def homes_rows(table: DpReleaseTable) -> list[Row]:
    """Homes that 1 % and 0.1 % take, by level and span, at the main ε."""
    rows, eps = [], table.main_epsilon
    for level in table.levels:
        for span in table.spans:
            row: Row = {"protects": LEVEL_NAMES[level], "hours": SPAN_NAMES[span]}
            for mechanism, name in ((PURE, "pure ε"), (ZCDP, "ε, δ")):
                own = {"level": level, "span": span, "epsilon": eps, "mechanism": mechanism}
                most = rounded(table.value("error", "homes_95", **own))
                row[f"1 %, {name}"] = f"{rounded(table.homes(level, span, eps, WITHIN[0], mechanism))} ({most})"
                row[f"0.1 %, {name}"] = rounded(table.homes(level, span, eps, WITHIN[1], mechanism))
            own["mechanism"] = table.mechanism(level, span, eps)
            row["measured"] = write(_first(table, "error_at_homes", **own), ".2%")
            rows.append(row)
    return rows


def error_rows(table: DpReleaseTable) -> list[Row]:
    """Errors by place, level and span, at each ε; a span whose errors are those of a shorter one stands once."""
    rows = []
    for place in ("feeder", "substation", "area"):
        for level in table.levels:
            for span in table.spans:
                row: Row = {"place": place, "protects": LEVEL_NAMES[level], "hours": SPAN_NAMES[span]}
                for eps in table.epsilons:
                    row[f"ε = {eps:g}"] = write(table.error(place, level, span, eps), ",.1%")
                eps = table.main_epsilon
                row["within 1 %"] = write(table.error(place, level, span, eps, "within_1"), ".1%")
                row["within 0.1 %"] = write(table.error(place, level, span, eps, "within_01"), ".1%")
                rows.append(row)
    return rows


def composition_rows(table: DpReleaseTable) -> list[Row]:
    """ε of several answers by each rule."""
    found = table.rows("composition", "epsilon")
    return [
        {
            "answers": f"{n:,.0f}",
            "added up": write(table.value("composition", "epsilon", composition="basic", answers=n), "short"),
            "advanced": write(table.value("composition", "epsilon", composition="advanced", answers=n), "short"),
            "concentrated": write(table.value("composition", "epsilon", composition="zcdp", answers=n), "short"),
        }
        for n in sorted(found["answers"].unique().tolist())
    ]


def query_rows(table: DpReleaseTable) -> list[Row]:
    """A row for each query."""
    rows = []
    for row in table.rows("queries", "value").to_dict("records"):
        own = {"query": row["query"]}
        covered = table.rows("queries", "coverage", **own)
        rows.append(
            {
                "query": row["query"].replace("_", " "),
                "ε": f"{row['epsilon']:g}",
                "protects": LEVEL_NAMES[row["level"]],
                "values": write(table.value("queries", "values", **own), ",.0f"),
                "answer": Spread(row["value"], row["low"], row["high"]).text("short"),
                "truth": write(table.value("queries", "truth", **own), "short"),
                "unit": row["unit"],
                "coverage": _interval(covered),
                "ms": write(1000 * table.value("queries", "seconds", **own), ".3g"),
                "bytes": write(table.value("queries", "bytes", **own), ",.0f"),
            }
        )
    return rows


def peak_rows(table: DpReleaseTable) -> list[Row]:
    """ε by number of homes."""
    found = table.rows("peak", "epsilon")
    return [
        {
            "homes": f"{homes:,.0f}",
            **{
                f"ε for ±{100 * within:g} %": write(table.value("peak", "epsilon", homes=homes, within=within), ".2g")
                for within in sorted(found["within"].unique(), reverse=True)
            },
            f"± at ε = {table.main_epsilon:g}": write(table.value("peak", "error", homes=homes), ",.2%"),
            "runs within": write(table.value("peak", "coverage", homes=homes), ".1%"),
        }
        for homes in sorted(found["homes"].unique().tolist())
    ]


def hierarchy_rows(table: DpReleaseTable) -> list[Row]:
    """Errors before and after the projection."""
    found = table.rows("hierarchy", "error")
    return [
        {
            "place": place,
            "protects": LEVEL_NAMES[level],
            "ε": f"{eps:g}",
            **{
                title: write(
                    table.value("hierarchy", "error", place=place, level=level, epsilon=eps, method=method), ",.1%"
                )
                for method, title in (
                    ("alone", "whole ε, this place alone"),
                    ("raw", "a third of ε"),
                    ("consistent", "consistent"),
                    ("non-negative", "and non-negative"),
                )
            },
        }
        for level, eps, place in found[["level", "epsilon", "place"]].drop_duplicates().itertuples(index=False)
    ]


def local_rows(table: DpReleaseTable) -> list[Row]:
    """Noise by who adds it."""
    return [
        {
            "noise": row["method"],
            "error": write(row["value"], ",.1%"),
            "deviation [kWh]": write(table.value("local", "sd", method=row["method"]), ".3g"),
            "times the central one": write(table.value("local", "ratio", method=row["method"]), ".3f"),
        }
        for row in table.rows("local", "error").to_dict("records")
    ]


def utility_rows(table: DpReleaseTable, epsilon: float | None = None) -> list[Row]:
    """MAPE and cost of forecasts by what they learnt from; with an ε those of it, and what has none."""
    found = table.rows("utility", "mape", method=...)
    keys = ["method", "level", "epsilon", "larger", "forecaster"]
    rows = []
    for key in found[keys].drop_duplicates().itertuples(index=False):
        wanted: Row = {name: None if pd.isna(own) else own for name, own in zip(keys, key, strict=True)}
        if epsilon is not None and wanted["epsilon"] not in (None, epsilon):
            continue
        true = table.spread("utility", "cost", method=TRUE, forecaster=wanted["forecaster"], larger=1.0)
        cost = table.spread("utility", "cost", **wanted)
        added = None if not (true and cost) else cost.mean / true.mean - 1
        rows.append(
            {
                "learnt from": wanted["method"],
                "protects": LEVEL_NAMES.get(str(wanted["level"]), "–"),
                "ε": "–" if wanted["epsilon"] is None else f"{wanted['epsilon']:g}",
                "homes stand for": f"{wanted['larger']:g}",
                "forecaster": named(wanted["forecaster"] or "–", FORECASTER_NAMES),
                "MAPE [%]": text(table.spread("utility", "mape", **wanted), "short"),
                "cost": text(cost, ",.0f"),
                "against true loads": write(added, "+.1%"),
                "s": write(_released(table, "seconds", wanted), ".2g"),
                "MB": write(_released(table, "bytes", wanted) / 1e6, ".2g"),
            }
        )
    return rows


def _unit(row: pd.Series) -> str:
    return str(row["unit"]).replace("kwh", "kWh")


def _released(table: DpReleaseTable, metric: str, wanted: Row) -> float:
    """Seconds that a release took, or its bytes; of feeders as they are."""
    own = {name: wanted[name] for name in ("method", "level", "epsilon")}
    return table.value("release", metric, **own) if wanted["larger"] == 1 else np.nan


def _first(table: DpReleaseTable, metric: str, **wanted: Any) -> float:
    found = table.rows("error", metric, **wanted)["value"]
    return float(found.iloc[0]) if len(found) else np.nan


def _interval(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    return f"{row['value']:.1%} ({row['low']:.0%} to {row['high']:.0%})".replace("%", " %")
