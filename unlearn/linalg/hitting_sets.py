"""The lightest set that meets each of many sets, of which only those that a candidate misses are ever written down.

The sets come from an oracle: asked with a candidate, it names sets that the candidate misses, or none if there are none
(implicit hitting sets: Moreno-Centeno and Karp, Operations Research 61(2), 2013, 453-468). What the sets met so far ask
for is a bound from below, and a candidate that misses nothing is optimal. Coefficients are 0 and 1, and weights whole
numbers: nothing here depends on a tolerance or on a large constant, unlike a program with `|w| <= M z`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from unlearn.checks import BoolArray, FloatArray, IntArray
from unlearn.errors import SolverError

#: Asked with a candidate, shape (n,): sets of positions that it misses.
Oracle = Callable[[BoolArray], Sequence[IntArray]]


def lightest_hitting_set(
    weights: FloatArray,
    missed: Oracle,
    known: list[IntArray],
    *,
    below: float = np.inf,
    never_all_of: Sequence[IntArray] = (),
    most_rounds: int | None = None,
) -> BoolArray | None:
    """The lightest set of positions that meets all sets of an oracle.

    >>> lightest_hitting_set(np.array([1.0, 1.0, 3.0]), lambda chosen: [], [np.array([0, 2]), np.array([1, 2])])
    array([ True,  True, False])

    Args:
        weights: of each position, whole numbers of at least 0, shape (n,).
        missed: the oracle. Sets that it names must be missed by what it is asked with.
        known: sets that are known already. What the oracle names is added, to be passed to the next call.
        below: only sets lighter than this are wanted.
        never_all_of: sets that the answer must not contain as a whole.
        most_rounds: questions to the oracle; None asks until it names none.

    Returns:
        Which positions the set has, shape (n,); None where no such set is lighter than `below`.

    Raises:
        SolverError: the integer program has no answer that passes the check, or `most_rounds` were not enough.
    """
    rounds = 0
    while True:
        if any(not len(own) for own in known):
            return None
        apart = _of_disjoint(weights, known)
        if weights[apart].sum() >= below:
            return None
        enough = not never_all_of and all(apart[own].any() for own in known)
        chosen = apart if enough else _lightest(weights, known, never_all_of)
        if chosen is None or weights[chosen].sum() >= below:
            return None
        if not (new := missed(chosen)):
            return chosen
        known += new
        rounds += 1
        if rounds == most_rounds:
            raise SolverError(f"hitting set: expected an answer within {most_rounds} rounds, got none.")


def _of_disjoint(weights: FloatArray, known: Sequence[IntArray]) -> BoolArray:
    """The lightest positions of disjoint sets among those known, shape (n,): no set that meets all weighs less."""
    free = np.ones(len(weights), dtype=bool)
    chosen = np.zeros(len(weights), dtype=bool)
    for own in known:
        if free[own].all():
            free[own] = False
            chosen[own[np.argmin(weights[own])]] = True
    return chosen


def _lightest(weights: FloatArray, known: Sequence[IntArray], never_all_of: Sequence[IntArray]) -> BoolArray | None:
    """By integer programming, the lightest set that meets those known; None where there is none."""
    rows = [*known, *never_all_of]
    if not rows:
        return np.zeros(len(weights), dtype=bool)
    place = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    matrix = csr_array((np.ones(len(place)), (place, np.concatenate(rows))), shape=(len(rows), len(weights)))
    least = np.r_[np.ones(len(known)), np.full(len(never_all_of), -np.inf)]
    most = np.r_[np.full(len(known), np.inf), [len(own) - 1.0 for own in never_all_of]]
    solved = milp(
        weights,
        integrality=np.ones(len(weights)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, least, most),
        options={"mip_rel_gap": 0.0},
    )
    if solved.status == 2:
        return None
    if solved.x is None or not solved.success:
        raise SolverError(f"hitting set: expected the optimum of an integer program, got {solved.message!r}.")
    chosen = np.asarray(solved.x > 0.5, dtype=bool)
    count = matrix @ chosen
    if ((count < least) | (count > most)).any():
        raise SolverError("hitting set: expected whole numbers that satisfy the integer program, got others.")
    return chosen
