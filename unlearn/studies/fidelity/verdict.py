"""What the records of fidelity say: sentences and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.studies.fidelity.records import REAL

#: Metrics of the bars: aspect, scope, label; the four of the source, then the three inside clusters.
METRICS = (
    ("level", "all", "level"),
    ("autocorrelation", "all", "autocorrelation"),
    ("peaks", "all", "peaks"),
    ("clusters", "all", "clusters"),
    ("level", "mean over clusters", "level\ninside clusters"),
    ("autocorrelation", "mean over clusters", "autocorrelation\ninside clusters"),
    ("peaks", "mean over clusters", "peaks\ninside clusters"),
)
#: A release whose ratio is at most this passes.
LIMIT = 2.0

#: How features and distances are called in words.
FEATURE_NAMES = {
    "mean": "mean",
    "p95": "95th percentile",
    "acf": "autocorrelation",
    "magnitude": "magnitude of peaks",
    "timing": "timing of peaks",
    "masked": "masked profiles",
    "occupancy": "occupancy of clusters",
}
DISTANCE_NAMES = {"wasserstein": "Wasserstein", "ks": "KS", "js": "Jensen-Shannon", "tv": "total variation"}


def summarise_fidelity(records: pd.DataFrame) -> list[str]:
    """Say which metrics of each generator are within twice the floor, which are not and by how much.

    Args:
        records: of `compare_fidelity`, any number of seeds. Ratios are averaged over seeds, their range is given.

    Raises:
        InputError: records without fidelity.
    """
    names = generators_of(records)
    sentences = [_about(records)]
    for name in names:
        sentences += [_ratios(records, name), _classifier(records, name)]
    return sentences


def _about(records: pd.DataFrame) -> str:
    n = int(records.loc[(records["metric"] == "profiles") & records["aspect"].isna(), "value"].iloc[0])
    seeds = records["seed"].nunique()
    apart = records[(records["metric"] == "headline") & (records["generator"] == REAL)]["value"].dropna()
    varies = (
        f" Between other random divisions of the real households the distances are {apart.min():.1f} to "
        f"{apart.max():.1f} times that floor."
        if len(apart)
        else ""
    )
    return (
        f"{n:,} profiles a side, {seeds} seed{'s' * (seeds > 1)}. Distances are to held-out real households; the floor "
        f"is the distance of the real training households to them, so 1 is as good as real.{varies}"
    )


def headlines(records: pd.DataFrame, name: str, reference: str = "floor") -> pd.DataFrame:
    """Mean, least and largest ratio of each metric of a generator over seeds, and the reasons where it has none.

    Args:
        records: of `compare_fidelity`.
        name: of the generator.
        reference: "floor", or "mean floor" of all divisions, which has no metrics inside clusters.

    Returns:
        One row a metric, in the order of `METRICS`: `label`, `mean`, `low`, `high`, `note`.
    """
    own = records[(records["metric"] == "headline") & (records["generator"] == name)]
    own = own[own["reference"] == reference]
    rows = []
    for aspect, scope, label in METRICS:
        found = own[(own["aspect"] == aspect) & (own["scope"] == scope)]
        values = found["value"].to_numpy(dtype=np.float64)
        # A seed without a number leaves the metric without one: NaN is passed on.
        rows.append(
            {
                "label": label.replace("\n", " "),
                "mean": values.mean() if len(values) else np.nan,
                "low": values.min() if len(values) else np.nan,
                "high": values.max() if len(values) else np.nan,
                "note": "; ".join(dict.fromkeys(note for note in found["note"].dropna() if note)),
            }
        )
    return pd.DataFrame(rows)


def _ratios(records: pd.DataFrame, name: str) -> str:
    table = headlines(records, name)
    unmeasured = table[table["mean"].isna()]
    within, beyond = table[table["mean"] <= LIMIT], table[table["mean"] > LIMIT]
    parts = []
    if len(within):
        parts.append(f"within {LIMIT:g} x the floor are {_list(within)}")
    if len(beyond):
        parts.append(f"not within it are {_list(beyond)}")
    if len(unmeasured):
        parts.append("not measured are " + ", ".join(f"{row.label} ({row.note})" for row in unmeasured.itertuples()))
    text = "; ".join(parts)
    if not len(beyond) and not len(unmeasured):
        text = f"every metric is within {LIMIT:g} x the floor: {_list(within)}"
    steady = headlines(records, name, "mean floor").dropna(subset="mean")
    beside = f" Beside the mean floor of all divisions: {_list(steady)}." if len(steady) else ""
    return f"{name}: {text}.{beside}{_worst(records, name)}"


def _list(rows: pd.DataFrame) -> str:
    def one(row: pd.Series) -> str:
        spread = f", {row['low']:.2f} to {row['high']:.2f}" if row["high"] > row["low"] else ""
        return f"{row['label']} ({row['mean']:.2f} x{spread})"

    return ", ".join(one(row) for _, row in rows.iterrows())


def _worst(records: pd.DataFrame, name: str) -> str:
    """The single distance that is furthest above its floor, whichever distance it is."""
    own = records[(records["metric"] == "ratio") & (records["generator"] == name)]
    own = own[(own["reference"] == "floor") & (own["scope"] == "all")]
    mean = own.groupby(["feature", "distance"])["value"].mean().dropna().reset_index()
    if mean.empty:
        return ""
    worst = mean.iloc[int(mean["value"].argmax())]
    what = f"{FEATURE_NAMES[worst['feature']]}, {DISTANCE_NAMES[worst['distance']]}"
    return f" The largest of all ratios is that of {what}: {worst['value']:.2f} x."


def _classifier(records: pd.DataFrame, name: str) -> str:
    auc = records[records["metric"].isin(["auc", "auc_low", "auc_high"])]
    mean = auc.groupby(["generator", "metric"])["value"].mean()

    def of(generator: str) -> str:
        return f"{mean[generator, 'auc']:.2f} ({mean[generator, 'auc_low']:.2f} to {mean[generator, 'auc_high']:.2f})"

    return (
        f"{name}: a classifier tells it from held-out households with an AUC of {of(name)}, the real training "
        f"households with {of(REAL)}."
    )


def headline_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row for each metric, a column for each generator: mean ratio, and its range over seeds if there are several."""
    tables = {name: headlines(records, name) for name in generators_of(records)}
    rows = []
    for place, (_, _, label) in enumerate(METRICS):
        cells = {name: table.iloc[place] for name, table in tables.items()}
        rows.append({"metric": label.replace("\n", " ")} | {name: _cell(row) for name, row in cells.items()})
    return rows


