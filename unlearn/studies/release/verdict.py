"""What the records of a release say: sentences and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.studies.release.measure import BAND, PUBLIC
from unlearn.studies.utility.measure import REAL

#: What may stand beside a release.
REFERENCES = (REAL, PUBLIC)

LABEL_NAMES = {"segment": "segment", "month": "month", "day_of_week": "day of the week"}

#: What stands beside a release, in words.
_PROFILES = {REAL: "real profiles", PUBLIC: "profiles of the public start"}

#: Numbers of all profiles: text, metric, format.
_WHOLE = (
    ("profiles", "profiles", "{:,.0f}"),
    ("mean energy of a day [kWh]", "kwh_per_day", "{:.3f}"),
    ("energy of a year [kWh]", "kwh_per_year", "{:,.0f}"),
    ("share of steps that are 0", "zero_share", "{:.3%}"),
    ("largest step [kWh]", "largest", "{:.3f}"),
)


def summarise_release(records: pd.DataFrame) -> list[str]:
    """Say how much is released, its energy, zeros and largest steps, and where it is furthest from its reference.

    Args:
        records: of `describe_release`.

    Raises:
        InputError: records of something else, or of several releases.
    """
    name = release_of(records)
    whole = _whole(records)
    sentences = [_about(records, name, whole), _energy(name, whole), _steps(name, whole)]
    beside = reference_of(records)
    if beside is not None:
        sentences += [_labels(records, name, beside), _furthest(records, name, beside)]
    return sentences


def _whole(records: pd.DataFrame) -> pd.DataFrame:
    """Numbers of all profiles together: a row per metric, a column per generator."""
    own = records[records["label"].isna() & records["at"].isna() & records["probability"].isna()]
    return own.pivot(index="metric", columns="generator", values="value")


def _about(records: pd.DataFrame, name: str, whole: pd.DataFrame) -> str:
    minutes = 24 * 60 / int(records["n_steps"].iloc[0])
    segments = records[(records["label"] == "segment") & (records["metric"] == "profiles") & (records["value"] > 0)]
    n_segments = segments.loc[segments["generator"] == name, "of"].nunique()
    said = {REAL: "{:,.0f} real ones beside them", PUBLIC: "{:,.0f} of its public start beside them"}
    beside = "".join("; " + said[who].format(_value(whole, "profiles", who)) for who in REFERENCES if who in whole)
    return (
        f"{name}: {int(_value(whole, 'profiles', name)):,} daily profiles in steps of {minutes:g} minutes, "
        f"{n_segments} segment{'s' * (n_segments > 1)}{beside}."
    )


def _energy(name: str, whole: pd.DataFrame) -> str:
    text = _beside(whole, name, "kwh_per_day", "{:.2f} kWh a day")
    if np.isfinite(_value(whole, "kwh_per_year", name)):
        text += "; " + _beside(whole, name, "kwh_per_year", "{:,.0f} kWh a year, months weighted by their days")
    return f"Mean energy: {text}."


def _steps(name: str, whole: pd.DataFrame) -> str:
    zero = _beside(whole, name, "zero_share", "{:.2%} of steps are 0")
    return f"{zero}; the largest step is {_beside(whole, name, 'largest', '{:.2f} kWh')}."


def _beside(whole: pd.DataFrame, name: str, metric: str, said: str) -> str:
    """A number in words, and in brackets that of what stands beside the release, with the ratio to it."""
    own = _value(whole, metric, name)
    beside = next((who for who in REFERENCES if who in whole), None)
    other = np.nan if beside is None else _value(whole, metric, beside)
    text = _said(own, said)
    if np.isnan(other):
        return text
    digits = _said(other, said[: said.index("}") + 1])
    return f"{text} ({beside} {digits}" + (f", ratio {own / other:.2f})" if other else ")")


def _value(whole: pd.DataFrame, metric: str, name: str) -> float:
    return float(whole[name].get(metric, np.nan))


def _labels(records: pd.DataFrame, name: str, beside: str) -> str:
    """Largest difference of a label's share, in percentage points."""
    shares = records[records["metric"] == "share"].dropna(subset="label")
    table = shares.pivot(index=["label", "of"], columns="generator", values="value")
    apart = (100 * (table[name] - table[beside])).dropna()
    parts = []
    for label, text in LABEL_NAMES.items():
        if label in apart.index.get_level_values("label"):
            own = apart[label]
            worst = own.abs().idxmax()
            parts.append(f"{text} {own[worst]:+.1f} ({worst})")
    if not parts:
        return f"No month, day or segment is described in both the release and the {_PROFILES[beside]}."
    return f"Largest difference of shares to {_PROFILES[beside]}, in percentage points: {', '.join(parts)}."


