"""What the records of fidelity say: sentences and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Block, Page, Spread, agreed, require_columns, seeds_of, select, write
from unlearn.studies._shared.fidelity.measure import HEADLINES, REAL

#: Metrics of the bars: aspect, scope, label; the four of the source, then the three inside clusters.
METRICS = tuple(
    (own.aspect, own.scope, own.aspect + ("" if own.scope == "all" else "\ninside clusters")) for own in HEADLINES
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
#: Columns of the table of distances: title, metric, reference.
_COLUMNS = (
    ("to holdout", "distance", "holdout"),
    ("floor", "distance", "floor"),
    ("ratio", "ratio", "floor"),
    ("ratio to mean floor", "ratio", "mean floor"),
    ("to train", "distance", "train"),
)


def page(records: pd.DataFrame) -> Page:
    """The page's contents."""
    about, *sentences = summarise(records)
    inside = distance_table(records, inside=True)
    ratios = {name: headlines(records, name)["mean"].dropna() for name in generators_of(records)}
    told = ", ".join(f"{int((own <= LIMIT).sum())} of {len(own)} for {name}" for name, own in ratios.items())
    return Page(
        "Is the release as near to real households as other real households are?",
        agreed(bool((own <= LIMIT).all()) for own in ratios.values()),
        f"metrics within {LIMIT:g} times the floor are {told or 'not measured'}.",
        f"{records['data'].iloc[0]}. {about}",
        "Distributions of released and real profiles, and ratios of their distances to the floor",
        [
            Block("What was found", points=sentences),
            Block("Ratio of each metric to the floor", rows=headline_table(records), note="Means, ranges over seeds."),
            Block(
                "Every distance", rows=distance_table(records, inside=False), texts=5,
                note="Means over seeds. KS, Jensen-Shannon (base 2, bins at quantiles of real training profiles) and "
                'total variation lie between 0 and 1. "To train" is the distance to the households that the generator '
                "was fitted on. Where it is much below the distance to holdout, the release follows them more closely "
                "than others.",
            ),
            Block("Inside each cluster", rows=inside, texts=5, folded=f"{len(inside)} distances"),
        ],
        measured=[
            "Level is the mean ratio of the Wasserstein distances of each profile's mean and 95th percentile. "
            "Autocorrelation is that of the coefficients, averaged over lags up to half a day.",
            "Peaks are magnitude, timing (around the day) and the profiles with all but their largest steps set to 0. "
            "Clusters is the Jensen-Shannon distance of their occupancy.",
            "Inside clusters, distances are averaged by occupancy before they are divided.",
        ],
        limits=["Nearness of distributions says nothing of copies, nor of what a release is good for."],
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """Say which metrics of each generator are within twice the floor, which are not and by how much.

    Args:
        records: of `compare_fidelity`, any number of seeds. Ratios are averaged over seeds, their range is given.

    Raises:
        InputError: records without fidelity.
    """
    names = generators_of(records)
    n = select(records, metric="profiles", aspect=None)["value"].iloc[0]
    apart = select(records, metric="headline", generator=REAL)["value"].dropna()
    about = (
        f"{n:,.0f} profiles a side, {seeds_of(records)}. Distances are to held-out real households; the floor is the "
        "distance of the real training households to them, so 1 is as good as real."
    )
    if len(apart):
        about += (
            f" Between other random divisions of the real households the distances are {apart.min():.1f} to "
            f"{apart.max():.1f} times that floor."
        )
    return [about, *(say(records, name) for name in names for say in (_ratios, _classifier))]


def generators_of(records: pd.DataFrame) -> list[str]:
    """Generators that the records hold, in their order."""
    require_columns("fidelity", records, "generator", metric="headline", run="compare_fidelity")
    return [str(name) for name in records["generator"].dropna().unique() if name != REAL]


def headlines(records: pd.DataFrame, name: str, reference: str = "floor") -> pd.DataFrame:
    """Mean, least and largest ratio of each metric of a generator over seeds, and the reasons where it has none.

    Args:
        records: of `compare_fidelity`.
        name: of the generator.
        reference: "floor", or "mean floor" of all divisions, which has no metrics inside clusters.

    Returns:
        One row a metric, in the order of `METRICS`: `label`, `mean`, `low`, `high`, `note`, `spread`.
    """
    own = select(records, metric="headline", generator=name, reference=reference)
    rows = []
    for aspect, scope, label in METRICS:
        found = select(own, aspect=aspect, scope=scope)
        # A seed without a number leaves the metric without one: NaN is passed on.
        spread = Spread.of(found["value"]) if len(found) else Spread(np.nan, np.nan, np.nan)
        note = "; ".join(dict.fromkeys(note for note in found["note"].dropna() if note))
        numbers = {"mean": spread.mean, "low": spread.low, "high": spread.high}
        rows.append({"label": label.replace("\n", " "), **numbers, "note": note, "spread": spread})
    return pd.DataFrame(rows)


def _ratios(records: pd.DataFrame, name: str) -> str:
    table = headlines(records, name)
    unmeasured = table[table["mean"].isna()]
    within, beyond = table[table["mean"] <= LIMIT], table[table["mean"] > LIMIT]
    parts = [f"within {LIMIT:g} x the floor are {_list(within)}"] if len(within) else []
    parts += [f"not within it are {_list(beyond)}"] if len(beyond) else []
    if len(unmeasured):
        parts.append("not measured are " + ", ".join(f"{row.label} ({row.note})" for row in unmeasured.itertuples()))
    text = "; ".join(parts)
    if not len(beyond) and not len(unmeasured):
        text = f"every metric is within {LIMIT:g} x the floor: {_list(within)}"
    steady = headlines(records, name, "mean floor").dropna(subset="mean")
    beside = f" Against the mean floor of all divisions: {_list(steady)}." if len(steady) else ""
    return f"{name}: {text}.{beside}{_worst(records, name)}"


def _list(rows: pd.DataFrame) -> str:
    def one(label: str, found: Spread) -> str:
        spread = f", {found.low:.2f} to {found.high:.2f}" if found.high > found.low else ""
        return f"{label} ({found.mean:.2f} x{spread})"

    return ", ".join(map(one, rows["label"], rows["spread"]))


def _worst(records: pd.DataFrame, name: str) -> str:
    """The single distance that is furthest above its floor, whichever distance it is."""
    own = select(records, metric="ratio", generator=name, reference="floor", scope="all")
    mean = own.groupby(["feature", "distance"])["value"].mean().dropna()
    if mean.empty:
        return ""
    feature, distance = mean.index[int(mean.to_numpy().argmax())]
    what = f"{FEATURE_NAMES[feature]}, {DISTANCE_NAMES[distance]}"
    return f" The largest of all ratios is that of {what}: {mean.max():.2f} x."


def _classifier(records: pd.DataFrame, name: str) -> str:
    auc = select(records, metric=["auc", "auc_low", "auc_high"])
    mean = auc.groupby(["generator", "metric"])["value"].mean()
    own, real = (
        f"{mean[of, 'auc']:.2f} ({mean[of, 'auc_low']:.2f} to {mean[of, 'auc_high']:.2f})" for of in (name, REAL)
    )
    return (
        f"{name}: a classifier tells it from held-out households with an AUC of {own}, the real training households "
        f"with {real}."
    )


def headline_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row for each metric, a column for each generator: mean ratio, and its range over seeds if there are several."""
    tables = {name: headlines(records, name)["spread"] for name in generators_of(records)}
    return [
        {"metric": label.replace("\n", " ")} | {name: _cell(found[place]) for name, found in tables.items()}
        for place, (*_, label) in enumerate(METRICS)
    ]


def _cell(found: Spread) -> str:
    return found.text(".2f") if np.isfinite(found.mean) else write(found.mean)


def distance_table(records: pd.DataFrame, inside: bool) -> list[dict[str, str]]:
    """Every distance with its floor and ratio.

    Args:
        records: of `compare_fidelity`.
        inside: distances inside each cluster, of the first seed, as another seed has other clusters; else those over
            all profiles and their means over clusters, averaged over seeds.
    """
    own = select(records[records["generator"] != REAL], metric=["distance", "ratio"])
    own = select(own, scope="cluster", seed=own["seed"].min()) if inside else own[own["scope"] != "cluster"]
    own = own.assign(cluster=own["cluster"].fillna(-1).astype(int) + 1)
    columns = [column for column in _COLUMNS if not inside or column[2] != "mean floor"]
    rows = []
    for key, found in own.groupby(["generator", "scope", "cluster", "feature", "distance"], sort=False):
        generator, scope, cluster, feature, distance = map(str, key)
        mean = found.groupby(["metric", "reference"])["value"].mean()
        units = select(found, metric="distance")["unit"]
        row = {"generator": generator, **({"cluster": cluster} if inside else {"over": scope})}
        row |= {"of": FEATURE_NAMES[feature], "distance": DISTANCE_NAMES[distance]}
        row["unit"] = next((unit for unit in units if unit != "1"), "")
        rows.append(row | {title: write(mean.get((metric, to))) for title, metric, to in columns})
    for _, left in own[own["feature"].isna()].iterrows() if inside else ():
        texts = {"generator": left["generator"], "cluster": str(left["cluster"]), "of": left["note"]}
        rows.append(texts | dict.fromkeys(("distance", "unit", *(title for title, *_ in columns)), "–"))
    return rows
