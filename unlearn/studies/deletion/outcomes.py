"""Outcomes of attacks as records."""

from __future__ import annotations

from unlearn.attacks import Outcome
from unlearn.records import RecordTable


def add_outcome(table: RecordTable, outcome: Outcome, **columns: object) -> None:
    """Add every estimate of an attack with its interval, in the columns `low` and `high`, and what it is counted in."""
    counts = {"attacked": outcome.unit, "n_members": outcome.n_members, "n_others": outcome.n_others}
    for metric, found in outcome.metrics().items():
        table.add(metric, found.value, "", low=found.low, high=found.high, **counts, **columns)
