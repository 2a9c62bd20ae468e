"""Numbers of the study of customers, looked up in its records: over seeds, by case, choice and share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Spread, over_seeds, require_columns, require_one, select, write
from unlearn.studies.customers.options import CASES, LINEAR, RANDOM

CASE_NAMES = {
    "leaves": "leaves",
    "objects": "objects, gap left",
    "class_mean": "objects, class mean fills",
    "rescale": "objects, load rescaled",
}
FORECASTER_LABELS = {
    "linear": "Linear",
    "cnn": "CNN, extractor of its own customers",
    "cnn_of_others": "CNN, extractor of simulated customers",
}


#: Models that the audit compares with models that never had the customer.
AUDITED = ("forgotten", "forgotten, both models shown", "positive control", "negative control")


class CustomersTable:
    """Records of `study_customers`, any number of seeds of one data set and grid.

    Attributes:
        records: all of them.
        about: data, grid, weather and number of customers.
        seeds: how many.
        main: share that the answer is about.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("customers", records, "part", "case", run="study_customers")
        self.records = records
        self.about = require_one("customers", records, ["data", "grid", "weather", "n_customers"], "setting")
        self.seeds = records["seed"].nunique()
        divided = select(records, part="division")
        self.main = float(divided["proportion"].iloc[0]) if len(divided) else 0.05

    @cached_property
    def cells(self) -> pd.DataFrame:
        return select(self.records, part=("cell", "original"))

    @cached_property
    def cases(self) -> list[str]:
        """Cases that were measured, in their order."""
        found = set(select(self.records, part=("cell", "refusal"))["case"].dropna())
        return [case for case in CASES if case in found]

    @cached_property
    def choices(self) -> list[str]:
        return [str(own) for own in select(self.records, part="cell", forecaster=LINEAR)["selection"].unique()]

    @cached_property
    def shares(self) -> list[float]:
        return sorted(select(self.records, part=("cell", "refusal"))["proportion"].dropna().unique().tolist())

    @cached_property
    def forecasters(self) -> list[str]:
        return [str(own) for own in select(self.records, part="original")["forecaster"].unique()]

    @cached_property
    def segments(self) -> list[str]:
        return [str(own) for own in select(self.records, part="segment")["segment"].unique()]

    @cached_property
    def _values(self) -> pd.Series:
        keys = ["part", "forecaster", "case", "selection", "proportion", "method", "metric", "seed"]
        own = self.cells.copy()
        own[keys[:6]] = own[keys[:6]].astype(object).where(own[keys[:6]].notna(), "")
        return own.set_index(keys)["value"].sort_index()

    def _series(self, *key: object) -> pd.Series:
        try:
            return self._values.loc[key]  # type: ignore[index]
        except KeyError:
            return pd.Series(dtype=np.float64)

    def original(self, metric: str = "cost", method: str = "original", forecaster: str = LINEAR) -> pd.Series:
        """A number before anybody was removed, by seed."""
        return self._series("original", forecaster, "", "", "", method, metric)

    def cell(
        self,
        case: str,
        choice: str = RANDOM,
        share: float | None = None,
        metric: str = "cost",
        method: str = "forgotten",
        forecaster: str = LINEAR,
    ) -> pd.Series:
        """A number of a cell, by seed; empty where it was refused or not measured."""
        return self._series("cell", forecaster, case, choice, self.main if share is None else share, method, metric)

    def error_cost(
        self,
        case: str = "",
        choice: str = RANDOM,
        share: float | None = None,
        method: str = "original",
        forecaster: str = LINEAR,
    ) -> pd.Series:
        """What forecast errors cost: above a perfect forecast of the same physical load, by seed; no case: before."""
        if not case:
            return self.original("cost", method, forecaster) - self.original("cost", "perfect", forecaster)
        own, perfect = (self.cell(case, choice, share, "cost", one, forecaster) for one in (method, "perfect"))
        return own - perfect

    def added(
        self,
        case: str,
        choice: str = RANDOM,
        share: float | None = None,
        method: str = "forgotten",
        against: str = "original",
        forecaster: str = LINEAR,
        relative: bool = True,
    ) -> Spread | None:
        """What a removal adds to the cost of forecast errors, of the same seed.

        Args:
            case: of `CASES`.
            choice: who is removed.
            share: of the customers; None is the main one.
            method: after the removal.
            against: before it; "stale" and "stale_tuned" are the old model on the new loads.
            forecaster: which one.
            relative: in percent of what forecast errors cost before; else in money/h.
        """
        base = (
            self.error_cost(case, choice, share, against, forecaster)
            if against.startswith("stale")
            else self.error_cost("", method=against, forecaster=forecaster)
        )
        after = self.error_cost(case, choice, share, method, forecaster)
        change = (after - base).dropna()
        if relative:
            change = (100 * change / base).dropna()
        return Spread.of(change.to_numpy()) if len(change) else None

    def spread(self, values: pd.Series) -> Spread | None:
        found = values.dropna().to_numpy(np.float64)
        return Spread.of(found) if len(found) else None

    def removed(self, choice: str = RANDOM, share: float | None = None) -> int:
        """Customers of a removal."""
        own = select(self.cells, selection=choice, proportion=self.main if share is None else share, forecaster=LINEAR)
        return int(own["customers"].max()) if len(own) else 0

    def energy(self, case: str, share: float | None = None) -> Spread | None:
        """Energy of the customers who are removed, in percent of all."""
        return self.spread(100 * self.cell(case, share=share, metric="energy"))

    # Who pays.

    def by_bus(self, case: str, metric: str = "change_of_cost", choice: str = RANDOM) -> pd.DataFrame:
        """A number of each bus, a column for each seed."""
        own = select(self.records, part="bus", case=case, metric=metric, selection=choice)
        return own.pivot_table(index="bus", columns="seed", values="value", sort=False)

    def worst_share(self, case: str, choice: str = RANDOM, worst: int = 3) -> Spread | None:
        """Share of what buses add that the worst few add; those whose cost falls are left out of both."""
        table = self.by_bus(case, choice=choice)
        if table.empty:
            return None
        worse = np.sort(table.clip(lower=0).to_numpy(), axis=0)[::-1]
        total = worse.sum(axis=0)
        return Spread.of((worse[:worst].sum(axis=0) / total)[total > 0]) if (total > 0).any() else None

    def always_worst(self, case: str, choice: str = RANDOM, worst: int = 3) -> int:
        """How many buses are among the worst few with every seed."""
        table = self.by_bus(case, choice=choice)
        found = [set(own.nlargest(worst).index) for _, own in table.items()]
        return len(set.intersection(*found)) if found else 0

    def by_segment(self, case: str, segment: str, choice: str = RANDOM) -> Spread | None:
        """Money a year of a customer of a segment."""
        return over_seeds(select(self.records, part="segment", case=case, selection=choice, segment=segment))

    def division(self, metric: str, case: str = "", choice: str = RANDOM, factor: float = 1.0) -> Spread | None:
        """A number of the division over buses, in another unit; no case: of all."""
        wanted = {"case": case, "selection": choice} if case else {}
        found = over_seeds(select(self.records, part="division", metric=metric, **wanted))
        return found.times(factor) if found else None

    # Worth.

    def worth(self, criterion: str, *, case: str = "", term: str = "") -> pd.DataFrame:
        """Worth of each customer: by influence (`term`, "leaves" adds both) or truly removed (`case`)."""
        own = select(self.records, part="worth", metric="worth", criterion=criterion)
        if case:
            return select(own, method="removed", case=case)
        own = select(own, method="influence")
        if term == "leaves" and len(own):
            keys = ["seed", "customer", "bus", "segment", "unit"]
            return own.groupby(keys)["value"].sum().reset_index()
        return select(own, term=term)

    def agreement(self, metric: str, criterion: str) -> Spread | None:
        return over_seeds(select(self.records, part="agreement", metric=metric, criterion=criterion))

    @cached_property
    def _size(self) -> pd.DataFrame:
        """Energy of each customer, and what its meter stands for on the grid, by seed and customer."""
        keys = ["seed", "customer"]
        energy, factor = (
            select(self.records, part="worth", metric=metric).set_index(keys)["value"]
            for metric in ("energy", "households")
        )
        return pd.DataFrame({"energy": energy, "load": energy * factor}).reset_index()

    def with_size(self, found: pd.DataFrame, size: str = "load") -> float:
        """Rank correlation of worth with a customer's "energy", or with the "load" that its meter stands for."""
        both = found.merge(self._size, on=["seed", "customer"])
        return float(both["value"].corr(both[size], method="spearman")) if both["value"].nunique() > 1 else np.nan

    def per_household(self, found: pd.DataFrame) -> float:
        """Median worth of a customer, divided by the households of its size that its meter stands for on the grid."""
        factor = select(self.records, part="worth", metric="households")[["seed", "customer", "value"]]
        both = found.merge(factor, on=["seed", "customer"], suffixes=("", "_households"))
        return float((both["value"] / both["value_households"]).median())

    # Evidence.

    def audit(self, method: str, metric: str = "mean_auc") -> Spread | None:
        own = select(self.records, part="audit", method=method, metric=metric)
        if own.empty:
            return None
        ends = own.reindex(columns=["low", "high"]).fillna(own["value"].iloc[0])
        return Spread.at(own["value"].mean(), ends["low"].min(), ends["high"].max())

    def groups(self, kind: str) -> pd.DataFrame:
        """Sizes and largest shares of loads or classes, and whether they meet the 15/15 rule, over seeds."""
        own = select(self.records, part="group", method=kind)
        return own.pivot_table(index=["seed", "bus"], columns="metric", values="value", sort=False)

    def complete(self, forecaster: str = LINEAR) -> tuple[int, int, float]:
        """Cells that are complete, cells, and the largest distance to a refit."""
        own = select(self.records, part="cell", forecaster=forecaster)
        flags = select(own, metric="complete")["value"]
        far = select(own, metric="distance_to_retrained")["value"]
        return int(flags.sum()), len(flags), float(far.max()) if len(far) else np.nan


