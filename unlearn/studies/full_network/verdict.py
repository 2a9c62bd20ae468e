"""What the full-network study found, said from its records: a paragraph and a table."""

from __future__ import annotations

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.labels import FORECASTER_NAMES

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


def summary(records: pd.DataFrame) -> str:
    """The paragraph and the table as Markdown."""
    parts = [f"# {TITLE}", paragraph(records), _markdown(conditions_table(records)), NOTE]
    return "\n\n".join(parts) + "\n"


def paragraph(records: pd.DataFrame) -> str:
    """The sentences as one paragraph."""
    return " ".join(sentences_of(records))


def sentences_of(records: pd.DataFrame) -> list[str]:
    """Say how good influence and Newton steps are for the head and for the whole network, as it came out."""
    own = at_chosen_condition(records)
    name = FORECASTER_NAMES[str(own["forecaster"].iloc[0])]
    rows, n_seeds = int(own[own["metric"] == "rows"]["value"].iloc[0]), own["seed"].nunique()
    seeds = f"{n_seeds} seed{'s' * (n_seeds > 1)}"
    groups = own[own["use"] == "group"]
    shares = 100 * groups["proportion"]
    sentences = [
        f"A {name} trained on {rows} hours, {seeds}, {groups['group'].nunique()} groups of {shares.min():.0f} to "
        f"{shares.max():.0f} % of the rows left out and refitted.",
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


def _step(records: pd.DataFrame, method: str, truth: str) -> str:
    """What the Newton step leaves of the distance to the refit, and the verdict."""
    own = records[(records["use"] == "group") & (records["method"] == method)]
    left = own[(own["metric"] == "distance_to_refit") & (own["truth"] == truth)]["value"]
    absent = int(own[own["metric"] == "indefinite"]["value"].sum())
    if left.empty:
        return "no Newton step exists"
    middle = left.median()
    if middle <= EXACT:
        said = f"the Newton step is exact (at most {left.max():.0e} of the distance to the refit is left)"
    else:
        verdict = "most of the way" if middle < MOST else "part of the way" if middle < SOME else None
        verdict = (
            f"the Newton step goes {verdict}" if verdict else "the Newton step is no better than leaving the network"
        )
        said = (
            f"{verdict} (in the median {100 * middle:.0f} % of the distance is left, quartiles "
            f"{100 * left.quantile(0.25):.0f} to {100 * left.quantile(0.75):.0f} %, and less than all of it for "
            f"{100 * (left < 1).mean():.0f} % of the groups)"
        )
    return f"{said}, and does not exist for {absent} groups" if absent else said


def _elsewhere(records: pd.DataFrame, method: str) -> str:
    """What Newton steps leave at the conditions that were not chosen."""
    own = records[(records["metric"] == "distance_to_refit") & (records["use"] == "group")]
    own = own[(own["method"] == method) & (own["truth"] == "scratch")]
    medians = own.groupby("condition")["value"].median()
    parts = [f"{100 * left:.0f} % at {condition:.0e}" for condition, left in medians.items()]
    return f"At the conditions that were not chosen it leaves {', '.join(parts)}." if parts else ""


def _ranks(records: pd.DataFrame, method: str, truth: str) -> str:
    parts = []
    for metric, use, label in RANKED:
        values = _correlations(records, metric, use, method, truth)
        if len(values):
            parts.append(f"{label} at {values.mean():.2f} ({values.min():.2f} to {values.max():.2f})")
    ranker = "one seed's refits rank another's" if method == "other seeds" else "influence ranks"
    return f"{ranker} {', '.join(parts)}" if parts else f"{ranker} nothing (one seed)"


def _correlations(
    records: pd.DataFrame,
    metric: str,
    use: str,
    method: str,
    truth: str,
    predictors: tuple[str, ...] = ("influence", "refit"),
) -> pd.Series:
    own = records[(records["metric"] == metric) & (records["use"] == use) & (records["over"] == "seed")]
    own = own[(own["method"] == method) & (own["truth"] == truth) & own["predictor"].isin(predictors)]
    return own["value"]


def conditions_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of all conditions, chosen or not: correlations of both predictors, and what Newton steps leave."""
    rows = []
    predicted = records[records["metric"] == "predicted_change"]
    for (method, condition), _ in predicted.groupby(["method", "condition"]):
        own = records[(records["condition"] == condition)]
        for truth in TRUTH_NAMES:
            steps = own[(own["metric"] == "distance_to_refit") & (own["use"] == "group") & (own["method"] == method)]
            left = steps[steps["truth"] == truth]["value"]
            if left.empty:
                continue
            cells = {
                "Newton: groups": _correlations(own, "spearman", "group", str(method), truth, ("newton",)),
                "influence: groups": _correlations(own, "spearman", "group", str(method), truth),
                "single rows": _correlations(own, "spearman", "single", str(method), truth),
                "LDS": _correlations(own, "lds", "subset", str(method), truth),
            }
            row = {
                "method": METHOD_NAMES[str(method)],
                "condition": f"{condition:.0e}" if condition else "–",
                "truth": TRUTH_NAMES[truth],
                "median left": f"{left.median():.3g}",
            }
            text = {
                name: f"{cell.mean():.2f} ± {cell.std(ddof=0):.2f}" if len(cell) else "–"
                for name, cell in cells.items()
            }
            rows.append(row | text)
    return rows


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])] if rows else []
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


def at_chosen_condition(records: pd.DataFrame) -> pd.DataFrame:
    """Records without the predictions of conditions that were not chosen."""
    marks = records[records["metric"] == "chosen_condition"]
    if marks.empty:
        raise InputError("full network: expected records with the metric chosen_condition; run full_network first.")
    chosen = records["method"].map(dict(zip(marks["method"], marks["value"], strict=True)))
    return records[records["condition"].isna() | (records["condition"] == chosen)]


def noise_share(records: pd.DataFrame) -> pd.Series:
    """Distance between refits on all rows in two batch orders, as a share of that to the refits of each share."""
    distance = records[(records["metric"] == "refit_distance") & (records["truth"] == "scratch")]
    floor = distance[(distance["use"] == "noise") & (distance["selection"] == "order")]["value"].median()
    return floor / distance[distance["use"] == "group"].groupby("proportion")["value"].median()
