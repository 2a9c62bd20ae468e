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

from unlearn.attacks.outcome import clopper_pearson
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

#: Fewest runs, of which half choose the event; most thresholds that are tried; bins of each coordinate.
_FEWEST, _THRESHOLDS, _BINS = 100, 1000, 24

#: What an event says of a score, in the order in which counts stand.
EVENTS = ("at most", "above", "equal to")


@dataclass(frozen=True)
class EpsilonBound:
    """What an audit has shown.

    Attributes:
        low: ε is at least this, with the confidence; at least 0.
        score: what is compared with the threshold: the "output" itself or the score that was given, the "projection"
            of a vector, or the "likelihood ratio" of the second data set to the first.
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
    score: str
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
        n_runs: runs on each data set: half of them measure the event, a quarter each learn scores and choose it.
        delta: δ that the mechanism promises.
        confidence: chance of the bound to hold.
        seed: of the halves.
        score: turns outputs into one number each, (n, k) or (n,) -> (n,), the same for both data sets; None takes
            numbers as they are, and projects vectors on how far means differ. A likelihood ratio of the coordinates,
            taken as independent, is tried in either case.

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
    if score is not None:
        outputs = [_scored(score, own) for own in outputs]
    parts = [np.split(own[random.permutation(n_runs)], [n_runs // 4, n_runs // 2]) for own in outputs]
    learn, choose, measure = ([own[part] for own in parts] for part in range(3))
    n = len(measure[0])
    shown = [_Chosen.best(name, own, choose, delta, tail) for name, own in _scores(learn)]
    best = max(shown, key=lambda own: own.low)
    counts = _counts([best.score(own) for own in measure], np.array([best.threshold]))
    found = _shown(counts, n, delta, tail)
    at = (best.side, EVENTS.index(best.event), 0)
    most = _shown(np.array([[[n]], [[0]]]), n, delta, tail).low[0, 0, 0]
    return EpsilonBound(
        low=float(found.low[at]),
        score=best.name,
        event=best.event,
        threshold=best.threshold,
        side=best.side,
        frequent=float(found.frequent[at]),
        rare=float(found.rare[at]),
        n_runs=n,
        delta=delta,
        confidence=confidence,
        most=float(most),
    )


#: Outputs -> a number each.
_Score = Callable[[FloatArray], FloatArray]


class _Chosen(NamedTuple):
    """The event of a score that shows the most in the runs that choose."""

    low: float
    name: str
    score: _Score
    event: str
    threshold: float
    side: int

    @classmethod
    def best(cls, name: str, score: _Score, outputs: list[FloatArray], delta: float, tail: float) -> _Chosen:
        scores = [score(own) for own in outputs]
        thresholds = _thresholds(scores)
        counts = _counts(scores, thresholds)
        # As if all were to hold at once: else one of few runs wins, by chance, and shows less when it is measured.
        low = _shown(counts, len(scores[0]), delta, tail / counts.size).low
        side, event, place = np.unravel_index(int(low.argmax()), low.shape)
        return cls(float(low.max()), name, score, EVENTS[event], float(thresholds[place]), int(side))


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


def _scores(outputs: list[FloatArray]) -> list[tuple[str, _Score]]:
    """Scores that are tried, with their names; learnt from runs that neither choose nor measure."""
    tables = [own if own.ndim == 2 else own[:, None] for own in outputs]
    ratio = _likelihood_ratio(*tables)
    if outputs[0].ndim == 1:
        return [("output", lambda own: own), ("likelihood ratio", lambda own: ratio(own[:, None]))]
    direction = _direction(*tables)
    return [("projection", lambda own: own @ direction), ("likelihood ratio", ratio)]


def _direction(first: FloatArray, second: FloatArray) -> FloatArray:
    """Fisher's direction for coordinates without correlation, shape (k,)."""
    difference = second.mean(axis=0) - first.mean(axis=0)
    spread = first.var(axis=0) + second.var(axis=0)
    # Coordinates without noise count by far the most, and those that are all the same do not.
    return difference / np.maximum(spread, 1e-12 * np.maximum(difference**2, 1e-280))


def _likelihood_ratio(first: FloatArray, second: FloatArray) -> _Score:
    """Logarithm of the ratio of chances, added up over coordinates that are each cut at quantiles of both together."""
    edges = np.quantile(np.concatenate([first, second]), np.linspace(0, 1, _BINS + 1)[1:-1], axis=0)
    columns = range(first.shape[1])

    def bins(outputs: FloatArray) -> IntArray:
        found = [np.searchsorted(edges[:, own], outputs[:, own], side="right") for own in columns]
        return np.stack(found, axis=1)

    # One more in each bin, so that none is empty.
    counts = [1.0 + np.stack([np.bincount(own, minlength=_BINS) for own in bins(table).T]) for table in (first, second)]
    ratio = np.log(counts[1] / counts[0])
    return lambda outputs: ratio[np.arange(len(ratio)), bins(outputs)].sum(axis=1)


def _thresholds(scores: list[FloatArray]) -> FloatArray:
    """Scores that occur: at evenly spaced ranks if there are many, and those that occur most often; ascending."""
    steps, count = np.unique(np.concatenate(scores), return_counts=True)
    ranks = np.linspace(0, len(steps) - 1, _THRESHOLDS).round().astype(np.int64)
    often = np.argsort(-count, kind="stable")[:_THRESHOLDS]
    return steps[np.union1d(ranks, often[count[often] > 1])]


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


def _shown(counts: IntArray, n: int, delta: float, tail: float) -> _Shown:
    """What counts of n runs on each data set show."""
    frequent, rare = clopper_pearson(counts, n, tail)
    rare = rare[::-1]
    with np.errstate(divide="ignore"):
        return _Shown(np.maximum(np.log(np.maximum(frequent - delta, 0.0) / rare), 0.0), frequent, rare)
