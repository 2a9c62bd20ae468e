"""Numbers of the study of federated learning, looked up in its records."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Spread, require_columns, require_one, select
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    CUSTOMER,
    CUSTOMERS,
    DROPPED,
    EXACT,
    FEDERATED,
    HALF_BACK,
    HEAD,
    KEPT,
    LATE,
    LINEAR,
    MIXER,
    NOISY,
    NOTHING_WRONG,
    OTHER_SEED,
    POISONED,
    POOLED,
    PROCESSES,
    RETRAINED,
    ROLLED_BACK,
    SCALED,
    SECURE,
    SINGLE,
    STEPS,
    SUM,
    UTILITY,
    WEIGHTED_MEAN,
)

FORECASTER_NAMES = {LINEAR: "linear", HEAD: "Mixer, exact head", MIXER: "Mixer, averaged"}
METHOD_NAMES = {
    FEDERATED: "federated, one secure sum",
    POOLED: "pooled",
    ALONE: "each utility alone",
    AVERAGED: "federated averaging",
    SECURE: "federated averaging, secure sums",
    PROCESSES: "federated averaging, each in a process of its own",
    EXACT: "exact subtraction",
    RETRAINED: "averaging anew",
    ROLLED_BACK: "rolled back, all rounds repeated",
    HALF_BACK: "rolled back, half of them",
    KEPT: "nothing done",
    OTHER_SEED: "never joined, another seed",
}
CASE_NAMES = {
    UTILITY: "a utility",
    LATE: "a utility that joined late",
    CUSTOMER: "a customer",
    CUSTOMERS: "several customers",
}
WRONG_NAMES = {
    NOTHING_WRONG: "nothing",
    DROPPED: "a member vanishes",
    SCALED: "a scaled update",
    POISONED: "a poisoned update",
}
AGGREGATE_NAMES = {
    WEIGHTED_MEAN: "weighted mean",
    "clipped": "clipped mean",
    "median": "median",
    "trimmed": "trimmed mean",
    "krum": "Krum",
    "multi_krum": "multi-Krum",
    "geometric": "geometric median",
}
VIEW_NAMES = {SINGLE: "a member's update", STEPS: "of several local steps", SUM: "the secure sum", NOISY: "with noise"}
#: Ways to tell who owns an electric car.
PILOT_NAMES = {
    FEDERATED: "federated averaging",
    POOLED: "pooled",
    ALONE: "each utility alone",
    "private": "private gradient descent",
    "private_least_squares": "private least squares",
    "least_squares": "least squares, exact sums",
    "night_share": "share of energy at night",
    "high_hours": "hours above 3 kW",
}
#: Columns of single parts that are looked at whether or not the part was measured.
_COLUMNS = (
    "utility", "case", "wrong", "aggregate", "survivors", "epsilon", "view", "batch", "noise_multiplier", "party",
    "family", "n_changed", "whose",
)  # fmt: skip


class FederatedTable:
    """Records of `study_federated` of one data set and grid.

    Attributes:
        records: all of them.
        about: data and grid.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("federated", records, "part", run="study_federated")
        require_columns("federated", records, metric="utilities", run="study_federated")
        # What was not measured has no columns of its own.
        self.records = records.reindex(columns=[*records, *(own for own in _COLUMNS if own not in records)])
        self.about = require_one("federated", records, ["data", "grid"], "setting")

    def rows(self, part: str, metric: str, **wanted: Any) -> list[dict[str, Any]]:
        """Records of a metric whose columns have the wanted values; None asks for an empty cell."""
        known = self._by_metric.get((part, metric), [])
        return [row for row in known if all(row.get(column) == value for column, value in wanted.items())]

    @cached_property
    def _by_metric(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Records by part and metric, without empty cells: a page asks for hundreds of numbers."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.records.to_dict("records"):
            own = {str(column): value for column, value in row.items() if pd.notna(value)}
            if "value" in own and "part" in own:
                found.setdefault((own["part"], own["metric"]), []).append(own)
        return found

    def by_seed(self, part: str, metric: str, **wanted: Any) -> dict[int, float]:
        """The mean over utilities for each seed."""
        found: dict[int, list[float]] = {}
        for row in self.rows(part, metric, **wanted):
            found.setdefault(row["seed"], []).append(row["value"])
        return {seed: float(np.mean(own)) for seed, own in found.items()}

    def spread(self, part: str, metric: str, **wanted: Any) -> Spread | None:
        """Mean and range over seeds, of the mean over utilities; None where nothing was measured."""
        found = self.by_seed(part, metric, **wanted)
        return Spread.of(list(found.values())) if found else None

    def value(self, part: str, metric: str, **wanted: Any) -> float:
        """The mean; NaN where nothing was measured."""
        found = self.spread(part, metric, **wanted)
        return found.mean if found else np.nan

    def most(self, part: str, metric: str, **wanted: Any) -> float:
        """The largest value of all seeds; NaN where nothing was measured."""
        return max((float(row["value"]) for row in self.rows(part, metric, **wanted)), default=np.nan)

    def setting(self, metric: str) -> float:
        return self.value("setting", metric)

    @property
    def seeds(self) -> int:
        return int(self.records["seed"].nunique())

    def values(self, part: str, column: str) -> list[Any]:
        """Values that a column takes in a part, in the order in which they were measured."""
        return list(select(self.records, part=part)[column].dropna().unique().tolist())

    def gap(self, part: str, metric: str, own: dict[str, Any], other: dict[str, Any]) -> Spread | None:
        """How much more one has than another, in percent, seed by seed, of means over utilities."""
        one, two = (self.by_seed(part, metric, **which) for which in (own, other))
        change = [100 * (one[seed] / two[seed] - 1) for seed in one if seed in two]
        return Spread.of(change) if change else None

    def to_pooled(self, metric: str = "cost", method: str = AVERAGED) -> Spread | None:
        """Gap of the averaged Mixer to the pooled one, in percent."""
        right = {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
        return self.gap("averaging", metric, {"method": method, **right}, {"method": POOLED})

    def to_alone(self, metric: str = "cost") -> Spread | None:
        """Gap of the averaged Mixer to those of each utility alone, in percent."""
        right = {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
        return self.gap("averaging", metric, {"method": AVERAGED, **right}, {"method": ALONE})

    def under(self, wrong: str, aggregate: str, metric: str = "mse") -> Spread | None:
        """Error of the averaged Mixer where something goes wrong, over that of the weighted mean where nothing does."""
        change = self.gap(
            "attacked", metric, {"wrong": wrong, "aggregate": aggregate},
            {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN},
        )  # fmt: skip
        return Spread(1 + change.mean / 100, 1 + change.low / 100, 1 + change.high / 100) if change else None

    @property
    def aggregates(self) -> list[str]:
        return [own for own in AGGREGATE_NAMES if own in self.values("attacked", "aggregate")]

    @property
    def wrongs(self) -> list[str]:
        return [own for own in WRONG_NAMES if own in self.values("attacked", "wrong")]

    @property
    def cases(self) -> list[str]:
        return [own for own in CASE_NAMES if own in self.values("unlearning", "case")]

    @property
    def forecasters(self) -> list[str]:
        """Forecasters that are summed up exactly."""
        return [own for own in (LINEAR, HEAD) if own in self.values("exact", "forecaster")]

    def unlearnt(self, case: str, method: str, metric: str = "distance", **wanted: Any) -> Spread | None:
        """A number of a way to unlearn; of exact ones over all forecasters."""
        return self.spread("unlearning", metric, case=case, method=method, **wanted)

    @property
    def exact_distance(self) -> float:
        """Largest distance of an exactly unlearnt model to the never-joined one."""
        return self.most("unlearning", "distance", method=EXACT)

    @property
    def pooled_distance(self) -> float:
        """Largest distance of a federated model of one sum to the pooled one."""
        return self.most("exact", "distance", method=FEDERATED)

    @property
    def attacked(self) -> list[tuple[str, float, float]]:
        """Attacked updates: what is seen, windows in it, noise (NaN: none), in the order measured."""
        found = select(self.records, part="inversion", metric="error")
        keys = found[["view", "batch", "noise_multiplier"]].drop_duplicates()
        return [(str(view), float(batch), float(noise)) for view, batch, noise in keys.itertuples(index=False)]

    def inversion(self, view: str, batch: float, noise: float = np.nan, metric: str = "relative") -> Spread | None:
        """Error of an attack over that of guessing the mean, or another number of it."""
        level = None if np.isnan(noise) else noise
        return self.spread("inversion", metric, view=view, batch=batch, noise_multiplier=level)

    def by_batch(self, view: str) -> list[tuple[float, Spread]]:
        """The attack on updates without noise, by the windows of each member, the fewest first."""
        batches = sorted(batch for own, batch, noise in self.attacked if own == view and np.isnan(noise))
        return [(batch, found) for batch in batches if (found := self.inversion(view, batch))]

    def inverted(self, view: str) -> Spread | None:
        """The attack on the smallest batch."""
        found = self.by_batch(view)
        return found[0][1] if found else None

    @property
    def survivors(self) -> list[float]:
        """Numbers of members that rounds end with, the most first."""
        return sorted(map(float, self.values("privacy", "survivors")), reverse=True)

    def spent(self, way: str, survivors: float) -> float:
        """ε of the training: "promised", "right" or "naive", given who survives."""
        return self.value("privacy", "epsilon_spent", method=way, survivors=survivors)

    def pilot(
        self, method: str, metric: str = "auc", epsilon: float | None = None, whose: str = "simulated"
    ) -> Spread | None:
        """How well owners of electric cars are told, among simulated households in number or among these."""
        return self.spread("privacy", metric, method=method, epsilon=epsilon, whose=whose)

    @property
    def pilot_epsilons(self) -> list[float]:
        return sorted({row["epsilon"] for row in self.rows("privacy", "auc", method="private")})