def _cell(row: pd.Series) -> str:
    if not np.isfinite(row["mean"]):
        return "∞" if np.isinf(row["mean"]) else "–"
    spread = f" ({row['low']:.2f}–{row['high']:.2f})" if row["high"] > row["low"] else ""
    return f"{row['mean']:.2f}{spread}"


def distance_table(records: pd.DataFrame, inside: bool) -> list[dict[str, str]]:
    """Every distance with its floor and ratio.

    Args:
        records: of `compare_fidelity`.
        inside: distances inside each cluster, of the first seed, as another seed has other clusters; else those over
            all profiles and their means over clusters, averaged over seeds.
    """
    own = records[(records["generator"] != REAL) & records["metric"].isin(["distance", "ratio"])]
    if inside:
        own = own[(own["scope"] == "cluster") & (own["seed"] == own["seed"].min())]
    else:
        own = own[own["scope"] != "cluster"]
    own = own.assign(
        column=own["reference"].where(own["metric"] == "distance", own["metric"] + " to " + own["reference"]),
        cluster=own["cluster"].fillna(-1).astype(int) + 1,
    )
    rows = []
    for key, found in own.groupby(["generator", "scope", "cluster", "feature", "distance"], sort=False):
        generator, scope, cluster, feature, distance = map(str, key)
        mean = found.groupby("column")["value"].mean()
        units = found.loc[(found["metric"] == "distance") & (found["unit"] != "1"), "unit"]
        rows.append(
            {
                "generator": generator,
                **({"cluster": cluster} if inside else {"over": scope}),
                "of": FEATURE_NAMES[feature],
                "distance": DISTANCE_NAMES[distance],
                "unit": units.iloc[0] if len(units) else "",
                "to holdout": _number(mean.get("holdout")),
                "floor": _number(mean.get("floor")),
                "ratio": _number(mean.get("ratio to floor")),
                **({} if inside else {"ratio to mean floor": _number(mean.get("ratio to mean floor"))}),
                "to train": _number(mean.get("train")),
            }
        )
    for _, row in own[own["feature"].isna()].iterrows() if inside else ():
        texts = {"generator": row["generator"], "cluster": str(row["cluster"]), "of": row["note"]}
        rows.append(texts | dict.fromkeys(("distance", "unit", "to holdout", "floor", "ratio", "to train"), "–"))
    return rows


def _number(value: float | None) -> str:
    if value is None or np.isnan(value):
        return "–"
    return "∞" if np.isinf(value) else f"{value:.3g}"


def generators_of(records: pd.DataFrame) -> list[str]:
    """Generators that the records hold, in their order."""
    if "generator" not in records or "headline" not in set(records["metric"]):
        raise InputError("fidelity: expected records with the metric headline; run compare_fidelity first.")
    return [str(name) for name in records["generator"].dropna().unique() if name != REAL]
