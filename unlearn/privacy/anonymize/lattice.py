"""The node of least loss in a lattice of levels, found exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from unlearn.checks import BoolArray, FloatArray

#: A node: the level of each attribute.
Levels: TypeAlias = tuple[int, ...]


class Scored(NamedTuple):
    """A node that was examined.

    Attributes:
        loss: what it costs; infinite where it fails.
        rules_out_below: whether every node below it fails as well.
    """

    loss: float
    rules_out_below: bool


class Least(NamedTuple):
    """The node of least loss.

    Attributes:
        levels: of each attribute.
        loss: of the node.
        examined: nodes that were examined to know it.
    """

    levels: Levels
    loss: float
    examined: int


def least_loss(depths: Sequence[int], base: Sequence[FloatArray], examine: Callable[[Levels], Scored]) -> Least | None:
    """Find the node of least loss; of several, the lowest in the lattice, then the first by its levels.

    A node's loss is at least its base, the sum over attributes of what the level costs before anything is left out,
    which rises with each level.

    Args:
        depths: levels of each attribute.
        base: of each attribute what each level costs at least, rising, shape (depth,).
        examine: what a node costs, and whether it rules out those below.

    Returns:
        None where every node fails.
    """
    known: dict[Levels, Scored] = {}
    ruled_out = np.zeros(tuple(depths), dtype=bool)

    def score(levels: Levels) -> Scored:
        if levels not in known:
            known[levels] = examine(levels)
            if known[levels].rules_out_below:
                ruled_out[tuple(slice(0, own + 1) for own in levels)] = True
        return known[levels]

    _few_attributes_first(depths, ruled_out, score)
    cost: FloatArray = sum(np.ix_(*base), start=np.zeros(()))
    height = sum(np.ix_(*(np.arange(own) for own in depths)), start=np.zeros((), dtype=np.int64))
    order = np.lexsort((height.ravel(), cost.ravel()))
    best: tuple[float, int, Levels] = (math.inf, 0, ())
    for at in order.tolist():
        # Sums of floats differ in their last bits with the order of their terms.
        if cost.flat[at] > best[0] * (1 + 1e-12):
            break
        if ruled_out.flat[at]:
            continue
        levels = tuple(int(own) for own in np.unravel_index(at, ruled_out.shape))
        loss = score(levels).loss
        if loss < math.inf:
            best = min(best, (loss, int(height.flat[at]), levels))
    return Least(best[2], best[0], len(known)) if best[2] else None


def _few_attributes_first(depths: Sequence[int], ruled_out: BoolArray, score: Callable[[Levels], Scored]) -> None:
    """Rule out nodes by one attribute, then by two, ..., the others at their top.

    What fails with few attributes fails with more. In a lattice of few, whatever stands above a node that does not rule
    out does not either, and is not examined.
    """
    top = tuple(own - 1 for own in depths)
    for size in range(1, len(depths)):
        for chosen in itertools.combinations(range(len(depths)), size):
            stands = np.zeros(tuple(depths[i] for i in chosen), dtype=bool)
            for part in sorted(np.ndindex(stands.shape), key=sum):
                levels = list(top)
                for i, level in zip(chosen, part, strict=True):
                    levels[i] = level
                if stands[part] or ruled_out[tuple(levels)]:
                    continue
                if not score(tuple(levels)).rules_out_below:
                    stands[tuple(slice(own, None) for own in part)] = True
