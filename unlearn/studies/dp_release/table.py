"""Numbers of the study of differentially private statistics, looked up in its records."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unlearn.privacy.release.base import LEVELS
from unlearn.reporting.verdict import Spread, over_seeds, require_columns, require_one, select
from unlearn.studies.dp_release.options import PURE, SPANS, WITHIN, ZCDP

#: What one protects, as people call it.
LEVEL_NAMES = {"event": "a reading", "day": "a day of a home", "household": "a home"}
SPAN_NAMES = {"hour": "one hour", "day": "a day of hours", "week": "a week of hours", "year": "a year of hours"}
MECHANISM_NAMES = {
    "laplace": "Laplace",
    "gaussian": "Gaussian",
    "discrete_laplace": "discrete Laplace",
    "discrete_gaussian": "discrete Gaussian",
    "exponential": "exponential",
}
#: A release as the library makes it, among those that are broken on purpose.
INTACT = "intact"
#: What forecasters learn from, beside what is published with noise.
TRUE, PUBLISHED, CONSISTENT, LOCAL = "true loads", "published", "published, consistent", "noise at each meter"


#: Columns of single parts that are looked at whether or not the part was measured.
_COLUMNS = (
    "level", "mechanism", "span", "place", "epsilon", "query", "composition", "answers", "epsilon_each",
    "homes", "within", "larger", "runs",
)  # fmt: skip


class DpReleaseTable:
    """Records of `study_dp_release` of one data set and grid.

    Attributes:
        records: all of them.
        about: data and grid.

    Raises:
        InputError: records of something else, or of several settings.
    """

    def __init__(self, records: pd.DataFrame) -> None:
        require_columns("dp_release", records, "part", run="study_dp_release")
        require_columns("dp_release", records, metric="main_epsilon", run="study_dp_release")
        # What was not measured has no columns of its own.
        self.records = records.reindex(columns=[*records, *(own for own in _COLUMNS if own not in records)])
        self._mechanisms: dict[tuple[str, str, float], str] = {}
        self.about = require_one("dp_release", records, ["data", "grid"], "setting")

    def rows(self, part: str, metric: str, **wanted: Any) -> pd.DataFrame:
        """Records of a metric whose columns have the wanted values, as `select` has them."""
        return select(self._by_metric.get((part, metric), self.records.iloc[:0]), **wanted)

    @cached_property
    def _by_metric(self) -> dict[object, pd.DataFrame]:
        """Records by part and metric: a page asks for hundreds of numbers."""
        return dict(iter(self.records.groupby(["part", "metric"], sort=False)))

    def spread(self, part: str, metric: str, **wanted: Any) -> Spread | None:
        """Mean and range over seeds; None where nothing was measured."""
        return over_seeds(self.rows(part, metric, **wanted))

    def value(self, part: str, metric: str, **wanted: Any) -> float:
        """The mean; NaN where nothing was measured."""
        found = self.spread(part, metric, **wanted)
        return found.mean if found else np.nan

    def setting(self, metric: str) -> float:
        return self.value("setting", metric)

    @cached_property
    def main_epsilon(self) -> float:
        """ε that the answer is about."""
        return self.setting("main_epsilon")

    @cached_property
    def levels(self) -> list[str]:
        """Levels that errors are known of, from the weakest promise."""
        return [own for own in LEVELS if len(self.rows("error", "noise_scale", level=own))]

    @cached_property
    def spans(self) -> list[str]:
        """Spans that errors are known of, the shortest first."""
        return [own for own in SPANS if len(self.rows("error", "noise_scale", span=own))]

    @cached_property
    def epsilons(self) -> list[float]:
        return sorted(select(self.records, part="error")["epsilon"].dropna().unique().tolist())

    def mechanism(self, level: str, span: str, epsilon: float) -> str:
        """The mechanism that takes fewer homes: pure ε for few numbers, concentrated differential privacy for many."""
        key = level, span, epsilon
        if key not in self._mechanisms:
            found = {own: self.homes(level, span, epsilon, mechanism=own) for own in (PURE, ZCDP)}
            known = {name: homes for name, homes in found.items() if np.isfinite(homes)}
            self._mechanisms[key] = min(known, key=lambda name: known[name]) if known else PURE
        return self._mechanisms[key]

    def homes(
        self, level: str, span: str, epsilon: float, within: float = WITHIN[0], mechanism: str | None = None
    ) -> float:
        """Homes that a mean error within a share of the total takes; NaN where that is not known."""
        mechanism = mechanism or self.mechanism(level, span, epsilon)
        return self.value("error", "homes", level=level, span=span, epsilon=epsilon, within=within, mechanism=mechanism)

    @property
    def strongest(self) -> str:
        """The strongest level that errors are known of; empty where there is none."""
        return self.levels[-1] if self.levels else ""

    @property
    def longest(self) -> str:
        """The longest span that errors are known of; empty where there is none."""
        return self.spans[-1] if self.spans else ""

    def main_homes(self, span: str) -> float:
        """Homes that 1 % takes at the strongest level and the main ε."""
        return self.homes(self.strongest, span, self.main_epsilon)

    @property
    def largest_share(self) -> float:
        """The largest lower bound on ε over the promise, of releases as they are."""
        return float((self.intact["value"] / self.intact["epsilon"]).max()) if len(self.intact) else np.nan

    def error(self, place: str, level: str, span: str, epsilon: float, metric: str = "error") -> float:
        """Mean absolute error of the noise over the mean total of a place, or a share of hours."""
        mechanism = self.mechanism(level, span, epsilon)
        wanted = {"place": place, "level": level, "span": span, "epsilon": epsilon, "mechanism": mechanism}
        return self.value("error", metric, homes=None, **wanted)

    @cached_property
    def audited(self) -> pd.DataFrame:
        """Each audited release: what was asked, how, the promise `epsilon`, the lower bound `value`, as one row."""
        return select(self.records, part="audit", metric="epsilon_low")

    @cached_property
    def intact(self) -> pd.DataFrame:
        return self.audited[self.audited["method"] == INTACT]

    @cached_property
    def broken(self) -> pd.DataFrame:
        return self.audited[self.audited["method"] != INTACT]

    def forecast(
        self, method: str, metric: str = "mape", level: str | None = None, epsilon: float | None = None, larger: int = 1
    ) -> Spread | None:
        """MAPE or cost of forecasts that learnt from something; over seeds."""
        own = {"method": method, "level": level, "epsilon": epsilon, "larger": float(larger)}
        return self.spread("utility", metric, **own)

    @cached_property
    def larger(self) -> list[int]:
        """Times that a home stands for, of all feeders that were forecast."""
        return sorted({int(own) for own in select(self.records, part="utility")["larger"].dropna()})
