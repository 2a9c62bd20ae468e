"""Whether numbers are left anywhere in an object: in arrays of all its attributes, and in what they are parts of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch


def arrays(thing: Any, seen: dict[int, Any] | None = None) -> Iterator[np.ndarray]:
    """All arrays that can be reached from an object."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type(None) | np.dtype | type):
        return
    seen[id(thing)] = thing  # kept, or another object may get its id
    if isinstance(thing, torch.Tensor):
        thing = np.array(thing.detach())
    if isinstance(thing, np.ndarray):
        yield thing
        yield from arrays(thing.base, seen)
    elif isinstance(thing, pd.Index):
        return
    elif isinstance(thing, Mapping):
        for own in thing.values():
            yield from arrays(own, seen)
    elif isinstance(thing, list | tuple | set):
        for own in thing:
            yield from arrays(own, seen)
    elif dataclasses.is_dataclass(thing) or hasattr(thing, "__dict__"):
        yield from arrays(dict(vars(thing)), seen)


def holds(thing: Any, values: np.ndarray) -> bool:
    """Whether any of the values other than 0 stands in a floating array that can be reached from an object."""
    wanted = np.unique(np.asarray(values, dtype=float))
    wanted = wanted[wanted != 0]
    return any(
        np.isin(own.reshape(-1).astype(float), wanted).any()
        for own in arrays(thing)
        if own.dtype.kind == "f" and own.size
    )
