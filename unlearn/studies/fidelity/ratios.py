"""Distances as multiples of their floor, and the one number that stands for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unlearn.studies.fidelity.samples import Distances, Key


@dataclass(frozen=True)
class Headline:
    """A metric and the distances whose ratios to the floor are averaged into its number.

    The distances are Wasserstein's, which see how far the mass of a distribution is off, tails included; occupancy
    of clusters has no order, so there it is Jensen-Shannon's. As ratios they have no unit and may be averaged.
    """

    aspect: str
    scope: str
    keys: tuple[Key, ...]


_PARTS = {"level": ("mean", "p95"), "autocorrelation": ("acf",), "peaks": ("magnitude", "timing", "masked")}


def _inside(scope: str) -> tuple[Headline, ...]:
    return tuple(
        Headline(aspect, scope, tuple(Key(scope, name, "wasserstein") for name in names))
        for aspect, names in _PARTS.items()
    )


#: The four metrics, then the first three of them inside clusters.
HEADLINES = (
    *_inside("all"),
    Headline("clusters", "all", (Key("all", "occupancy", "js"),)),
    *_inside("mean over clusters"),
)


@dataclass(frozen=True)
class Ratio:
    """A distance over its floor, and why it is not a finite number or not a quotient; empty where it is."""

    value: float
    note: str = ""


def ratio(distance: float, floor: float) -> Ratio:
    """Divide a distance by its floor; a floor of 0 never divides."""
    if not np.isfinite([distance, floor]).all():
        return Ratio(np.nan, "not measured: no profile that has this feature, or too few members")
    if floor > 0:
        return Ratio(distance / floor)
    if distance > 0:
        return Ratio(np.inf, "the floor is 0 and the distance is not")
    return Ratio(1.0, "distance and floor are both 0")


def ratios(found: Distances, floor: Distances) -> dict[Key, Ratio]:
    """The ratio of every distance, each averaged over its columns first."""
    return {key: ratio(float(value.mean()), float(floor[key].mean())) for key, value in found.items() if key in floor}


def headline_ratio(headline: Headline, by_key: Mapping[Key, Ratio]) -> Ratio:
    """The mean ratio over the parts of a metric; a part that is not measured leaves the metric unmeasured."""
    missing = Ratio(np.nan, "not measured: no cluster with enough members on each side")
    parts = [by_key.get(key, missing) for key in headline.keys]
    notes = dict.fromkeys(part.note for part in parts if part.note)
    return Ratio(float(np.mean([part.value for part in parts])), "; ".join(notes))


def mean_distances(found: Sequence[Distances]) -> Distances:
    """Average distances over several pairs of samples; only what each of them has."""
    common = set(found[0]).intersection(*found[1:])
    return {key: np.mean([one[key] for one in found], axis=0) for key in found[0] if key in common}
