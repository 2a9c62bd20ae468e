"""One random stream per purpose and block, so that nothing depends on the order or the size of chunks."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

#: Meters that share a random stream. Part of what a seed means: another size gives other meters.
BLOCK = 1024


class Stream(IntEnum):
    """What a random stream is for; the numbers are part of what a seed means."""

    COUNTS = 0
    TRANSFORMERS = 1
    CLIMATE = 2
    ANOMALOUS = 3
    METERS = 4
    ANOMALIES = 5
    HOURS = 6
    PROFILES = 7


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of a stream; `index` is the block, or block and month."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(stream), *index)))