def _furthest(records: pd.DataFrame, name: str, beside: str) -> str:
    """Where mean profiles of segments are furthest apart."""
    own = records[(records["metric"] == "mean_profile") & (records["label"] == "segment")]
    table = own.pivot(index=["of", "at"], columns="generator", values="value").dropna()
    if table.empty or beside not in table:
        return f"No segment is described in both the release and the {_PROFILES[beside]}."
    worst = int((table[name] - table[beside]).abs().to_numpy().argmax())
    (segment, at), found = table.index[worst], table.iloc[worst]
    clock = f"{int(at):02d}:{round(60 * (at % 1)):02d}"
    return (
        f"Mean profiles of segments are furthest apart in {segment} at {clock}: {found[name]:.3f} kWh released, "
        f"{found[beside]:.3f} {beside}."
    )


def label_table(records: pd.DataFrame, label: str) -> list[dict[str, str]]:
    """Profiles, share and mean energy of a day of each value of a label, and what stands beside them."""
    name = release_of(records)
    own = records[records["label"] == label]
    generators = [who for who in (name, *REFERENCES) if who in set(own["generator"])]
    table = own[own["at"].isna()].pivot(index="of", columns=["generator", "metric"], values="value")
    rows = []
    for value in dict.fromkeys(own["of"]):
        row = {LABEL_NAMES[label]: str(value)}
        for who in generators:
            found = table.loc[value, who]
            of = f"{who} " if who in REFERENCES else ""
            row[f"{of}profiles"] = _number(found.get("profiles"), "{:,.0f}")
            row[f"{of}share"] = _number(found.get("share"), "{:.2%}")
            row[f"{of}kWh a day"] = _number(found.get("kwh_per_day"), "{:.2f}")
        rows.append(row)
    return rows


def whole_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Numbers of all profiles together, and quantiles of the energy of a day."""
    name = release_of(records)
    whole = _whole(records)
    days = records[records["metric"] == "day_quantile"].pivot(index="probability", columns="generator", values="value")
    generators = [who for who in (name, *REFERENCES) if who in whole]
    days = days.reindex(columns=generators)  # of few real households no quantile is described
    lines = [
        *((text, whole, metric, said) for text, metric, said in _WHOLE),
        *((f"energy of a day: {100 * p:g} % quantile [kWh]", days, p, "{:.3f}") for p in BAND),
    ]
    return [
        {"of all profiles": text} | {who: _number(table[who].get(row), said) for who in generators}
        for text, table, row, said in lines
    ]


def _number(value: float | None, said: str) -> str:
    return "–" if value is None or np.isnan(value) else _said(value, said)


def _said(value: float, said: str) -> str:
    return said.format(value).replace("%", " %")


def release_of(records: pd.DataFrame) -> str:
    """Name of the release that records describe.

    Raises:
        InputError: records of something else, or of several releases.
    """
    if "generator" not in records or "mean_profile" not in set(records["metric"]):
        raise InputError("release: expected records with the metric mean_profile; run describe_release first.")
    counts = records[(records["metric"] == "profiles") & records["label"].isna()]["generator"].value_counts()
    names = [str(name) for name in counts.index if name not in REFERENCES]
    if len(names) != 1 or counts.max() > 1:
        raise InputError(f"release: expected records of one release, described once; got {sorted(names)}.")
    return names[0]


def reference_of(records: pd.DataFrame) -> str | None:
    """What stands beside the release: real profiles, its public start, or nothing."""
    return next((name for name in REFERENCES if name in set(records["generator"])), None)
