"""Splits by building: some to train on, some for the threshold, some to report on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearn.checks import IntArray, require_fraction, short_repr
from unlearn.errors import InputError


@short_repr
@dataclass(frozen=True, eq=False)
class BuildingSplit:
    """Positions of the buildings that a detector is trained on, that choose its threshold, that it is judged on."""

    train: IntArray
    validation: IntArray
    test: IntArray


def split_buildings(n_buildings: int, validation: float = 0.2, test: float = 0.3, seed: int = 0) -> BuildingSplit:
    """Divide buildings at random, each into one part.

    Args:
        n_buildings: number of buildings.
        validation: share whose labels choose thresholds.
        test: share that results are reported on.
        seed: of the draw.

    Raises:
        InputError: shares that leave no building in a part.
    """
    require_fraction("validation", validation)
    require_fraction("test", test)
    n_validation, n_test = round(validation * n_buildings), round(test * n_buildings)
    n_train = n_buildings - n_validation - n_test
    if min(n_train, n_validation, n_test) < 1:
        raise InputError(
            f"split: expected at least one building in each part, got {n_train} for training, {n_validation} for "
            f"validation and {n_test} for test of {n_buildings}. Give more buildings or other shares."
        )
    order = np.random.default_rng(seed).permutation(n_buildings)
    parts = np.split(order, [n_train, n_train + n_validation])
    return BuildingSplit(*(np.sort(part).astype(np.int64) for part in parts))
