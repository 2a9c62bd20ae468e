"""Numbers of the comparison, looked up in its records."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import Spread, over_seeds, require_columns, require_one, select
from unlearn.studies.comparison.options import DP, FORECAST, MPC, NONE, PSEUDONYMS, SECURE, TECHNIQUES, TOTALS, WEEK
from unlearn.studies.comparison.texts import WORDS

_COLUMNS = ("part", "technique", "task", "epsilon", "metric", "seed", "value")
#: Points of MAPE that rounding to whole Wh may cost.
EXACT = 0.01


class Row(NamedTuple):
    """A technique at its ε."""

    technique: str
    epsilon: float | None

    @property
    def name(self) -> str:
        """As people call it."""
        if self.technique == WEEK:
            return "load of a week before"
        at = "" if self.epsilon is None else f", ε = {self.epsilon:g}"
        return f"{WORDS[self.technique].name}{at}"


class ComparisonTable:
    """Records of `study_comparison` of one data set and grid.

    Attributes:
        records: all of them.
        about: data and grid.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("comparison", records, "part", "technique", run="study_comparison")
        # Looking up in few columns is faster.
        self.records = records.reindex(columns=list(_COLUMNS))
        self.about = require_one("comparison", records, ["data", "grid"], "setting")
        self.rows = [
            Row(technique, None if np.isnan(epsilon) else epsilon)
            for technique in TECHNIQUES
            for epsilon in sorted(select(self.records, technique=technique)["epsilon"].unique().tolist())
        ]

    @property
    def all_rows(self) -> list[Row]:
        """Those, and techniques whose package was missing, in order."""
        asked = set(self.records["technique"].dropna())
        measured = {row.technique for row in self.rows}
        found = [*self.rows, *(Row(own, None) for own in TECHNIQUES if own in asked - measured)]
        return sorted(found, key=lambda row: (TECHNIQUES.index(row.technique), row.epsilon or 0.0))

    @property
    def refused(self) -> bool:
        """Whether aggregators refused totals that differ by one home, at all seeds."""
        found = self.spread("attack", "refused", Row(MPC, None))
        return found is not None and found.low == 1

    def spread(self, part: str, metric: str, row: Row | None = None, **wanted: Any) -> Spread | None:
        """Mean and range over seeds; None where nothing was measured."""
        own = {} if row is None else {"technique": row.technique, "epsilon": row.epsilon}
        return over_seeds(select(self.records, part=part, metric=metric, **own, **wanted))

    def setting(self, metric: str) -> float:
        found = self.spread("setting", metric)
        return found.mean if found else np.nan

    def utility(self, row: Row, task: str, metric: str) -> Spread | None:
        """Error or cost of a task."""
        return self.spread("utility", metric, row, task=task)

    def lost(self, row: Row, task: str, metric: str) -> Spread | None:
        """By how much more than without protection, seed by seed."""
        own, none = (
            select(
                self.records, part="utility", task=task, metric=metric, technique=one.technique, epsilon=one.epsilon
            ).set_index("seed")["value"]
            for one in (row, Row(NONE, None))
        )
        both = (own - none).dropna()
        return Spread.of(both.to_numpy()) if len(both) else None

    def least_lost(self, rows: list[Row], task: str) -> Row | None:
        """The row that loses least money."""
        found = {row: own.mean for row in rows if (own := self.lost(row, task, "cost"))}
        return min(found, key=lambda row: found[row]) if found else None

    @property
    def week_wins(self) -> list[Row]:
        """Techniques whose forecasts cost more than the load of a week before."""
        week = self.utility(Row(WEEK, None), FORECAST, "cost")
        found = []
        for row in self.rows:
            own = self.utility(row, FORECAST, "cost")
            if week and own and own.mean > week.mean:
                found.append(row)
        return found

    @cached_property
    def exact(self) -> list[Row]:
        """Techniques that give the totals, exact in whole Wh."""
        return [row for row in self.rows if (own := self.lost(row, TOTALS, "mape")) and abs(own.mean) < EXACT]

    @property
    def secure_lost(self) -> float:
        """Points of MAPE that an exact secure sum of totals loses; NaN where it was not measured."""
        return _mean(self.lost(Row(SECURE, None), TOTALS, "mape"))

    @property
    def noise_lost(self) -> float:
        """Points of MAPE that noise at the main ε takes from totals."""
        return _mean(self.lost(Row(DP, self.setting("main_epsilon")), TOTALS, "mape"))

    @property
    def pseudonyms_found(self) -> float:
        """Share of pseudonyms that a few readings find."""
        return _mean(self.spread("attack", "linked", Row(PSEUDONYMS, None)))


def _mean(found: Spread | None) -> float:
    return found.mean if found else np.nan
