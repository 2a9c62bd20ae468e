"""Numbers of the study of de-identification, looked up in its records."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Spread, require_columns, require_one, select
from unlearn.studies._shared.bus_loads import PERFECT, WEEK_BEFORE
from unlearn.studies.anonymize.options import LABELS, OF_SUMS, RAW, STEPS

STEP_NAMES = {
    "raw": "raw, with names",
    "pseudonyms": "pseudonyms",
    "rotated": "pseudonyms, new each month",
    "rounded": "rounded",
    "hourly": "hourly",
    "six_hourly": "six-hourly",
    "daily": "daily totals",
    "weekly": "weekly totals",
    "extremes": "daily minimum, maximum",
    "micro_5": "mean of 5 or more",
    "micro_15": "mean of 15 or more",
    "labels": "table of labels",
    "sums": "sums by feeder",
    "sums_15_15": "sums by the 15/15 rule",
    "suppressed": "sums with complementary suppression",
}
ATTACK_NAMES = {
    "singling_out_univariate": "singling out, one attribute",
    "singling_out_multivariate": "singling out, several",
    "linkability": "linkability",
    "inference_class": "inference of the class",
    "inference_evening": "inference of evening use",
}
#: A release of copies, and one of other households, which attacks on features are checked with.
COPY, INDEPENDENT = "copy", "independent"
#: Sums by feeder, substation and area; two one-way tables, by feeder and by class.
HIERARCHY, TWO_WAYS = "feeders, substations, area", "feeders and classes"
#: Publications of sums before and after the rules.
BEFORE, AFTER = "before", "after"
#: What an attacker knows of a household that it looks for in a sum, by its hours.
SPANS = {"day": 24, "week": 168, "year": 8760}


def signed(percent: float) -> str:
    """A change in percent, such as "+1.5"; 0 where it is a matter of rounding."""
    return "0" if abs(percent) < ROUNDING else f"{percent:+.3g}"


#: Change in percent that is a matter of rounding.
ROUNDING = 1e-3


class AnonymizeTable:
    """Records of `study_anonymize`, any number of seeds of one data set and grid.

    Attributes:
        records: all of them.
        about: data, grid and households.
        seeds: how many.
        steps: releases that were made, in their order.
        main: readings that the main answer lets an attacker know.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("anonymize", records, "part", "step", run="study_anonymize")
        self.records = records
        self.about = require_one("anonymize", records, ["data", "grid", "households", "main_known"], "setting")
        self.seeds = records["seed"].nunique()
        self.main = int(self.about["main_known"])
        found = set(select(records, part="release")["step"])
        self.steps = [step for step in STEPS if step in found]

    @cached_property
    def known(self) -> list[int]:
        """Numbers of readings that an attacker knows."""
        return sorted({int(own) for own in select(self.records, part="linkage")["known"].dropna()})

    @cached_property
    def _groups(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        return dict(iter(self.records.groupby(["part", "metric"], sort=False)))

    @cached_property
    def _known(self) -> dict[tuple[Any, ...], Spread | None]:
        return {}

    def spread(self, part: str, metric: str, **wanted: Any) -> Spread | None:
        """A number: its mean over seeds with the outermost ends of its intervals; None where it was not measured."""
        key = (part, metric, *sorted(wanted.items()))
        if key not in self._known:
            rows = self._groups.get((part, metric))
            self._known[key] = None if rows is None else Spread.of_intervals(select(rows, **wanted))
        return self._known[key]

    def setting(self, metric: str) -> float:
        """A number of the setting; NaN where it is not known."""
        found = self.spread(part="setting", metric=metric)
        return found.mean if found else np.nan

    def release(self, step: str, metric: str) -> Spread | None:
        """Of a release: `bytes`, `seconds`, `information`, `withheld`, `largest_difference`."""
        return self.spread(part="release", step=step, metric=metric)

    # Who is found.

    def linkage(self, step: str, known: int | None = None, metric: str = "right_guess") -> Spread | None:
        """What an attacker with so many readings of a household finds; by default the main number of them."""
        return self.spread(part="linkage", step=step, known=self.main if known is None else known, metric=metric)

    def found(self, step: str, known: int | None = None) -> Spread | None:
        """Share of the households whose record an attacker with some readings names rightly.

        The better of two attackers: one who guesses among all records that agree, and one who takes the nearest. A
        release with names gives every household away, one without records of households none. Of a table of labels the
        attacker knows the labels, and guesses among all that share them.
        """
        if step == RAW:
            return Spread.at(1.0)
        if step in OF_SUMS:
            return Spread.at(0.0)
        if step == LABELS:
            return self.labels("right_guess")
        return self._better(step, known, "right_guess", "top_1")

    def found_in_feeder(self, step: str) -> Spread | None:
        """The same of an attacker who knows the feeder, too, with the main number of readings."""
        return self._better(step, None, "right_guess_in_feeder", "top_1_in_feeder")

    def _better(self, step: str, known: int | None, *metrics: str) -> Spread | None:
        own = [self.linkage(step, known, metric) for metric in metrics]
        there = [one for one in own if one]
        return max(there, key=lambda one: one.mean) if there else None

    def breaking(self, step: str, publication: str = HIERARCHY) -> Spread | None:
        """Combinations of published sums whose group breaks the 15/15 rule."""
        return self.spread(part="differencing", step=step, publication=publication, metric="breaking")

    def risk(self, step: str, attack: str, metric: str = "risk") -> Spread | None:
        """What an attack on household features learns beyond what holds of everybody."""
        return self.spread(part="risk", step=step, attack=attack, metric=metric)

    def auc(self, group_size: int, span: str = "year", target: str = "all") -> Spread | None:
        """How well a household with known readings is told to be in a sum of so many."""
        wanted = {"group_size": group_size, "span": span, "target": target}
        return self.spread(part="sums", metric="auc", **wanted)

    @cached_property
    def group_sizes(self) -> list[int]:
        return sorted({int(own) for own in select(self.records, part="sums")["group_size"].dropna()})

    @cached_property
    def spans(self) -> list[str]:
        found = set(select(self.records, part="sums")["span"].dropna())
        return [span for span in SPANS if span in found]

    # What it costs.

    @cached_property
    def forecasters(self) -> list[str]:
        """Forecasters that were trained on releases."""
        own = select(self.records, part="utility")["forecaster"].dropna().unique()
        return [str(name) for name in own if name not in (WEEK_BEFORE, PERFECT)]

    def utility(self, step: str, metric: str = "mape", forecaster: str = "linear") -> Spread | None:
        """Error or cost of forecasts that learn from a release."""
        return self.spread(part="utility", step=step, metric=metric, forecaster=forecaster)

    def added(self, step: str, metric: str = "cost", forecaster: str = "linear") -> Spread | None:
        """Change against raw readings of the same seed, in percent."""
        own, raw = (self._by_seed(one, metric, forecaster) for one in (step, RAW))
        change = (100 * (own - raw) / raw).dropna()
        return Spread.of(change.to_numpy(np.float64)) if len(change) else None

    def _by_seed(self, step: str, metric: str, forecaster: str) -> pd.Series:
        own = select(self.records, part="utility", step=step, metric=metric, forecaster=forecaster)
        return own.groupby("seed")["value"].mean()

    def total(self, step: str) -> Spread | None:
        """Error of forecasts of the area's total, in percent."""
        return self.spread(part="total", step=step, metric="mape")

    def untrained(self, kind: str, metric: str) -> Spread | None:
        """Of a forecast that needs no training."""
        return self.spread(part="utility", forecaster=kind, metric=metric)

    # What is lost.

    def loss(self, class_size: int, of: str) -> Spread | None:
        """Share of the variance that microaggregation of whole years or mean days takes away."""
        return self.spread(part="microaggregation", class_size=class_size, of=of, metric="loss")

    @cached_property
    def class_sizes(self) -> list[int]:
        return sorted({int(own) for own in select(self.records, part="microaggregation")["class_size"].dropna()})

    def labels(self, metric: str) -> Spread | None:
        """Of the table of generalised labels."""
        return self.spread(part="labels", metric=metric)

    def pattern(self, pattern: str, metric: str) -> Spread | None:
        """Of households that stand out by a habit."""
        return self.spread(part="patterns", pattern=pattern, metric=metric)

    def composition(self, stage: str, metric: str) -> Spread | None:
        """Of two releases, by district and by participation in a solar programme."""
        return self.spread(part="composition", stage=stage, metric=metric)


def named_step(step: str) -> str:
    """A step as people call it."""
    return STEP_NAMES.get(step, step)
