"""Which sums over customers are withheld, so that neither they nor their differences tell of few customers.

A sum of few customers, or of many of which one has most of the energy, says too much of one of them: the 15/15 rule of
aggregated energy data withholds it. That is not enough. An area less all of its feeders but one is the feeder that was
withheld. So further sums are withheld (complementary suppression, as in statistical tables: Cox, Journal of the
American Statistical Association 75, 1980, 377-385; Fischetti and Salazar, Management Science 47(7), 2001, 1008-1027),
until no combination of what is published, with whatever coefficients, has a group below the rule in it. The group of a
combination are the customers whose coefficient is not 0.

What that does not cover: what somebody knows besides the release. A customer who takes its own reading off a sum of 15
sees one of 14. Nor does it cover the same customers summed over hours in one release and over days in another, or
releases of which each was checked alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_count,
    require_finite,
    require_positive,
    require_shape,
)
from unlearn.errors import InputError, SolverError
from unlearn.households.customers import DOMINANT
from unlearn.households.roster import LEAST_MEMBERS
from unlearn.linalg.hitting_sets import lightest_hitting_set
from unlearn.linalg.row_space import Combination, Dependencies, lightest_of_each

log = logging.getLogger(__name__)

#: Why a sum is withheld; "" where it is published.
REASONS = ("", "too few", "dominated", "complementary")
PUBLISHED, TOO_FEW, DOMINATED, COMPLEMENTARY = range(len(REASONS))
#: Over what a customer's share of a group is taken.
DOMINANCE = ("period", "interval")
#: What is withheld as little as possible.
COSTS = ("energy", "customers", "sums")
Reasons = NDArray[np.int8]
_Missed = Callable[[BoolArray, int], list[IntArray]]

#: Combinations that are looked for before sums are chosen anew.
_AT_ONCE = 20
#: Choices of sums that are tried before the least ones are no longer insisted on.
_ROUNDS = 200


@dataclass(frozen=True)
class AggregationRule:
    """When a sum over customers may be published.

    Attributes:
        least_customers: of a group.
        largest_share: of the group's energy that one customer may have; 1 allows any.
        dominance: the share is that of the whole "period", or of each "interval" that is published.
        complementary: whether further sums are withheld where differences of the others would break the rule.
        cost: of these as little as possible is withheld: their "energy", their "customers" or the number of "sums".
    """

    least_customers: int = LEAST_MEMBERS
    largest_share: float = DOMINANT
    dominance: str = DOMINANCE[0]
    complementary: bool = True
    cost: str = COSTS[0]

    def __post_init__(self) -> None:
        require_count("least_customers", self.least_customers)
        if require_positive("largest_share", self.largest_share) > 1:
            raise InputError(f"largest_share: expected a share of at most 1, got {self.largest_share:g}.")
        require_choice("dominance", self.dominance, DOMINANCE)
        require_choice("cost", self.cost, COSTS)


class Parts(NamedTuple):
    """Customers who are in the same sums, taken together: A parts of G sums.

    Attributes:
        member: which part is in which sum, shape (G, A).
        customers: number of customers of each part, shape (A,).
        energy: of each part in kWh, shape (A,).
        largest: energy of its largest customer in kWh, shape (A,).
    """

    member: BoolArray
    customers: IntArray
    energy: FloatArray
    largest: FloatArray


class KeptError(InputError):
    """Sums that must be published cannot be, under the rule."""


def part_of_each(member: BoolArray) -> tuple[BoolArray, IntArray]:
    """Customers in the same sums make a part.

    Args:
        member: which customer is in which sum, shape (G, C).

    Returns:
        Which part is in which sum, shape (G, A); the part of each customer, -1 where it is in no sum, shape (C,).
    """
    columns, part = np.unique(member, axis=1, return_inverse=True)
    used = columns.any(axis=0)
    return columns[:, used], np.where(used, np.cumsum(used) - 1, -1)[part.reshape(-1)]


def suppressed(
    member: ArrayLike, energy: ArrayLike, rule: AggregationRule | None = None, kept: ArrayLike | None = None
) -> Reasons:
    """Which of some sums over customers are withheld, and why.

    Without its one small feeder, the area tells of it as long as the other feeder is published:

    >>> member = np.zeros((3, 40), dtype=bool)
    >>> member[0], member[1, :30], member[2, 30:] = True, True, True
    >>> [REASONS[why] for why in suppressed(member, np.ones(40))]
    ['', 'complementary', 'too few']

    Args:
        member: which customer is in which sum, shape (G, C).
        energy: of each customer in kWh, at least 0, shape (C,).
        rule: None is the 15/15 rule.
        kept: sums that must be published, shape (G,); others are withheld instead.

    Returns:
        Position in `REASONS` of each sum, shape (G,).

    Raises:
        InputError: wrong shapes, negative energy, or sums that must be published and cannot be.
    """
    own, kwh = np.asarray(member), as_floats("energy", energy, 1)
    if own.dtype != bool or own.ndim != 2:
        raise InputError(f"member: expected True or False, shape (G, C), got {own.dtype}, shape {own.shape}.")
    require_shape("energy", kwh, (own.shape[1],))
    require_finite("energy", kwh)
    if (kwh < 0).any():
        raise InputError(f"energy: expected at least 0 kWh of each customer, got {int((kwh < 0).sum())} below.")
    must = np.zeros(len(own), dtype=bool) if kept is None else np.asarray(kept, dtype=bool)
    require_shape("kept", must, (len(own),))
    columns, part = part_of_each(own)
    inside, n_parts = part >= 0, columns.shape[1]
    largest = np.zeros(n_parts)
    np.maximum.at(largest, part[inside], kwh[inside])
    customers = np.bincount(part[inside], minlength=n_parts)
    total = np.bincount(part[inside], kwh[inside], minlength=n_parts).astype(np.float64)
    return suppressed_parts(Parts(columns, customers, total, largest), rule or AggregationRule(), must)


def suppressed_parts(
    parts: Parts,
    rule: AggregationRule,
    kept: BoolArray,
    cost: FloatArray | None = None,
    known: Dependencies | None = None,
) -> Reasons:
    """See `suppressed`; parts without a customer are in no sum.

    Args:
        parts: of all sums.
        rule: what a group must satisfy.
        kept: sums that must be published, shape (G,).
        cost: of each sum in place of what the rule asks for, shape (G,).
        known: dependencies met before between the same parts, to be found again sooner.
    """
    parts = parts._replace(member=parts.member & (parts.customers > 0))
    energy, customers = parts.member @ parts.energy, parts.member @ parts.customers
    largest = np.where(parts.member, parts.largest, 0.0).max(axis=1, initial=0.0)
    reasons = np.where(largest / rule.largest_share > energy, DOMINATED, PUBLISHED).astype(np.int8)
    reasons[customers < rule.least_customers] = TOO_FEW
    if (kept & (reasons != PUBLISHED)).any():
        raise KeptError("keep: expected sums that satisfy the rule themselves, got some that do not.")
    if rule.complementary:
        sizes = {"energy": energy, "customers": customers, "sums": np.ones(len(energy))}
        size = sizes[rule.cost] if cost is None else cost
        # Whole numbers for the integer program; each sum costs something.
        whole = 1 + np.rint(size / max(float(size.sum()), 1e-300) * 10**6)
        reasons[_complementary(parts, rule, reasons == PUBLISHED, kept, whole, known or Dependencies())] = COMPLEMENTARY
    return reasons


def unsafe_combinations(
    parts: Parts, rule: AggregationRule, most: int = _AT_ONCE, known: Dependencies | None = None
) -> list[Combination]:
    """Combinations of published sums whose group breaks the rule; an empty list is a proof that there is none.

    Args:
        parts: of the published sums alone.
        rule: what a group must satisfy.
        most: no more than these many are looked for.
        known: dependencies met before between the same parts.
    """
    least = np.full(len(parts.customers), float(rule.least_customers))
    few = lightest_of_each(parts.member, parts.customers, least, known, apart=True)
    dominated = lightest_of_each(parts.member, parts.energy, parts.largest / rule.largest_share, known, apart=True)
    return list(islice(chain(few, dominated), most))


def _complementary(
    parts: Parts,
    rule: AggregationRule,
    published: BoolArray,
    kept: BoolArray,
    cost: FloatArray,
    dependencies: Dependencies,
) -> BoolArray:
    """Sums to withhold besides those that break the rule themselves, shape (G,): the cheapest, or some without excess.

    Each combination that breaks the rule needs one of its sums withheld: a hitting set again.
    """
    where = np.flatnonzero(published)

    def missed(chosen: BoolArray, most: int = _AT_ONCE) -> list[IntArray]:
        left = where[~chosen]
        found = unsafe_combinations(parts._replace(member=parts.member[left]), rule, most, dependencies)
        used = [np.flatnonzero(~chosen)[[c != 0 for c in own.coefficients]] for own in found]
        return [sums[~kept[where[sums]]] for sums in used]

    known: list[IntArray] = []
    try:
        chosen = lightest_hitting_set(cost[where], missed, known, most_rounds=_ROUNDS)
    except SolverError:
        log.warning("complementary suppression: the least sums were not found; some without excess are withheld")
        chosen = None if any(not len(own) for own in known) else _greedy(cost[where], missed)
    if chosen is None:
        raise KeptError(
            "keep: expected sums that can be published together, got some of which a combination breaks the rule "
            "whatever else is withheld."
        )
    found = np.zeros(len(published), dtype=bool)
    found[where[chosen]] = True
    return found


def _greedy(cost: FloatArray, missed: _Missed) -> BoolArray | None:
    """Withhold the cheapest sum of a combination until there is none; then publish what need not be withheld."""
    chosen = np.zeros(len(cost), dtype=bool)
    while new := missed(chosen, 1):
        if not len(new[0]):
            return None
        chosen[new[0][np.argmin(cost[new[0]])]] = True
    for own in sorted(np.flatnonzero(chosen), key=lambda i: -cost[i]):
        chosen[own] = False
        chosen[own] = bool(missed(chosen, 1))
    return chosen
