"""Anomalies as events: when each begins, and how long it takes until one of its hours is flagged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr

#: Labelled hours of one building and kind that are no further apart belong to one event: a bypass at night has days
#: between its nights.
JOIN_H = 24


@short_repr
@dataclass(frozen=True, eq=False)
class Events:
    """E events, by building and time.

    Attributes:
        building: shape (E,).
        start: position of the first labelled hour, shape (E,).
        end: position of the last one, shape (E,).
        kind: code of the anomaly, shape (E,).
    """

    building: IntArray
    start: IntArray
    end: IntArray
    kind: IntArray

    def __len__(self) -> int:
        return len(self.start)


def find_events(building: IntArray, hour: IntArray, labels: BoolArray, kind: IntArray) -> Events:
    """Join labelled hours to events.

    Args:
        building: of each hour, shape (N,).
        hour: its position in the series, shape (N,).
        labels: whether it is anomalous, shape (N,).
        kind: what was injected, shape (N,).
    """
    who, when, what = building[labels], hour[labels], kind[labels]
    order = np.lexsort((when, what, who))
    who, when, what = who[order], when[order], what[order]
    new = np.ones(len(when), dtype=bool)
    new[1:] = (np.diff(who) != 0) | (np.diff(what) != 0) | (np.diff(when) > JOIN_H)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(when)) - 1 if len(first) else first
    return Events(who[first], when[first], when[last], what[first])


def delays_h(events: Events, building: IntArray, hour: IntArray, flagged: BoolArray) -> FloatArray:
    """Hours from the start of each event to its first flagged hour; infinite where none is flagged, shape (E,).

    Hours count in the data's time: the score of an hour may rest on windows that reach past it.

    Args:
        events: of the same buildings.
        building: of each scored hour, shape (N,).
        hour: its position in the series, shape (N,).
        flagged: shape (N,).
    """
    span = 1 + max(int(hour.max(initial=0)), int(events.end.max(initial=0)))
    keys = np.append(np.sort(building[flagged] * span + hour[flagged]), np.iinfo(np.int64).max)
    begin = events.building * span + events.start
    found = keys[np.searchsorted(keys, begin)]
    return np.where(found <= events.building * span + events.end, found - begin, np.inf).astype(np.float64)
