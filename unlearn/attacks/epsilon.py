"""Audit of a private mechanism: the ε that its outputs on two neighbouring data sets show that it cannot be below.

A mechanism with (ε, δ) gives every event E at most e^ε times the chance plus δ on a neighbouring data set. So an event
that is frequent on one and rare on the other proves a lower bound, ε >= log((P(E) - δ) / Q(E)), whatever the mechanism
does inside (Jagielski, Ullman and Oprea 2020; Ding et al. 2018). The event is chosen on one half of the runs and
measured on the other, by Clopper and Pearson's bounds. A bound above the promised ε shows that the promise is broken,
by wrong noise or a wrong sensitivity. One below it shows nothing: the worst neighbours or event may have been missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_count,
    require_finite,
    require_fraction,
    require_shape,
)
from unlearn.errors import InputError

#: Fewest runs, of which half choose the event; most thresholds that are tried.
_FEWEST, _THRESHOLDS = 100, 2000

#: What an event says of a score, in the order in which counts stand.
EVENTS = ("at most", "above", "equal to")


@dataclass(frozen=True)
class EpsilonBound:
    """What an audit has shown.

    Attributes:
        low: ε is at least this, with the confidence; at least 0.
        event: what of the score happens: "at most", "above" or "equal to" the threshold.
        threshold: of the score.
        side: data set on which the event is the more frequent: 0 for that of `run`, 1 for that of `neighbour_run`.
        frequent: lower bound of the event's chance there.
        rare: upper bound of its chance on the other one.
        n_runs: runs on each data set that it was measured in, apart from those that chose the event.
        delta: δ that was allowed.
        confidence: of `low`.
        most: the largest bound that so many runs could show.
    """

    low: float
    event: str
    threshold: float
    side: int
    frequent: float
    rare: float
    n_runs: int
    delta: float
    confidence: float
    most: float

    def breaks(self, epsilon: float) -> bool:
        """Whether the audit shows that a mechanism does not keep this ε."""
        return self.low > epsilon


#: Outputs of n independent runs, shape (n,) or (n, k).
Run = Callable[[int], ArrayLike]


def audit_epsilon(
    run: Run,
    neighbour_run: Run,
    n_runs: int = 10_000,
    delta: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
    score: Callable[[FloatArray], ArrayLike] | None = None,
) -> EpsilonBound:
    """Bound ε of a mechanism from below by its outputs on two neighbouring data sets.

    >>> random = np.random.default_rng(0)
    >>> found = audit_epsilon(lambda n: random.laplace(0, 1, n), lambda n: random.laplace(1, 1, n))
    >>> 0.7 < found.low < 1.0
    True

    Args:
        run: `run(n)` returns the outputs of n runs on one data set, shape (n,) or (n, k). Each is to be a release of
            its own, with all that a release sets up anew: a generator that starts from a seed among it.
        neighbour_run: the same on a data set that differs by one contributor.
        n_runs: runs on each data set, half of which choose the event.
        delta: δ that the mechanism promises.
        confidence: chance of the bound to hold.
        seed: of the halves.
        score: turns outputs into one number each, (n, k) or (n,) -> (n,), the same for both data sets; None takes
            numbers as they are, and of vectors the direction in which means differ by the most standard deviations.

    Returns:
        The bound, and the event that shows it.

    Raises:
        InputError: a setting out of range, or outputs or scores that are not finite or of another shape.
    """
    if require_count("n_runs", n_runs) < _FEWEST:
        raise InputError(f"n_runs: expected at least {_FEWEST}, got {n_runs}: fewer show next to nothing.")
    if delta != 0:
        require_fraction("delta", delta)
    tail = (1 - require_fraction("confidence", confidence)) / 2  # one for each of two chances
    random = np.random.default_rng(seed)
    outputs = [_outputs(name, own(n_runs), n_runs) for name, own in (("run", run), ("neighbour_run", neighbour_run))]
    if outputs[0].shape != outputs[1].shape:
        raise InputError(
            f"neighbour_run: expected outputs of shape {outputs[0].shape} as of run, got {outputs[1].shape}. A "
            "mechanism whose output tells its size has given something away already."
        )
    halves = [np.split(own[random.permutation(n_runs)], [n_runs // 2]) for own in outputs]
    learn, measure = ([own[half] for own in halves] for half in (0, 1))
    if score is not None:
        learn, measure = ([_scored(score, own) for own in part] for part in (learn, measure))
    elif outputs[0].ndim == 2:
        direction = _direction(learn)
        learn, measure = ([own @ direction for own in part] for part in (learn, measure))
    thresholds = _thresholds(learn)
    shown = _shown(_counts(learn, thresholds), (len(learn[0]), len(learn[1])), delta, tail)
    side, event, place = np.unravel_index(int(shown.low.argmax()), shown.low.shape)
    threshold = thresholds[place : place + 1]
    n = len(measure[0])
    found = _shown(_counts(measure, threshold), (n, n), delta, tail)
    at = (side, event, 0)
    most = _shown(np.array([[[n]], [[0]]]), (n, n), delta, tail).low[0, 0, 0]
    return EpsilonBound(
        low=float(found.low[at]),
        event=EVENTS[event],
        threshold=float(threshold[0]),
        side=int(side),
        frequent=float(found.frequent[at]),
        rare=float(found.rare[at]),
        n_runs=n,
        delta=delta,
        confidence=confidence,
        most=float(most),
    )


def _outputs(name: str, outputs: ArrayLike, n_runs: int) -> FloatArray:
    array = as_floats(name, outputs)
    if array.ndim not in (1, 2) or len(array) != n_runs:
        raise InputError(
            f"{name}: expected outputs of {n_runs} runs, of shape ({n_runs},) or ({n_runs}, k), got {array.shape}."
        )
    require_finite(f"outputs of {name}", array)
    return array


def _scored(score: Callable[[FloatArray], ArrayLike], outputs: FloatArray) -> FloatArray:
    array = as_floats("score", score(outputs))
    require_shape("score", array, (len(outputs),))
    require_finite("score", array)
    return array


def _direction(outputs: list[FloatArray]) -> FloatArray:
    """Fisher's direction for coordinates without correlation, shape (k,)."""
    first, second = outputs
    difference = second.mean(axis=0) - first.mean(axis=0)
    spread = first.var(axis=0) + second.var(axis=0)
    # Coordinates without noise count by far the most, and those that are all the same do not.
    return difference / np.maximum(spread, 1e-12 * np.maximum(difference**2, 1e-300))


