"""Who is removed: customers drawn at random, the most and the least valuable ones, or those of one segment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unlearn.checks import IntArray, short_repr
from unlearn.influence import customer_influence
from unlearn.studies.customers.options import LEAST, MOST, RANDOM, SEGMENT
from unlearn.studies.customers.setting import Setting


@short_repr
@dataclass(frozen=True, eq=False)
class Removal:
    """Customers who are removed together.

    Attributes:
        choice: how they were chosen; of a segment "segment: NAME".
        share: asked for, of all customers.
        customers: their names; empty where nobody is removed, as `reason` says.
        reason: why not.
    """

    choice: str
    share: float
    customers: tuple[str, ...]
    reason: str = ""


def removals(setting: Setting, choices: tuple[str, ...], shares: tuple[float, ...]) -> Iterator[Removal]:
    """Removals of every choice and share; larger shares hold the smaller ones.

    Where a segment has fewer customers than a share, all of them are removed; the next larger share would be the same
    request, and has none.
    """
    dataset = setting.dataset
    n, names = len(dataset.meters), np.array(dataset.meters.customer_ids)
    random = np.random.default_rng(setting.seed).permutation(n)
    for choice in choices:
        if choice == SEGMENT:
            for g, segment in enumerate(dataset.meters.segments):
                members = random[dataset.meters.segment[random] == g]
                yield from _of_segment(f"{SEGMENT}: {segment}", names[members], shares, n)
            continue
        order = random if choice == RANDOM else _by_value(setting, choice)
        for share in shares:
            yield Removal(choice, share, tuple(names[order[: size_of(share, n)]].tolist()))


def size_of(share: float, n: int) -> int:
    """Customers that a share of n is, at least one."""
    return max(1, round(share * n))


def _of_segment(choice: str, members: np.ndarray, shares: tuple[float, ...], n: int) -> Iterator[Removal]:
    done = 0
    for share in sorted(shares):
        wanted = size_of(share, n)
        if done == len(members):
            why = f"the segment has {len(members)} customers, all of whom a smaller share removes already"
            yield Removal(choice, share, (), why)
            continue
        done = min(wanted, len(members))
        yield Removal(choice, share, tuple(members[:done].tolist()))


def _by_value(setting: Setting, choice: str) -> IntArray:
    """Positions of all customers, by the influence of their data on the cost of validation hours."""
    found = customer_influence(setting.linear, setting.dataset, "cost", grid=setting.cost)
    place = setting.dataset.meters.positions("customers", found.customers)
    sign = {MOST: -1.0, LEAST: 1.0}[choice]
    return place[np.argsort(sign * found.objects, kind="stable")]
