"""What the records of a release say: sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.verdict import NO, YES, Block, Page, counted, require_columns, select, write
from unlearn.studies._shared.utility import REAL
from unlearn.studies.release.measure import BAND, MIN_HOUSEHOLDS, PUBLIC

#: What may stand beside a release.
REFERENCES = (REAL, PUBLIC)

LABEL_NAMES = {"segment": "segment", "month": "month", "day_of_week": "day of the week"}

#: What stands beside a release, in words.
_PROFILES = {REAL: "real profiles", PUBLIC: "profiles of the public start"}

#: Numbers of all profiles: text, metric, format.
_WHOLE = (
    ("profiles", "profiles", ",.0f"),
    ("mean energy of a day [kWh]", "kwh_per_day", ".3f"),
    ("energy of a year [kWh]", "kwh_per_year", ",.0f"),
    ("share of steps that are 0", "zero_share", ".3%"),
    ("largest step [kWh]", "largest", ".3f"),
)
#: Segments beyond these have no panel of their own.
MOST_SEGMENTS = 8
#: Entries of a card that a figure shows.
_CURVES = ("train", "validation", "log_posterior")
#: Whether the page may be handed over: answer, reason, and what was not measured.
_HANDED_OVER = {
    None: (YES, "every number of profiles is of the released ones; none was measured on the real ones.", ()),
    PUBLIC: (
        YES,
        "no number of profiles was measured on real ones. The release is compared with its public start, which was "
        "known before any household was looked at.",
        (),
    ),
    REAL: (
        NO,
        "it compares the release with real households, and is for the owner of the data only.",
        (
            f"Of real households is left out: groups of fewer than {MIN_HOUSEHOLDS} households, and further ones "
            f"where a difference would give them away; quantiles that fewer than {MIN_HOUSEHOLDS} households lie "
            "below or above; the smallest and the largest values; days of single households.",
        ),
    ),
}


def page(
    records: pd.DataFrame, card: Mapping[str, Any] | None = None, comparison: str | None = None, training: Any = None
) -> Page:
    """The page's contents.

    Args:
        records: of `describe_release`, one release.
        card: of the generator: any settings; losses per epoch under `training`, log posterior per pass under
            `mixture`.
        comparison: name of the folder, for the owner only, that compares the release with real households.
        training: the figure of the card's curves.
    """
    about, *sentences = summarise(records)
    answer, because, limits = _HANDED_OVER[reference_of(records)]
    n_segments = len(segments_of(records))
    frequent = f"The {MOST_SEGMENTS} most frequent of {n_segments} segments. " if n_segments > MOST_SEGMENTS else ""
    settings = settings_rows(card or {})
    elsewhere = (
        f"How the release compares with real households stands in the folder {comparison}: for the owner of the data "
        f"only, without groups of fewer than {MIN_HOUSEHOLDS} households and without smallest and largest values."
    )
    return Page(
        "May this description of a release be handed over?",
        answer,
        because,
        f"{records['data'].iloc[0]}. {about}",
        "Mean profiles by segment, season and day, spread, labels and examples of the release",
        [
            Block("What is released", points=sentences),
            Block("Numbers", rows=whole_table(records)),
            *(Block(f"By {text}", rows=label_table(records, label)) for label, text in LABEL_NAMES.items()),
            Block(
                "The generator" if settings else "", rows=settings, texts=2, folded=f"Settings ({len(settings)})",
                figures=[("Loss per epoch, log posterior per pass", training)] if training else [],
            ),
        ],
        measured=[
            f"{frequent}Examples are the profiles at the named quantile of the energy of a day.",
            *([elsewhere] if comparison else []),
        ],
        limits=limits,
        internal=answer == NO,
    )  # fmt: skip


def settings_rows(card: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """Settings by their path, such as `options.vae.latent`; curves are left to the figure."""
    rows = []
    for name, value in card.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += settings_rows(value, f"{path}.")
        elif name not in _CURVES or not isinstance(value, list):
            rows.append({"setting": path, "value": _setting(value)})
    return rows


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def summarise(records: pd.DataFrame) -> list[str]:
    """Say how much is released, its energy, zeros and largest steps, and where it is furthest from its reference.

    Args:
        records: of `describe_release`.

    Raises:
        InputError: records of something else, or of several releases.
    """
    name = release_of(records)
    whole = _whole(records)
    minutes = 24 * 60 / int(records["n_steps"].iloc[0])
    said = {REAL: "{:,.0f} real ones beside them", PUBLIC: "{:,.0f} of its public start beside them"}
    others = "".join("; " + said[who].format(_value(whole, "profiles", who)) for who in REFERENCES if who in whole)
    energy = _beside(whole, name, "kwh_per_day", "{:.2f} kWh a day")
    if np.isfinite(_value(whole, "kwh_per_year", name)):
        energy += "; " + _beside(whole, name, "kwh_per_year", "{:,.0f} kWh a year, months weighted by their days")
    zero = _beside(whole, name, "zero_share", "{:.2%} of steps are 0")
    sentences = [
        f"{name}: {int(_value(whole, 'profiles', name)):,} daily profiles in steps of {minutes:g} minutes, "
        f"{counted(len(segments_of(records)), 'segment')}{others}.",
        f"Mean energy: {energy}.",
        f"{zero}; the largest step is {_beside(whole, name, 'largest', '{:.2f} kWh')}.",
    ]
    beside = reference_of(records)
    if beside is not None:
        sentences += [_labels(records, name, beside), _furthest(records, name, beside)]
    return sentences


def _whole(records: pd.DataFrame) -> pd.DataFrame:
    """Numbers of all profiles together: a row per metric, a column per generator."""
    own = select(records, label=None, at=None, probability=None)
    return own.pivot(index="metric", columns="generator", values="value")


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
    shares = select(records, metric="share", label=...)
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
    own = select(records, metric="mean_profile", label="segment")
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
    own = select(records, label=label)
    generators = [who for who in (name, *REFERENCES) if who in set(own["generator"])]
    table = select(own, at=None).pivot(index="of", columns=["generator", "metric"], values="value")
    rows = []
    for value in dict.fromkeys(own["of"]):
        row = {LABEL_NAMES[label]: str(value)}
        for who in generators:
            found = table.loc[value, who]
            of = f"{who} " if who in REFERENCES else ""
            row[f"{of}profiles"] = write(found.get("profiles"), ",.0f")
            row[f"{of}share"] = write(found.get("share"), ".2%")
            row[f"{of}kWh a day"] = write(found.get("kwh_per_day"), ".2f")
        rows.append(row)
    return rows


def whole_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """Numbers of all profiles together, and quantiles of the energy of a day."""
    name = release_of(records)
    whole = _whole(records)
    days = select(records, metric="day_quantile").pivot(index="probability", columns="generator", values="value")
    generators = [who for who in (name, *REFERENCES) if who in whole]
    days = days.reindex(columns=generators)  # of few real households no quantile is described
    lines = [
        *((text, whole, metric, said) for text, metric, said in _WHOLE),
        *((f"energy of a day: {100 * p:g} % quantile [kWh]", days, p, ".3f") for p in BAND),
    ]
    return [
        {"of all profiles": text} | {who: write(table[who].get(row), said) for who in generators}
        for text, table, row, said in lines
    ]


def _said(value: float, said: str) -> str:
    return said.format(value).replace("%", " %")


def release_of(records: pd.DataFrame) -> str:
    """Name of the release that records describe.

    Raises:
        InputError: records of something else, or of several releases.
    """
    require_columns("release", records, "generator", metric="mean_profile", run="describe_release")
    counts = select(records, metric="profiles", label=None)["generator"].value_counts()
    names = [str(name) for name in counts.index if name not in REFERENCES]
    if len(names) != 1 or counts.max() > 1:
        raise InputError(f"release: expected records of one release, described once; got {sorted(names)}.")
    return names[0]


def segments_of(records: pd.DataFrame) -> list[str]:
    """Segments of the release, the most frequent first."""
    own = select(records, label="segment", metric="profiles", generator=release_of(records))
    return [str(name) for name in own[own["value"] > 0].sort_values("value", ascending=False, kind="stable")["of"]]


def reference_of(records: pd.DataFrame) -> str | None:
    """What stands beside the release: real profiles, its public start, or nothing."""
    return next((name for name in REFERENCES if name in set(records["generator"])), None)
