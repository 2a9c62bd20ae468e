"""Which rows are left out of the refits that predictions of influence are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_finite, short_repr
from unlearn.errors import InputError
from unlearn.unlearning import select

#: How the rows of a group are picked.
KINDS = ("random", "block", "helpful", "harmful")

#: What a group is for: one row; groups that are reported; groups that settings are chosen by; random halves.
USES = ("single", "group", "choice", "subset")


@short_repr
@dataclass(frozen=True, eq=False)
class Group:
    """Rows that are left out together.

    Attributes:
        use: one of `USES`.
        kind: one of `KINDS`.
        share: share of the trained rows.
        rows: positions in the trained rows.
    """

    use: str
    kind: str
    share: float
    rows: IntArray


def plan_groups(
    scores: FloatArray, shares: Sequence[float], repeats: int, singles: int, subsets: int, seed: int = 0
) -> list[Group]:
    """Plan the refits.

    Args:
        scores: influence of each trained row, shape (n,); positive means helpful.
        shares: shares of the groups that are reported.
        repeats: random groups and time blocks of each share; helpful and harmful ones are unique.
        singles: single rows of each of the kinds helpful, harmful and random.
        subsets: random halves for the linear datamodelling score.
        seed: seed of everything random.

    Returns:
        Groups in the order of `USES`. Those for choosing have the same kinds and shares as the reported
        ones but other rows: the most helpful there are a random half of twice as many.

    Raises:
        InputError: scores that are not finite, more single rows than there are.
    """
    require_finite("scores", scores)
    n = len(scores)
    if not shares or not 0 < min(shares) <= max(shares) < 0.5:
        raise InputError(f"full_network.shares: expected shares above 0 and below 0.5, got {list(shares)}.")
    if 3 * singles > n:
        raise InputError(f"full_network.singles: expected at most {n // 3} of each kind for {n} rows, got {singles}.")
    random = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    helpful, harmful, middle = order[:singles], order[n - singles :], order[singles : n - singles]
    drawn = {"helpful": helpful, "harmful": harmful, "random": random.choice(middle, singles, replace=False)}
    groups = [Group("single", kind, 1 / n, np.array([row])) for kind, rows in drawn.items() for row in rows]
    for share in shares:
        for kind in KINDS:
            for _ in range(repeats if kind in ("random", "block") else 1):
                groups.append(Group("group", kind, share, _pick(scores, kind, share, random)))
    for share in shares[::2]:
        for kind in KINDS:
            if kind in ("random", "block"):
                rows = _pick(scores, kind, share, random)
            else:
                twice = _pick(scores, kind, 2 * share, random)
                rows = np.sort(random.choice(twice, len(twice) // 2, replace=False))
            groups.append(Group("choice", kind, share, rows))
    halves = [np.sort(random.choice(n, n // 2, replace=False)) for _ in range(subsets)]
    return [*groups, *(Group("subset", "random", 0.5, rows) for rows in halves)]


def kept_rows(groups: Sequence[Group], n_rows: int) -> Tensor:
    """Whether each group keeps each row, shape (groups, n), boolean."""
    keep = torch.ones((len(groups), n_rows), dtype=torch.bool)
    for own, group in zip(keep, groups, strict=True):
        own[torch.from_numpy(group.rows)] = False
    return keep


def _pick(scores: FloatArray, kind: str, share: float, random: np.random.Generator) -> IntArray:
    n, size = len(scores), select.count(share, len(scores))
    if kind == "random":
        return np.sort(random.choice(n, size, replace=False))
    if kind == "block":
        start = int(random.integers(0, n - size + 1))
        return np.arange(start, start + size)
    return select.extreme(scores, share, kind)
