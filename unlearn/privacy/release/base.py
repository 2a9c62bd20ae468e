"""What a query on meters is, how far one contributor moves it, and what an answer carries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, require_choice, require_count, require_positive, short_repr
from unlearn.errors import InputError
from unlearn.households.meters import RESOLUTION_KWH

#: What two neighbouring data sets differ in, from the weakest promise to the strongest.
LEVELS = ("event", "day", "household")


@dataclass(frozen=True)
class Contribution:
    """How much one contributor may move an answer; chosen without looking at the data.

    Attributes:
        level: what is protected: "event", one reading of one household; "day", all its readings of one calendar day;
            "household", all its readings (user level). Neighbours differ by the presence of one of these.
        kwh_per_hour: readings are clipped to this.
        kwh_per_day: a day's readings of a household are scaled down to at most this energy; None sets no such bound.
            At "event" it has no effect: one reading less would scale the others of its day up.
        days: a household counts with its first so many days in a query, the others as absent; None lets it count with
            all days that the query covers. It has an effect at "household" alone: elsewhere one day less would let
            another one in.
    """

    level: str
    kwh_per_hour: float
    kwh_per_day: float | None = None
    days: int | None = None

    def __post_init__(self) -> None:
        require_choice("contribution.level", self.level, LEVELS)
        require_positive("contribution.kwh_per_hour", self.kwh_per_hour)
        if self.kwh_per_day is not None:
            require_positive("contribution.kwh_per_day", self.kwh_per_day)
        if self.days is not None:
            require_count("contribution.days", self.days)
        if self.steps_per_hour < 1:
            raise InputError(
                f"contribution.kwh_per_hour: expected at least {RESOLUTION_KWH:.2g} kWh, the resolution of readings, "
                f"got {self.kwh_per_hour:g}."
            )
        if self.steps_per_day < 1:
            raise InputError(
                f"contribution.kwh_per_day: expected at least {RESOLUTION_KWH:.2g} kWh, the resolution of readings, "
                f"got {self.kwh_per_day:g}."
            )

    @property
    def steps_per_hour(self) -> int:
        """The bound of a reading in whole steps of `RESOLUTION_KWH`, rounded down."""
        return math.floor(self.kwh_per_hour / RESOLUTION_KWH)

    @property
    def steps_per_day(self) -> int:
        """The bound of a day's energy in whole steps, at most that of 24 full hours."""
        full = 24 * self.steps_per_hour
        if self.kwh_per_day is None or self.level == "event":
            return full
        return min(full, math.floor(self.kwh_per_day / RESOLUTION_KWH))


class Sensitivity(NamedTuple):
    """How far one contributor moves a query's whole numbers at most.

    Attributes:
        l1: sum of the moves, in whole steps.
        l2: Euclidean norm, rounded up.
        linf: largest single move.
    """

    l1: int
    l2: int
    linf: int


@short_repr
@dataclass(frozen=True, eq=False)
class View:
    """What is public of the data that a query sees.

    Attributes:
        hours: the hours that the query covers, a part of the meters' hours without gaps.
        groups: names of the groups of households, public and fixed beforehand: which households there are is not.
    """

    hours: pd.DatetimeIndex
    groups: tuple[str, ...]

    def _in_short(self) -> str:
        return f"{len(self.hours)} hours, {len(self.groups)} groups"

    @property
    def day(self) -> IntArray:
        """Calendar day of each hour, counted from the first, shape (T,)."""
        days = self.hours.normalize()
        return np.asarray((days - days[0]).days, dtype=np.int64)

    @property
    def n_days(self) -> int:
        """Calendar days that the hours touch."""
        return int(self.day[-1]) + 1


class Noisy(NamedTuple):
    """Values with noise, and their confidence intervals, each of shape (K,).

    Attributes:
        values: with noise.
        low: ends of the intervals.
        high: the other ends.
        noise: name of the distribution.
        scale: of it, in the unit of the values.
    """

    values: FloatArray
    low: FloatArray
    high: FloatArray
    noise: str
    scale: float


