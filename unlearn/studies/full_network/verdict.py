"""What the full-network study found, said from its records: a paragraph and a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.style import FORECASTER_NAMES
from unlearn.reporting.verdict import NO, UNCLEAR, YES, Block, Page, counted, seeds_of, select

METHOD_NAMES = {
    "head": "head",
    "gauss_newton": "Gauss-Newton",
    "hessian": "Hessian",
    "other seeds": "other seeds' refits",
}
TRUTH_NAMES = {"exact": "least squares", "scratch": "refit from scratch", "warm": "refit warm"}

TITLE = "Influence and Newton unlearning of a whole network"

#: Shares of the distance that are left: below, a step is exact but for rounding; unlearns most; is of some use.
EXACT, MOST, SOME = 1e-6, 0.25, 0.9

NOTE = (
    "Correlations are Spearman's, mean ± standard deviation over seeds. A step goes most of the way where the median "
    f"leaves less than {100 * MOST:g} %, part of the way below {100 * SOME:g} %; it is exact where {EXACT:g} is left."
)

#: What is correlated: metric, use, name.
RANKED = (
    ("spearman", "single", "single rows"),
    ("spearman", "group", "groups"),
    ("lds", "subset", "random halves (LDS)"),
)
#: What a step does, by the median share of the distance that it leaves.
_WAYS = {YES: "goes most of the way", UNCLEAR: "goes part of the way", NO: "is no better than leaving the network"}


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    own = at_chosen_condition(records)
    left = {method: steps_of(own, method, "scratch")["value"].median() for method in ("gauss_newton", "hessian")}
    method, least = min(left.items(), key=lambda pair: pair[1] if pd.notna(pair[1]) else float("inf"))
    return Page(
        "Can one Newton step unlearn rows from a whole network?",
        way(least),
        f"the better of the two curvatures, {METHOD_NAMES[method]}, leaves {100 * least:.0f} % of the distance to a "
        f"refit from scratch in the median: it {_WAYS[way(least)]}.",
        f"{records['data'].iloc[0]} loads. A row or a group of rows is left out and the network is refitted. What "
        "influence and one Newton step had predicted is compared with that.",
        "Predicted against true changes, rank correlations, and what a Newton step leaves",
        [
            Block("What was found", points=summarise(records)),
            Block("All dampings, chosen or not", rows=conditions_table(records), texts=3, note=NOTE),
        ],
        measured=[
            '"Median left" is the share of the distance between network and refit that the Newton step leaves: 0 is '
            "exact, 1 is no better than leaving the network as it was."
        ],
        limits=["Conditions are chosen per method on these refits. Other architectures and data were not tried."],
    )


def way(left: float) -> str:
    """Whether a step that leaves so much of the distance unlearns."""
    return YES if left < MOST else UNCLEAR if left < SOME else NO


def summary(records: pd.DataFrame) -> str:
    """The sentences and the table as Markdown."""
    rows = conditions_table(records)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])] if rows else []
    table = "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])
    return "\n\n".join([f"# {TITLE}", " ".join(summarise(records)), table, NOTE]) + "\n"


def summarise(records: pd.DataFrame) -> list[str]:
    """Say how good influence and Newton steps are for the head and for the whole network, as it came out."""
    own = at_chosen_condition(records)
    name = FORECASTER_NAMES[str(own["forecaster"].iloc[0])]
    rows = int(select(own, metric="rows")["value"].iloc[0])
    groups = select(own, use="group")
    shares = 100 * groups["proportion"]
    sentences = [
        f"A {name} trained on {rows} hours, {seeds_of(own)}, {counted(groups['group'].nunique(), 'group')} of "
        f"{shares.min():.0f} to {shares.max():.0f} % of the rows left out and refitted.",
        f"The head alone: {_step(own, 'head', 'exact')}; {_ranks(own, 'head', 'exact')}.",
    ]
    for method in ("gauss_newton", "hessian"):
        (condition,) = own.loc[own["method"].eq(method) & own["condition"].notna(), "condition"].unique()
        sentences.append(
            f"The whole network, {METHOD_NAMES[method]} damped to a condition number of {condition:.0e}: against "
            f"refits from scratch {_step(own, method, 'scratch')}, against warm ones {_step(own, method, 'warm')}; "
            f"from scratch, {_ranks(own, method, 'scratch')}. {_elsewhere(records.drop(own.index), method)}"
        )
    floor = 100 * noise_share(own)
    first, last = 100 * floor.index.min(), 100 * floor.index.max()
    sentences.append(
        f"Training on all rows in another batch order alone moves the forecasts by {floor.iloc[0]:.0f} % of the "
        f"distance to a refit without {first:.0f} % of the rows, and by {floor.iloc[-1]:.0f} % of that without "
        f"{last:.0f} %; {_ranks(own, 'other seeds', 'scratch')}."
    )
    return [sentence.strip() for sentence in sentences]


def steps_of(records: pd.DataFrame, method: str, truth: str) -> pd.DataFrame:
    """Shares of the distance to the refit that the Newton steps of groups leave."""
    return select(records, metric="distance_to_refit", use="group", method=method, truth=truth)


def _step(records: pd.DataFrame, method: str, truth: str) -> str:
    """What the Newton step leaves of the distance to the refit, and the verdict."""
    left = steps_of(records, method, truth)["value"]
    absent = int(select(records, metric="indefinite", use="group", method=method)["value"].sum())
    if left.empty:
        return "no Newton step exists"
    middle = left.median()
    if middle <= EXACT:
        said = f"the Newton step is exact (at most {left.max():.0e} of the distance to the refit is left)"
    else:
        said = (
            f"the Newton step {_WAYS[way(middle)]} (in the median {100 * middle:.0f} % of the distance is left, "
            f"quartiles {100 * left.quantile(0.25):.0f} to {100 * left.quantile(0.75):.0f} %, and less than all of it "
            f"for {100 * (left < 1).mean():.0f} % of the groups)"
        )
    return f"{said}, and does not exist for {counted(absent, 'group')}" if absent else said


def _elsewhere(records: pd.DataFrame, method: str) -> str:
    """What Newton steps leave at the conditions that were not chosen."""
    medians = steps_of(records, method, "scratch").groupby("condition")["value"].median()
    parts = [f"{100 * left:.0f} % at {condition:.0e}" for condition, left in medians.items()]
    return f"At the conditions that were not chosen it leaves {', '.join(parts)}." if parts else ""


def _ranks(records: pd.DataFrame, method: str, truth: str) -> str:
    found = [(label, _correlations(records, metric, use, method, truth)) for metric, use, label in RANKED]
    parts = [f"{label} at {own.mean():.2f} ({own.min():.2f} to {own.max():.2f})" for label, own in found if len(own)]
    ranker = "one seed's refits rank another's" if method == "other seeds" else "influence ranks"
    return f"{ranker} {', '.join(parts) or 'nothing (one seed)'}"


def _correlations(
    records: pd.DataFrame,
    metric: str,
    use: str,
    method: str,
    truth: str,
    predictors: Sequence[str] = ("influence", "refit"),
) -> pd.Series:
    wanted = {"metric": metric, "use": use, "method": method, "truth": truth, "predictor": predictors}
    return select(records, over="seed", **wanted)["value"]


def conditions_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of all conditions, chosen or not: correlations of both predictors, and what Newton steps leave."""
    rows = []
    for (method, condition), _ in select(records, metric="predicted_change").groupby(["method", "condition"]):
        own, kind = select(records, condition=condition), str(method)
        for truth, name in TRUTH_NAMES.items():
            left = steps_of(own, kind, truth)["value"]
            if left.empty:
                continue
            cells = {
                "Newton: groups": _correlations(own, "spearman", "group", kind, truth, ["newton"]),
                "influence: groups": _correlations(own, "spearman", "group", kind, truth),
                "single rows": _correlations(own, "spearman", "single", kind, truth),
                "LDS": _correlations(own, "lds", "subset", kind, truth),
            }
            row = {"method": METHOD_NAMES[kind], "condition": f"{condition:.0e}" if condition else "–", "truth": name}
            row["median left"] = f"{left.median():.3g}"
            said = {
                name: f"{cell.mean():.2f} ± {cell.std(ddof=0):.2f}" if len(cell) else "–"
                for name, cell in cells.items()
            }
            rows.append(row | said)
    return rows


def at_chosen_condition(records: pd.DataFrame) -> pd.DataFrame:
    """Records without the predictions of conditions that were not chosen."""
    marks = select(records, metric="chosen_condition")
    if marks.empty:
        raise InputError("full network: expected records with the metric chosen_condition; run full_network first.")
    chosen = records["method"].map(dict(zip(marks["method"], marks["value"], strict=True)))
    return records[records["condition"].isna() | (records["condition"] == chosen)]


def noise_share(records: pd.DataFrame) -> pd.Series:
    """Distance between refits on all rows in two batch orders, as a share of that to the refits of each share."""
    distance = select(records, metric="refit_distance", truth="scratch")
    floor = select(distance, use="noise", selection="order")["value"].median()
    return floor / select(distance, use="group").groupby("proportion")["value"].median()