def _thresholds(scores: list[FloatArray]) -> FloatArray:
    """Scores that occur, at evenly spaced ranks if there are many, ascending."""
    steps = np.unique(np.concatenate(scores))
    return steps[np.unique(np.linspace(0, len(steps) - 1, _THRESHOLDS).round().astype(np.int64))]


def _counts(scores: list[FloatArray], thresholds: FloatArray) -> IntArray:
    """How often each event happens on each data set, shape (2, events, thresholds)."""
    found = []
    for own in scores:
        ordered = np.sort(own)
        up_to, below = (np.searchsorted(ordered, thresholds, side=side) for side in ("right", "left"))
        found.append(np.stack([up_to, len(own) - up_to, up_to - below]))
    return np.stack(found)


class _Shown(NamedTuple):
    """Bounds of ε and of both chances, by the side on which the event is frequent, event and threshold."""

    low: FloatArray
    frequent: FloatArray
    rare: FloatArray


def _shown(counts: IntArray, n: tuple[int, int], delta: float, tail: float) -> _Shown:
    runs = np.array(n)[:, None, None]
    frequent, rare = clopper_pearson(counts, runs, tail)
    rare = rare[::-1]
    excess = np.maximum(frequent - delta, 0.0)
    with np.errstate(divide="ignore"):
        return _Shown(np.maximum(np.log(excess / rare), 0.0), frequent, rare)


def clopper_pearson(count: ArrayLike, n: ArrayLike, tail: float) -> tuple[FloatArray, FloatArray]:
    """Bounds of a chance by how often it came true, each missed with a chance of at most `tail` (1934).

    Args:
        count: how often, of any shape.
        n: of how many, of a shape that fits.
        tail: of each bound by itself.

    Returns:
        Lower and upper bounds.
    """
    from scipy.special import betaincinv  # takes long to import

    hits, misses = np.asarray(count), np.asarray(n) - np.asarray(count)
    # Where nothing came true the lower bound is 0, and likewise on the other side.
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), misses + 1, tail), 0.0)
    high = np.where(misses > 0, 1 - betaincinv(np.maximum(misses, 1), hits + 1, tail), 1.0)
    return low, high