def pm(found: Spread | None, form: str = "short", sign: bool = False) -> str:
    """Mean ± standard deviation, such as "61.2 ± 4.1"; a dash where there is none."""
    if found is None:
        return "–"
    plus = "+" if sign and found.mean > 0 else ""
    mean = write(found.mean, form)
    if not np.isfinite(found.sd):
        return f"{plus}{mean}"
    return f"{plus}{mean} ± {write(found.sd, '.2g' if found.sd < 100 else form)}"


def signed(found: Spread | None) -> str:
    """A change in percent, and whether its seeds differ in sign."""
    if found is None:
        return "–"
    return f"{pm(found, sign=True)} %{'' if found.n == 1 or found.leaves_out(0.0) else ' (not clear)'}"


def interval(found: Spread) -> str:
    """A number with its interval."""
    return f"{write(found.mean, '.2f')} ({write(found.low, '.2f')} to {write(found.high, '.2f')})"


def median(found: pd.DataFrame) -> str:
    """Median of records."""
    return write(float(found["value"].median()), "short")


def range_of(found: pd.DataFrame) -> str:
    """From 5 to 95 % of records."""
    low, high = np.quantile(found["value"], (0.05, 0.95))
    return f"{write(float(low), 'short')} to {write(float(high), 'short')}"


def share_negative(found: pd.DataFrame) -> str:
    """Share of records below 0."""
    return f"{100 * (found['value'] < 0).mean():.0f} %"
