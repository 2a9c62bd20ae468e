"""Timing by repetition: medians with minimum and maximum, of whatever is called."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unlearn.checks import FloatArray
from unlearn.records import RecordTable


@dataclass(frozen=True)
class Timing:
    """Seconds of each repetition."""

    seconds: FloatArray

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def repeat(call: Callable[[], object], repeats: int, prepare: Callable[[], object] | None = None) -> Timing:
    """Call it once to warm up and then `repeats` times; `prepare` runs untimed before each call."""
    seconds = np.empty(repeats + 1)
    for k in range(repeats + 1):
        if prepare is not None:
            prepare()
        start = time.perf_counter()
        call()
        seconds[k] = time.perf_counter() - start
    return Timing(seconds[1:])


def add_timing(
    table: RecordTable, timing: Timing, per: int = 1, unit: str = "s", scale: float = 1.0, **columns
) -> None:
    """Add median, min and max as records: seconds, or `scale` times that, for each of `per` items."""
    seconds = timing.seconds * scale / per
    for metric, value in (("median", np.median(seconds)), ("min", seconds.min()), ("max", seconds.max())):
        table.add(f"time_{metric}", float(value), unit, repeats=len(seconds), **columns)
