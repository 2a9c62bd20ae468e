"""Numbers of the study by method and setting, and what attacks tell of each method.

A setting is one data set of one year, forecaster and selection of removed rows. Its seeds are averaged first, so that
settings with several seeds count no more than others. Costs of settings differ in level, so what is said of several is
relative to complete unlearning in the same setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import Spread, require_columns, require_once, select

ORIGINAL, COMPLETE, TAMU = "original", "retrained", "reweighted/cost"
SCALE, QUANTILE, WEIGHTS, SINGLE_STEP = "scale", "quantile", "weights", "single_step"
CHOSEN, NETWORK = "chosen", "whole_network"

#: Methods as people call them, the simplest first; of re-weighting by the criterion of its scores.
NAMES = {
    ORIGINAL: "original",
    COMPLETE: "complete unlearning",
    "reweighted/mse": "PAMU MSE",
    "reweighted/mape": "PAMU MAPE",
    TAMU: "TAMU",
    SCALE: "one factor",
    "affine": "factor and constant per load",
    QUANTILE: "quantile",
    WEIGHTS: "weights from remaining rows",
    "head": "head on the cost",
    CHOSEN: "chosen on validation",
    NETWORK: "whole network on the cost",
}
#: What tells one setting from another.
SETTING = ["data", "grid", "forecaster", "selection", "proportion"]
#: Shedding's prices over storing's: the paper's, and where both are equal.
PAPER_RATIO, EQUAL = 5.0, 1.0
#: Attacks that need every bit of a model's parameters.
BIT_ATTACKS = ("bits", "low_bits")
#: Share of settings in which something holds that holds mostly; it mostly does not in at most the rest.
MOSTLY = 0.75
#: Of costs that differ by less, relative to complete unlearning, the simpler method is recommended.
NEAR = 0.01
#: Relative difference of two costs that is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Leak:
    """What attacks tell of a method.

    Attributes:
        auc: of the strongest attack, with its simultaneous interval. Attacks on single bits count where no other one
            finds anything.
        attack: its name.
        where: forecaster and selection in which it was strongest.
        found: intervals that leave 0.5 out.
        n: intervals.
        low: lowest end of all intervals.
        high: highest end.
        level: how far from guessing attacks get whose interval leaves 0.5 out: those on values, then those on bits.
    """

    auc: Spread
    attack: str
    where: str
    found: int
    n: int
    low: float
    high: float
    level: tuple[float, float]

    @property
    def in_bits_alone(self) -> bool:
        """Whether only attacks on bits find something."""
        return self.level[1] > 0 == self.level[0]


class TuningTable:
    """Numbers of the study.

    Attributes:
        records: of the study, with the column `name` of methods.
        names: of the methods of the main part, the simplest first.
        forecasters: of the main part.

    Raises:
        InputError: records of something else, without complete unlearning, or with a number twice.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("tuning", records, "part", "method", "criterion", metric="cost")
        reweighted = records["method"].eq("reweighted")
        name = records["method"].where(~reweighted, "reweighted/" + records["criterion"].astype(object).astype(str))
        ratio = records["price_ratio"] if "price_ratio" in records else pd.Series(np.nan, index=records.index)
        share = records["proportion"].astype(float).fillna(0.0)
        own = records.assign(name=name, price_ratio=ratio.astype(float).fillna(PAPER_RATIO).round(6), proportion=share)
        self.records = own.assign(**{key: own[key].astype(object).where(own[key].notna(), "") for key in SETTING[:-1]})
        priced = select(self.records, part=["main", "other", "prices"], split="test")
        require_once("tuning", priced, ["part", *SETTING, "price_ratio", "name", "metric"], ["metric", "name"])
        if COMPLETE not in set(select(priced, part="main", metric="cost")["name"]):
            raise InputError(
                "tuning: expected records of the main part with the cost of complete unlearning, which all other costs "
                "are relative to; run tuning first."
            )
        self._leaks: dict[tuple[str, str | None], Leak | None] = {}
        self.names = self.ordered(select(priced, part="main")["name"].unique())
        self.forecasters = ordered_forecasters(select(priced, part="main")["forecaster"].unique())

    @staticmethod
    def ordered(names: Iterable[Any]) -> list[str]:
        """Names of methods, the simplest first; those that the study does not know come last."""
        found = list(map(str, names))
        return [name for name in NAMES if name in found] + [name for name in found if name not in NAMES]

    @property
    def tunings(self) -> list[str]:
        """Tunings of the completely unlearnt head, without the choice among them."""
        apart = {ORIGINAL, COMPLETE, CHOSEN, NETWORK}
        return [name for name in self.names if name not in apart and not name.startswith("reweighted/")]

    @property
    def complete(self) -> list[str]:
        """Methods that are computed from remaining rows alone."""
        return [name for name in self.names if name != ORIGINAL and not name.startswith("reweighted/")]

    def frame(
        self, metric: str, part: str = "main", more: Sequence[str] = (), split: str = "test", **where: object
    ) -> pd.DataFrame:
        """A metric by setting (rows) and method (columns), seeds averaged.

        Args:
            metric: its name.
            part: of the study.
            more: further columns that tell rows apart, such as the seed.
            split: rows that it was measured on.
            where: what else the records must have.
        """
        own = select(self.records, part=part, metric=metric, split=split, **where)
        if own.empty:
            return pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=[*SETTING, *more]))
        return own.pivot_table("value", [*SETTING, *more], "name", "mean", sort=False)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """Cost of the main part by setting and method."""
        return self.frame("cost")

    @cached_property
    def ratio(self) -> pd.DataFrame:
        """Cost of the main part relative to complete unlearning."""
        return relative(self.cost)

    @cached_property
    def mape(self) -> pd.DataFrame:
        """MAPE of the main part by setting and method."""
        return self.frame("mape")

    @cached_property
    def mape_ratio(self) -> pd.DataFrame:
        """MAPE of the main part relative to complete unlearning: levels differ between settings, as costs do."""
        return relative(self.mape)

    @cached_property
    def prices(self) -> pd.DataFrame:
        """Relative cost by setting, price ratio and method; what lacks at the paper's is taken from the main part."""
        swept = self.frame("cost", "prices", ["price_ratio"])
        if swept.empty:
            return swept
        main = self.frame("cost", "main", ["price_ratio"])
        settings = {key[:-1] for key in swept.index}
        known = [key for key in main.index if key[:-1] in settings and key not in swept.index]
        return relative(pd.concat([swept, main.loc[known]]))

    def at_ratio(self, ratio: float) -> pd.DataFrame:
        """Relative cost by setting and method at one price ratio; without rows if it was not measured."""
        if self.prices.empty:
            return self.prices
        return self.prices[np.isclose(self.prices.index.get_level_values("price_ratio"), ratio)]

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Cost on the remaining rows by setting, seed and λ₁, with the relative `gap` of Frank-Wolfe."""
        keys = ["seed", "l1_budget"]
        found = self.frame("cost", "steps", keys, "remaining")
        if found.empty:
            return found
        gap = self.frame("frank_wolfe_gap", "steps", keys, "remaining")
        return found.assign(gap=column(gap, WEIGHTS).reindex(found.index) / column(found, WEIGHTS))

    def middle(self, frame: pd.DataFrame, name: str, **where: str) -> Spread | None:
        """Median and range over settings of a method's numbers; None where there are none."""
        own = column(frame, name)
        for level, wanted in where.items():
            own = own[own.index.get_level_values(level) == wanted]
        return middle(own)

    def won(self, name: str, against: str, frame: pd.DataFrame | None = None) -> tuple[int, int]:
        """In how many settings a method is below another one, and of how many."""
        frame = self.cost if frame is None else frame
        own = pd.DataFrame({"own": column(frame, name), "other": column(frame, against)}).dropna()
        return int((own["own"] < own["other"]).sum()), len(own)

    @cached_property
    def audit(self) -> pd.DataFrame:
        """A row per method, cell and attack, with the AUC and its interval; without rows if nothing was audited."""
        own = select(self.records, part="audit", metric="auc")
        if own.empty:
            return own
        if not {"low", "high", "attack"} <= set(own):
            raise InputError("tuning: expected the columns attack, low and high of audited models; run tuning anew.")
        return own.dropna(subset=["value", "low", "high"])

    def leak(self, name: str, forecaster: str | None = None) -> Leak | None:
        """What the audit found of a method; None if it was not audited. A choice leaks what its candidates may leak."""
        if (name, forecaster) not in self._leaks:
            self._leaks[name, forecaster] = self._leak(name, forecaster)
        return self._leaks[name, forecaster]

    def _leak(self, name: str, forecaster: str | None) -> Leak | None:
        own = select(self.audit, name=self.tunings if name == CHOSEN else name)
        own = own if forecaster is None else select(own, forecaster=forecaster)
        if own.empty:
            return None
        far = (own["value"] - 0.5).abs().to_numpy()
        out = ~(own["low"].le(0.5) & own["high"].ge(0.5)).to_numpy()
        bits = own["attack"].isin(BIT_ATTACKS).to_numpy()
        level = tuple(float(far[out & kind].max(initial=0.0)) for kind in (~bits, bits))
        # What is found in values tells more than what is found in last bits, and both more than what is not found.
        auc = own["value"].to_numpy()
        first = own.iloc[max(range(len(own)), key=lambda i: (out[i] and not bits[i], out[i], far[i], auc[i]))]
        where = f"{named(first['forecaster'], FORECASTER_NAMES)}, {selected(first['selection'], first['proportion'])}"
        found = Spread.at(first["value"], first["low"], first["high"])
        attack, ends = str(first["attack"]).replace("_", " "), (float(own["low"].min()), float(own["high"].max()))
        return Leak(found, attack, where, int(out.sum()), len(own), *ends, (level[0], level[1]))

    @property
    def power(self) -> bool | None:
        """Whether the audit finds the removed rows in any model that saw them; None where no such model was audited."""
        leaks = [leak for name in self.names if name not in self.complete and (leak := self.leak(name))]
        return any(leak.level[0] for leak in leaks) if leaks else None

    @cached_property
    def _points(self) -> dict[str, np.ndarray]:
        """Of each method relative cost and relative MAPE by setting, shape (n, 2)."""
        mape = self.mape_ratio.reindex(index=self.cost.index, columns=self.names)
        return {name: np.column_stack([self.ratio[name], mape[name]]) for name in self.names}

    def dominates(self, other: str, name: str) -> bool:
        """Whether a method costs no more than one, has no higher MAPE and leaks no more, and is better in one of these.

        Medians are over the settings of the method that is dominated; the other one must have been measured in all.
        """
        own, rival = (self._points[one] for one in (name, other))
        there = np.isfinite(self.cost[name].to_numpy())
        if not (np.isfinite(own[there]).all() and np.isfinite(rival[there]).all()):
            return False
        pairs = list(zip(np.median(rival[there], axis=0), np.median(own[there], axis=0), strict=True))
        if not self._leaks_no_more(other, name):
            return False
        leaks = self.leak(other), self.leak(name)
        levels = [leak.level if leak else (0.0, 0.0) for leak in leaks]
        better = levels[0] < levels[1] or any(a < b for a, b in pairs)
        return better and all(a <= b for a, b in pairs)

    def _leaks_no_more(self, other: str, name: str) -> bool:
        """Whether the audit says so; of methods that were not audited, those of remaining rows alone leak less."""
        rival, own = self.leak(other), self.leak(name)
        if rival is None:
            return own is None and (other in self.complete or not (name in self.complete or other == ORIGINAL))
        return rival.level <= (own.level if own else (0.0, 0.0))

    @cached_property
    def dominated(self) -> dict[str, tuple[str, ...]]:
        """Of each method that is dominated, the methods that dominate it."""
        found = {name: tuple(one for one in self.names if self.dominates(one, name)) for name in self.names}
        return {name: rivals for name, rivals in found.items() if rivals}

    @cached_property
    def recommended(self) -> tuple[str, ...]:
        """Methods that leak nothing, cost no more than complete unlearning, and are not dominated, the best first.

        The best one works in every setting, and is the simplest of those that are near the least cost. A method that
        was not audited does not count where others were.
        """
        costs = {}
        for name in self.complete:
            ratio, leak = self.middle(self.ratio, name), self.leak(name)
            # Complete unlearning is the measure: its last bits, which differ from a refit's, do not rule it out.
            leaks_nothing = (not leak.found or (name == COMPLETE and leak.in_bits_alone)) if leak else self.audit.empty
            if ratio and ratio.mean <= 1 and leaks_nothing and name not in self.dominated:
                costs[name] = ratio.mean
        everywhere = [name for name in costs if column(self.cost, name).notna().all()]
        least = min((costs[name] for name in everywhere), default=np.nan)
        best = [name for name in everywhere if costs[name] <= least + NEAR][:1]
        return (*best, *sorted((name for name in costs if name not in best), key=lambda name: costs[name]))

    @property
    def best(self) -> str:
        """What is recommended first; complete unlearning by itself where nothing is."""
        return (*self.recommended, COMPLETE)[0]

    @property
    def standing(self) -> dict[str, str]:
        """Of each method how it stands: what dominates it, why it is no candidate, or that it is recommended."""
        found = {}
        for name in self.names:
            leak, rivals = self.leak(name), self.dominated.get(name)
            if rivals:
                found[name] = f"dominated by {label(min(rivals, key=lambda one: self.ratio[one].median()))}"
            elif name == ORIGINAL:
                found[name] = "has not forgotten"
            elif name in self.recommended:
                found[name] = "recommended" if name == self.best else "not dominated"
            elif leak and leak.found:
                found[name] = "leaks in last bits" if leak.in_bits_alone else "leaks"
            elif name not in self.complete:
                found[name] = "saw removed rows"
            else:
                found[name] = "not audited" if not leak and len(self.audit) else "–"
        return found


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A method's numbers by setting; empty where it was not measured."""
    return frame[name] if name in frame else pd.Series(np.nan, index=frame.index, dtype=np.float64)


def relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers relative to those of complete unlearning in the same row."""
    return frame.div(column(frame, COMPLETE), axis=0)


def middle(values: pd.Series) -> Spread | None:
    """Median, least and largest of some numbers; None of none."""
    known = values.dropna().to_numpy(np.float64)
    return Spread(float(np.median(known)), float(known.min()), float(known.max()), n=len(known)) if len(known) else None


def label(name: str) -> str:
    """A method as people call it."""
    return named(name, NAMES)


def ordered_forecasters(names: Iterable[Any]) -> list[str]:
    """Forecasters in the order of the style sheet; others after them."""
    found = list(map(str, names))
    return [own for own in FORECASTER_NAMES if own in found] + [own for own in found if own not in FORECASTER_NAMES]


def selected(selection: str, proportion: float) -> str:
    """How the removed rows were picked: "25 % helpful", "one month"."""
    kind = str(selection).partition("/")[0].replace("_", " ")
    if kind in ("helpful", "harmful", "random"):
        return f"{100 * proportion:.0f} % {kind}"
    return "one month" if kind == "month" else kind
