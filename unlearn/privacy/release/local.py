"""Noise at the meter: where no curator is trusted, from whom each way protects, and what it costs.

| way | who sees readings | variance of the noise in a sum of n meters |
|---|---|---|
| central: the curator adds noise to the sum | the curator | 2 b² |
| `distributed_sum`: each meter adds a share of that noise | nobody, if messages are added up in secret | 2 b² |
| `local_sum`: each meter adds all of that noise to its own reading | nobody | n · 2 b² |

All give a bounded reading ε = bound / b: of n = 100 meters, local noise is ten times as wide as central noise.

Bounds and noise are whole steps, as in `unlearn.privacy.release.base`; readings are clipped before, by each meter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import BoolArray, IntArray, require_count, require_shape
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.errors import InputError
from unlearn.privacy.release.draws import discrete_laplaces, polya_differences, require_scale

#: Draws that are in memory at once.
_BLOCK = 1 << 20


def local_sum(steps: ArrayLike, scale: float, source: Noise | NoiseSource = "os") -> IntArray:
    """Sum of readings to each of which its meter has added discrete Laplace noise.

    Local differential privacy: what a meter sends protects by itself, from the utility, too, and from whoever reads
    the line. A reading between 0 and C steps gets ε = C / scale, and the T readings of a meter T times as much. Its
    message can be any reading: the noise of all n is in the sum, whose variance is n times that of central noise.

    >>> local_sum(np.full((250, 24), 100), scale=2000.0).shape
    (24,)

    Args:
        steps: bounded readings of each meter, in whole steps, shape (n, T).
        scale: b in whole steps; the variance of one meter's noise is about 2 b².
        source: "os", or what `noise_source` gave for the data that the readings are of.

    Returns:
        Shape (T,).

    Raises:
        InputError: readings that are no matrix of whole numbers, or a scale out of range.
    """
    readings, bits = _readings(steps), noise_source(source)
    require_scale(scale)
    n_values = readings.shape[1]
    total = readings.sum(axis=0)
    for n in _blocks(*readings.shape):
        total += discrete_laplaces(n * n_values, scale, bits).reshape(n, n_values).sum(axis=0)
    return total


def distributed_sum(
    steps: ArrayLike,
    scale: float,
    source: Noise | NoiseSource = "os",
    honest: float = 1.0,
    present: ArrayLike | None = None,
) -> IntArray:
    """Sum of readings to each of which its meter has added a share of the noise: no curator sees what noise hides.

    The shares add up to discrete Laplace noise (Ács and Castelluccia 2011), so that a reading between 0 and C steps
    gets ε = C / scale in the sum, at the variance of central noise. A single message is next to naked: most shares are
    0. So messages must be added up in secret, by secure aggregation, which shows the sum alone.

    Shares of meters that drop out are missing, and whoever colludes knows their own. With `honest` below 1 so many
    meters suffice for all of the noise, and the others' shares come on top: with all of them the variance is
    1 / `honest` times that of central noise, and ε is no larger.

    >>> distributed_sum(np.full((250, 24), 100), scale=2000.0, honest=0.9).shape
    (24,)

    Args:
        steps: bounded readings of each meter, in whole steps, shape (n, T).
        scale: b of the noise in the sum, in whole steps.
        source: "os", or what `noise_source` gave for the data that the readings are of.
        honest: share of the meters that neither drop out nor collude; the promise holds if at least so many do not.
        present: which meters have sent their message, shape (n,); None for all. The others' readings are not in the
            sum, nor is their noise.

    Returns:
        Shape (T,).

    Raises:
        InputError: readings that are no matrix of whole numbers, a scale or share out of range, or fewer present than
            the promise needs.
    """
    readings, bits = _readings(steps), noise_source(source)
    n_meters, n_values = readings.shape
    shape = 1 / relied_upon(n_meters, honest)
    require_scale(scale)
    sent = _present(present, n_meters)
    if int(sent.sum()) < relied_upon(n_meters, honest):
        raise InputError(
            "present: expected at least the share of meters that was to be honest, got fewer: the noise in the sum "
            "would be less than promised. Release nothing, and lower honest for the next round."
        )
    total = readings[sent].sum(axis=0)
    for n in _blocks(int(sent.sum()), n_values):
        total += polya_differences(n * n_values, shape, scale, bits).reshape(n, n_values).sum(axis=0)
    return total


def relied_upon(n_meters: int, honest: float) -> int:
    """How many meters are to make all of the noise: `honest` times their number, rounded down.

    Raises:
        InputError: a share that is not above 0 and at most 1, or no meter left.
    """
    require_count("number of meters", n_meters)
    if not 0 < honest <= 1:
        raise InputError(f"honest: expected a share above 0 and at most 1, got {honest!r}.")
    found = math.floor(n_meters * Fraction(repr(float(honest))))
    if found < 1:
        raise InputError(f"honest: expected a share that leaves at least one meter, got {honest:g}. Raise it.")
    return found


def _readings(steps: ArrayLike) -> IntArray:
    array = np.asarray(steps)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"steps: expected whole numbers of shape (meters, hours), got {array.dtype} of shape {array.shape}. Bound "
            "and round readings first: floats tell in their last bits what noise should hide."
        )
    require_count("number of meters", len(array))
    return array.astype(np.int64)


def _present(present: ArrayLike | None, n_meters: int) -> BoolArray:
    if present is None:
        return np.ones(n_meters, dtype=bool)
    array = np.asarray(present)
    require_shape("present", array, (n_meters,))
    if array.dtype != bool:
        raise InputError(f"present: expected True or False for each meter, got {array.dtype}.")
    return array


def _blocks(n_meters: int, n_values: int) -> Iterator[int]:
    """Numbers of meters whose draws fit into memory together."""
    size = max(1, _BLOCK // max(1, n_values))
    starts = tqdm(range(0, n_meters, size), desc="noise of meters", delay=2, leave=False)
    return (min(size, n_meters - start) for start in starts)
