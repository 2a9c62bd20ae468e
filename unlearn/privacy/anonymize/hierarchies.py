"""Coarser labels of an attribute, level by level: of names by a tree, of numbers by wider intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, require_positive
from unlearn.errors import InputError

#: Label of the top level, which tells nothing.
ANY = "*"


class Hierarchy(Protocol):
    """How an attribute is made coarser: level 0 is the value itself, the last one `ANY`.

    Each level joins whole labels of the one before: whoever shares a label at one level shares one at all above.
    """

    @property
    def depth(self) -> int:
        """Levels, level 0 and the top included."""
        ...

    def labels(self, name: str, values: pd.Series, level: int) -> pd.Series:
        """Label of each value at a level. `name` is that of the column, for messages."""
        ...

    def penalty(self, name: str, values: pd.Series, level: int) -> FloatArray:
        """How much of what is told apart each value loses at a level, 0 to 1, rising with the level."""
        ...


@dataclass(frozen=True)
class Names:
    """Names with coarser ones, such as a feeder, its substation, its area.

    >>> places = Names({"F1": ("S1",), "F2": ("S1",), "F3": ("S2",)})
    >>> [places.labels("feeder", pd.Series(["F1", "F3"]), level).tolist() for level in range(places.depth)]
    [['F1', 'F3'], ['S1', 'S2'], ['*', '*']]

    The penalty of a label is the share of the other names that it stands for as well (normalised certainty penalty, Xu
    et al. 2006): 0 for a name alone, 1 at the top.

    Attributes:
        coarser: of each name its labels at levels 1, 2, ... below the top; empty where there are none.

    Raises:
        InputError: no name, another number of levels for some, or a label below two different ones.
    """

    coarser: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        lengths = {len(own) for own in self.coarser.values()}
        if any(not isinstance(own, str) for own in self.coarser):
            raise InputError("coarser: expected names as text, got others. Write True and 7 as 'True' and '7'.")
        if len(lengths) != 1 or any(isinstance(own, str) for own in self.coarser.values()):
            raise InputError(
                "coarser: expected as many coarser labels for each name, in a tuple, got "
                f"{len(self.coarser)} names with {sorted(lengths)} of them. Repeat a label where a level is missing."
            )
        table = self._table()
        for level in range(1, self.depth - 2):
            pairs = table[[level, level + 1]].drop_duplicates()
            if pairs[level].duplicated().any():
                raise InputError(
                    f"coarser: expected each label of level {level} below one of level {level + 1}, got some below "
                    "two. Name such labels apart."
                )

    @classmethod
    def flat(cls, names: Sequence[str]) -> Names:
        """Names without coarser ones but the top."""
        return cls({str(own): () for own in names})

    @property
    def depth(self) -> int:
        return len(next(iter(self.coarser.values()))) + 2

    def _table(self) -> pd.DataFrame:
        """A row per name, a column per level below the top."""
        rows = [(own, *map(str, labels)) for own, labels in self.coarser.items()]
        return pd.DataFrame(rows, columns=range(self.depth - 1), dtype=object)

    def _codes(self, name: str, values: pd.Series) -> np.ndarray:
        found = pd.Index(self._table()[0]).get_indexer(pd.Index(values.astype(str)))
        if (found < 0).any():
            raise InputError(
                f"{name}: expected names of its hierarchy, which has {len(self.coarser)}, got others as well. Add them."
            )
        return found

    def labels(self, name: str, values: pd.Series, level: int) -> pd.Series:
        codes = self._codes(name, values)
        if level == self.depth - 1:
            return pd.Series(ANY, index=values.index, dtype=object)
        return pd.Series(self._table()[level].to_numpy()[codes], index=values.index, dtype=object)

    def penalty(self, name: str, values: pd.Series, level: int) -> FloatArray:
        codes = self._codes(name, values)
        others = len(self.coarser) - 1
        if level == self.depth - 1:
            return np.full(len(codes), float(others > 0))
        own = self._table()[level]
        shared = own.map(own.value_counts()).to_numpy(dtype=np.float64) - 1
        return np.asarray(shared / max(others, 1), dtype=np.float64)[codes]


@dataclass(frozen=True)
class Intervals:
    """Numbers in intervals, half open, wider from level to level; level 0 is the number itself.

    >>> energy = Intervals((500, 1000))
    >>> [energy.labels("kwh", pd.Series([620, 1100]), level).tolist() for level in range(energy.depth)]
    [['620', '1100'], ['[500, 1000)', '[1000, 1500)'], ['[0, 1000)', '[1000, 2000)'], ['*', '*']]

    The penalty of an interval is its width over the range of the numbers, at most 1.

    Attributes:
        widths: of the intervals at levels 1, 2, ..., each a multiple of the one before.
        start: an end of intervals at all levels.

    Raises:
        InputError: widths that are not above 0, or do not nest.
    """

    widths: Sequence[float]
    start: float = 0.0

    def __post_init__(self) -> None:
        for width in self.widths:
            require_positive("widths", width)
        ratios = [wide / narrow for narrow, wide in zip(self.widths, self.widths[1:], strict=False)]
        if any(abs(own - round(own)) > 1e-9 or round(own) < 2 for own in ratios):
            raise InputError(
                f"widths: expected each a multiple of the one before, such as 500, 1000, 5000, got {list(self.widths)}."
            )

    @property
    def depth(self) -> int:
        return len(self.widths) + 2

    def _numbers(self, name: str, values: pd.Series) -> FloatArray:
        try:
            numbers = values.to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(
                f"{name}: expected numbers, for its hierarchy has intervals, got {values.dtype}."
            ) from None
        if not np.isfinite(numbers).all():
            raise InputError(f"{name}: expected finite numbers, got some that are not. Leave such rows out.")
        return numbers

    def labels(self, name: str, values: pd.Series, level: int) -> pd.Series:
        numbers = self._numbers(name, values)
        if level == self.depth - 1:
            return pd.Series(ANY, index=values.index, dtype=object)
        if level == 0:
            return pd.Series([f"{own:.12g}" for own in numbers], index=values.index, dtype=object)
        # From the narrowest intervals up, so that roundings of floats cannot tear a narrow one between two wide ones.
        place = np.floor((numbers - self.start) / self.widths[0])
        place = np.floor(place / round(self.widths[level - 1] / self.widths[0])).astype(np.int64)
        width = self.widths[level - 1]
        known = {
            own: f"[{self.start + own * width:.12g}, {self.start + (own + 1) * width:.12g})"
            for own in np.unique(place).tolist()
        }
        return pd.Series(place, index=values.index).map(known).astype(object)

    def penalty(self, name: str, values: pd.Series, level: int) -> FloatArray:
        numbers = self._numbers(name, values)
        span = float(np.ptp(numbers)) if len(numbers) else 0.0
        if level == 0 or not span:
            return np.zeros(len(numbers))
        width = span if level == self.depth - 1 else min(self.widths[level - 1], span)
        return np.full(len(numbers), width / span)
