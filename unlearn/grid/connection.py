"""Whether flows follow from injections: one island, and a susceptance matrix of full rank."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError

#: Smallest eigenvalue of the scaled matrix of |susceptance| that double precision still resolves well enough.
_RESOLVED = 1e-10

#: Reactances are given with some six digits: if a relative change this small can make the matrix singular, it is.
_DIGITS = 1e-6

#: Branches across which the angles of a singular mode differ by less than this share of the most are not named.
_NAMED = 1e-3


def require_usable_lines(
    where: str, numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray
) -> None:
    """Refuse branches that no flow can be computed for; arguments as of `require_determined`.

    Raises:
        InputError: a branch from a bus to itself, or without a reactance that has an inverse; names it.
    """
    for k in np.flatnonzero((line_from == line_to) | ~((np.abs(reactance) > 1e-100) & (np.abs(reactance) < 1e100))):
        name = f"{where}: branch from bus {numbers[line_from[k]]} to bus {numbers[line_to[k]]}"
        if line_from[k] == line_to[k]:
            raise InputError(f"{name}: expected two buses, got one; take the branch out.")
        if not reactance[k]:
            raise InputError(f"{name} has no reactance; give it a small one, or merge the two buses.")
        raise InputError(f"{name}: expected a reactance in per unit, got {reactance[k]:.3g}.")


def require_connected(where: str, numbers: IntArray, line_from: IntArray, line_to: IntArray) -> None:
    """Refuse a network of several islands.

    Args:
        where: for messages.
        numbers: external bus numbers, shape (M,).
        line_from: position of each line's from bus, shape (L,).
        line_to: position of each line's to bus, shape (L,).

    Raises:
        InputError: names buses of the smallest island.
    """
    links = sp.coo_matrix((np.ones(len(line_from)), (line_from, line_to)), shape=(len(numbers), len(numbers)))
    n_islands, island = connected_components(links, directed=False)
    if n_islands > 1:
        alone = numbers[island == np.argmin(np.bincount(island))]
        raise InputError(
            f"{where}: expected one connected network, got {n_islands} islands; bus {_listed(alone)} has no line in "
            "service to the rest. Keep one island in the case."
        )


def require_determined(
    where: str, numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray, slack: int
) -> None:
    """Refuse a connected network whose flows its injections do not determine.

    The rank decides. Susceptances are compared with their absolute values: the eigenvalues of B relative to the matrix
    |B| built from |1/x| lie between -1 and 1, are all 1 where no reactance is negative, and the smallest in size is the
    relative change of reactances that makes B singular. |B| itself is scaled to a diagonal of 1; it loses its rank in
    double precision where branches of a huge reactance are all that holds parts of a network together.

    Args:
        where: for messages.
        numbers: external bus numbers, shape (M,).
        line_from: position of each line's from bus, shape (L,).
        line_to: position of each line's to bus, shape (L,).
        reactance: of each line, shape (L,).
        slack: position of the slack bus.

    Raises:
        InputError: names the branches that a flow could circulate in, or that hardly connect their buses.
    """
    kept = np.delete(np.arange(len(numbers)), slack)
    if not len(kept):
        return
    susceptance = 1 / reactance
    absolute = _laplacian(len(numbers), line_from, line_to, np.abs(susceptance))[np.ix_(kept, kept)]
    scale = 1 / np.sqrt(absolute.diagonal())
    values, vectors = np.linalg.eigh(scale[:, None] * absolute * scale)
    if values[0] < _RESOLVED:
        branches = _branches(numbers, line_from, line_to, reactance, kept, scale * vectors[:, 0])
        raise InputError(
            f"{where}: flows are not determined in double precision: {branches} hardly connect what they lie between, "
            f"beside reactances from {np.abs(reactance).min():.3g}. Give reactances in per unit; take a branch that "
            "carries nothing out of the case and keep one island."
        )
    if (susceptance > 0).all():
        return
    whitened = scale[:, None] * vectors / np.sqrt(values)
    own = _laplacian(len(numbers), line_from, line_to, susceptance)[np.ix_(kept, kept)]
    values, vectors = np.linalg.eigh(whitened.T @ own @ whitened)
    worst = int(np.abs(values).argmin())
    if abs(values[worst]) < _DIGITS:
        branches = _branches(numbers, line_from, line_to, reactance, kept, whitened @ vectors[:, worst])
        raise InputError(
            f"{where}: flows are not determined: reactances cancel in {branches}, so that any flow could circulate "
            "there. Merge a series capacitor and its line into one branch with the sum of their reactances, or correct "
            "a reactance."
        )


def _laplacian(size: int, line_from: IntArray, line_to: IntArray, weight: FloatArray) -> FloatArray:
    matrix = np.zeros((size, size))
    np.add.at(matrix, (line_from, line_to), -weight)
    np.add.at(matrix, (line_to, line_from), -weight)
    matrix[np.diag_indices(size)] = -matrix.sum(axis=1)
    return matrix


def _branches(
    numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray, kept: IntArray, mode: FloatArray
) -> str:
    """Branches across which the angles of a mode differ; `mode` holds those of the buses `kept`."""
    angle = np.zeros(len(numbers))
    angle[kept] = mode
    across = np.abs(angle[line_from] - angle[line_to])
    order = np.argsort(-across, kind="stable")
    order = np.sort(order[: int((across >= _NAMED * across.max()).sum())])
    ends = zip(numbers[line_from[order]], numbers[line_to[order]], reactance[order], strict=True)
    return "branches " + _listed([f"{start}-{end} (reactance {x:.4g} p.u.)" for start, end, x in ends])


def _listed(items: object) -> str:
    words = [str(item) for item in items]  # type: ignore[attr-defined]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
