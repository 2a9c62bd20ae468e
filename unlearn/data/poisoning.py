"""Poisoned training data: attacks on measured loads in random intervals of the training hours, with an exact mask.

The templates are those of the literature on attacks against load forecasting. Noise follows the benchmark of
robustness by Luo, Hong and Fang (International Journal of Forecasting 34(1), 2018), who multiply loads of randomly
chosen hours by random factors; scaling and ramp (up and down again) follow Cui, Wang and Yue (IEEE Transactions on
Smart Grid 10(5), 2019). With strength s and load y of an hour:

- noise: `y (1 + s e)`, e standard normal, of each hour and load by itself;
- scaling: `y (1 + s)` in the whole interval;
- ramp: `y (1 + s r)`, where r rises linearly to 1 in the middle of an interval and falls again.

Only loads are poisoned: features are the calendar and the weather, which an attacker on meters does not reach. A data
set is scaled to a grid before it is poisoned, so that models of poisoned and of clean data differ in the poison and in
nothing else. An operator who scales poisoned data would have a scale that the poison has touched, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import (
    FloatArray,
    IntArray,
    require_choice,
    require_count,
    require_fraction,
    require_rows,
    short_repr,
)
from unlearn.data.dataset import LoadDataset
from unlearn.errors import InputError


@short_repr
@dataclass(frozen=True, eq=False)
class Poisoned:
    """A data set with poison in it, and the truth about it.

    Attributes:
        dataset: the data set as an operator sees it.
        original: the same with the values before the attack.
        mask: hours that were attacked, shape (N,); validation and test hours never are.
        rows: rows that could have been attacked, sorted.
        kind: of the attack.
        strength: of the attack.
        share: of `rows` that was asked to be attacked; the mask has it in whole hours.
    """

    dataset: LoadDataset
    original: LoadDataset
    mask: NDArray[np.bool_]
    rows: IntArray
    kind: str
    strength: float
    share: float


def poison(
    dataset: LoadDataset,
    share: float,
    kind: str,
    strength: float,
    seed: int = 0,
    *,
    interval_hours: int = 24,
    rows: ArrayLike | None = None,
    loads: Sequence[str] | None = None,
) -> Poisoned:
    """Poison a share of the training hours.

    Time is cut into intervals with a random start; intervals in random order are poisoned until the share is reached,
    the last one in part. With the same seed, the hours of a smaller share are among those of a larger one, with the
    same values.

    Args:
        dataset: clean data, scaled to the grid already.
        share: share of `rows`, between 0 and 1, rounded to whole hours.
        kind: "noise", "scaling" or "ramp".
        strength: s above; scaling and ramp take at least -1, below 0 lowers loads; noise is above 0.
        seed: of intervals and noise.
        interval_hours: length of an interval; attacked intervals may follow each other.
        rows: rows that may be attacked; None stands for all training rows. Of a network, pass `split.sensitive`, as its
            core is trusted.
        loads: names of the loads that are attacked; None stands for all.

    Returns:
        Poisoned, original, mask. Loads that would fall below 0 are 0.

    Raises:
        InputError: an unknown kind or load, a strength of 0 or out of range, rows outside of the training rows.
    """
    require_choice("poison: kind", kind, ("noise", "scaling", "ramp"))
    require_fraction("poison: share", share)
    require_count("poison: interval_hours", interval_hours)
    _require_strength(kind, strength)
    columns = _columns(dataset, loads)
    open_rows = _open_rows(dataset, rows)
    random = np.random.default_rng(seed)
    offset = int(random.integers(interval_hours))
    interval, place = np.divmod(open_rows + offset, interval_hours)
    shape = (len(open_rows), dataset.n_loads)
    factor = 1.0 + strength * _factors(kind, place, interval_hours, shape, random)
    turn = random.permutation(int(interval[-1]) + 1)[interval]
    chosen = np.lexsort((open_rows, turn))[: max(1, round(share * len(open_rows)))]
    attacked = np.sort(chosen)
    load_mw = dataset.load_mw.copy()
    where = np.ix_(open_rows[attacked], columns)
    load_mw[where] = np.maximum(load_mw[where] * factor[np.ix_(attacked, columns)], 0.0)
    mask = np.zeros(len(load_mw), dtype=bool)
    mask[open_rows[attacked]] = True
    return Poisoned(dataset.with_loads(load_mw), dataset, mask, open_rows, kind, strength, share)


def _factors(
    kind: str, place: IntArray, length: int, shape: tuple[int, int], random: np.random.Generator
) -> FloatArray:
    """What is multiplied by the strength, of hours at a place in their interval."""
    if kind == "noise":
        return random.standard_normal(shape)
    rising = np.minimum(place + 1, length - place) / ((length + 1) // 2)
    return np.broadcast_to(rising[:, None], shape) if kind == "ramp" else np.ones(shape)


def _require_strength(kind: str, strength: float) -> None:
    lowest = 0.0 if kind == "noise" else -1.0
    if not np.isfinite(strength) or strength < lowest or strength == 0:
        raise InputError(
            f"poison: strength: expected a number {'above 0' if kind == 'noise' else 'of at least -1 other than 0'} "
            f"for {kind}, got {strength!r}."
        )


def _columns(dataset: LoadDataset, loads: Sequence[str] | None) -> IntArray:
    if loads is None:
        return np.arange(dataset.n_loads)
    unknown = [name for name in loads if name not in dataset.load_names]
    if isinstance(loads, str) or unknown or not len(loads) or len(set(loads)) < len(loads):
        raise InputError(
            f"poison: loads: expected a list of some of {', '.join(dataset.load_names)}, each once; got {loads!r}."
        )
    return np.array([dataset.load_names.index(name) for name in loads])


def _open_rows(dataset: LoadDataset, rows: ArrayLike | None) -> IntArray:
    if rows is None:
        return dataset.split.train
    chosen = require_rows("poison: rows", rows, len(dataset.timestamps))
    outside = np.setdiff1d(chosen, dataset.split.train)
    if outside.size or not chosen.size:
        raise InputError(
            f"poison: rows: expected some training rows, got {outside.size} of {chosen.size} that are not, "
            f"{f'first {outside[0]}' if outside.size else 'none at all'}. Validation and test rows stay clean."
        )
    return chosen