class Asked(Protocol):
    """A question under way: what it may spend, and where its noise comes from.

    Attributes:
        contribution: the bounds.
        view: what is public.
        confidence: of each interval.
    """

    @property
    def contribution(self) -> Contribution: ...

    @property
    def view(self) -> View: ...

    @property
    def confidence(self) -> float: ...

    def noisy(
        self,
        totals: IntArray,
        sensitivity: Sensitivity,
        step: float,
        share: float = 1.0,
        confidence: float | None = None,
    ) -> Noisy:
        """Add noise to whole numbers, at a share of the cost."""
        ...

    def selected(self, scores: IntArray, linf: int, share: float) -> int:
        """Choose a position with a high score, at a share of the cost."""
        ...

    def selection_scale(self, linf: int, share: float) -> float:
        """Scale s of such a choice: a score that is s log(m / β) below the highest of m has a chance below β."""
        ...


class Query(Protocol):
    """A statistic that is a sum over households of whole numbers: a frozen dataclass of plain settings.

    One of one's own inherits from this class and writes the three methods. Nothing in it may depend on the data.

    Attributes:
        plain: whether the answer is those sums with noise, so that the error is known beforehand.
        name: what records call it.
        unit: of the answer: "kwh", "households", "readings".
        step: what a whole number stands for in that unit: `RESOLUTION_KWH`, or 1.
    """

    plain: ClassVar[bool] = True
    name: str
    unit: str
    step: float

    def cells(self, view: View) -> pd.DataFrame:
        """A row for each of the K whole numbers, with columns that say what it is of, such as `group` and `time`."""
        ...

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        """Sum over some households.

        Args:
            steps: bounded readings in whole steps, 0 where a household is absent, shape (k, T).
            group: position of each household's group, shape (k,).
            view: what is public.

        Returns:
            Shape (K,).
        """
        ...

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        """How far the sum moves if one reading, day or household is there or not."""
        ...

    def answered(self, totals: IntArray, asked: Asked) -> Noisy:
        """Sums over all households, shape (K,), with noise; replaced by queries that are more than that."""
        return asked.noisy(totals, self.sensitivity(asked.contribution, asked.view), self.step)


@short_repr
@dataclass(frozen=True, eq=False)
class Answer:
    """An answer with noise, and what it is worth.

    Attributes:
        query: name of the query.
        unit: of the values.
        cells: what each value is of, K rows.
        values: with noise, shape (K,).
        low: ends of the confidence interval of each value, shape (K,).
        high: shape (K,).
        confidence: of each interval: chance that noise leaves the value of the clipped data inside.
        noise: the distribution, by the name of its mechanism.
        noise_scale: its scale in the unit: b of a Laplace distribution, σ of a Gaussian.
        epsilon: ε that this answer has cost by itself.
        delta: δ of it.
        rho: ρ of it in zero-concentrated differential privacy; 0 where it has none.
        level: what is protected, of `Contribution`.
        source: "opendp", or "simulated", which protects nobody.
    """

    query: str
    unit: str
    cells: pd.DataFrame
    values: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    noise: str
    noise_scale: float
    epsilon: float
    delta: float
    rho: float
    level: str
    source: str

    def _in_short(self) -> str:
        return f"{self.query}: {len(self.values)} values, {self.noise} of scale {self.noise_scale:g} {self.unit}"

    def to_frame(self) -> pd.DataFrame:
        """A row per value: its cell, `value`, `low`, `high`, then what the answer says of all of them."""
        own = self.cells.assign(value=self.values, low=self.low, high=self.high)
        about = ("query", "unit", "confidence", "noise", "noise_scale", "epsilon", "delta", "rho", "level", "source")
        return own.assign(**{name: getattr(self, name) for name in about})
