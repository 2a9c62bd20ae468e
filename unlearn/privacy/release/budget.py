"""A budget that answers are charged to: an odometer that says what is spent, a filter that refuses what would be more.

The filter decides before data are touched. A charge stays, whatever becomes of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unlearn.checks import require_choice, require_not_negative, require_positive
from unlearn.dp.composition import Loss, advanced, basic, zcdp
from unlearn.errors import BudgetError, InputError

#: How losses of several answers are put together.
COMPOSITIONS = ("basic", "advanced", "zcdp")


@dataclass(frozen=True)
class Budget:
    """What all answers together may cost, fixed before the first one.

    Attributes:
        epsilon: ε of all.
        delta: δ of all; above 0 for "advanced" and "zcdp".
        composition: "basic" adds ε up and is best for few answers; "zcdp" adds ρ up and is best for many, and the only
            one for Gaussian noise; "advanced" is for answers of one ε.
    """

    epsilon: float
    delta: float = 0.0
    composition: str = "basic"

    def __post_init__(self) -> None:
        require_positive("budget.epsilon", self.epsilon)
        require_choice("budget.composition", self.composition, COMPOSITIONS)
        if not require_not_negative("budget.delta", self.delta) < 1:
            raise InputError(f"budget.delta: expected less than 1, got {self.delta:g}.")
        if self.composition != "basic" and self.delta == 0:
            raise InputError(
                f"budget.delta: expected a delta above 0 for composition {self.composition!r}, got 0. Take less than "
                "one over the number of households, or composition='basic'."
            )


class Spent(NamedTuple):
    """What an odometer shows.

    Attributes:
        epsilon: ε of all answers so far together.
        delta: δ of them; the budget's, where the composition needs one.
        rho: ρ of them; infinite where an answer has none.
        answers: how many were charged.
    """

    epsilon: float
    delta: float
    rho: float
    answers: int


class Filter:
    """Charges within a budget.

    Losses may be chosen by what earlier answers were with "basic" (Rogers et al. 2016) and "zcdp" (Feldman and Zrnic
    2021). The bound of "advanced" holds for losses that are fixed beforehand, so all answers must then have the same ε.

    >>> own = Filter(Budget(epsilon=1.0))
    >>> for _ in range(10):
    ...     own.charge(Loss.pure(0.1))
    >>> own.spent().epsilon
    1.0
    >>> own.admits(Loss.pure(0.1))
    False
    """

    def __init__(self, budget: Budget, losses: Sequence[Loss] = ()) -> None:
        self.budget, self._losses = budget, list(losses)

    def spent(self) -> Spent:
        """What all answers so far cost together."""
        return self._cost(self._losses)

    def admits(self, loss: Loss) -> bool:
        """Whether one more answer would stay within the budget."""
        cost = self._cost([*self._losses, loss])
        return cost.epsilon <= self.budget.epsilon and cost.delta <= self.budget.delta

    def require(self, loss: Loss) -> None:
        """Refuse a loss that would break the budget.

        Raises:
            InputError: a loss that this composition has no bound for.
            BudgetError: it would be too much.
        """
        if loss.epsilon == math.inf and self.budget.composition != "zcdp":
            raise InputError(
                f"rho: expected an epsilon in a budget of composition {self.budget.composition!r}, got a rho. Pass "
                "epsilon=, or take Budget(epsilon, delta, composition='zcdp') for a new release."
            )
        first = self._losses[0] if self._losses else loss
        if self.budget.composition == "advanced" and loss != first:
            raise InputError(
                f"epsilon: expected {first.epsilon:g}, that of the first answer, in a budget of composition "
                f"'advanced', got {loss.epsilon:g}: its bound is for losses fixed beforehand. Take 'zcdp' for others."
            )
        if not self.admits(loss):
            spent = self.spent()
            raise BudgetError(
                f"budget: expected answers that cost at most epsilon = {self.budget.epsilon:g} and delta = "
                f"{self.budget.delta:g} together, by {self.budget.composition} composition; {spent.answers} answers "
                f"have cost epsilon = {spent.epsilon:g}, and this one would make it "
                f"{self._cost([*self._losses, loss]).epsilon:g}. Ask with less, or stop: a new budget for the same "
                "data adds to this one."
            )

    def charge(self, loss: Loss) -> None:
        """Refuse a loss or count it; see `require`."""
        self.require(loss)
        self._losses.append(loss)

    def _cost(self, losses: Sequence[Loss]) -> Spent:
        epsilon, delta = _COST[self.budget.composition](losses, self.budget.delta) if losses else (0.0, 0.0)
        return Spent(epsilon, delta, math.fsum(loss.rho for loss in losses), len(losses))


_COST = {
    "basic": lambda losses, delta: basic(losses),
    "advanced": lambda losses, delta: (advanced(losses, delta), delta),
    "zcdp": lambda losses, delta: (zcdp(losses, delta), delta),
}
