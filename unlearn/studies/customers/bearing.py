"""Who bears a change of the operating cost: divided exactly over buses, and over the customers of each bus by energy.

Between two pairs of forecast and true load, (f₀, y₀) and (f₁, y₁), the cost changes by

    C(f₁, y₁) − C(f₀, y₀) = Σ_b ∫₀¹ [∂C/∂f_b (f₁ − f₀)_b + ∂C/∂y_b (y₁ − y₀)_b] dt

along the straight path: each summand is what bus b adds. The cost is continuous, and its gradient jumps where a path
enters another critical region, so that the integral needs nodes rather than order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unlearn.checks import BoolArray, FloatArray, short_repr
from unlearn.grid import OperatingCost
from unlearn.households.customers import CustomerLoads

#: Nodes of the Gauss-Legendre rule, tried in order until contributions sum to the change within `TOLERANCE`.
NODES, TOLERANCE = (16, 32, 64, 128), 0.005
#: Hours of a year.
YEAR_H = 8760


@short_repr
@dataclass(frozen=True, eq=False)
class Contributions:
    """What each bus adds to a change of the mean cost of some hours.

    Attributes:
        forecast: through the forecast, shape (B,).
        load: through the true load, shape (B,).
        change: of the cost, as priced at both ends.
        nodes: of the rule.
    """

    forecast: FloatArray
    load: FloatArray
    change: float
    nodes: int

    @property
    def total(self) -> FloatArray:
        """What each bus adds, shape (B,)."""
        return self.forecast + self.load

    @property
    def gap(self) -> float:
        """What contributions lack to the change, relative to it."""
        return abs(float(self.total.sum()) - self.change) / max(abs(self.change), 1e-12)


def contributions(
    cost: OperatingCost, before: tuple[FloatArray, FloatArray], after: tuple[FloatArray, FloatArray]
) -> Contributions:
    """Divide the change of the mean cost over buses.

    Args:
        cost: the grid.
        before: forecast and true load in p.u., each (n, B).
        after: the same afterwards.
    """
    start = [torch.from_numpy(np.ascontiguousarray(own)) for own in before]
    step = [torch.from_numpy(np.ascontiguousarray(b - a)) for a, b in zip(before, after, strict=True)]
    with torch.no_grad():
        ends = [cost(*pair).total.mean() for pair in (start, [a + d for a, d in zip(start, step, strict=True)])]
    change = float(ends[1] - ends[0])
    moved = [bool(own.any()) for own in step]
    for nodes in NODES:
        place, weight = np.polynomial.legendre.leggauss(nodes)
        sums = [torch.zeros(own.shape[1], dtype=torch.float64) for own in step]
        for at, share in zip((place + 1) / 2, weight / 2, strict=True):
            point = [(a + at * d).requires_grad_(move) for a, d, move in zip(start, step, moved, strict=True)]
            wanted = [own for own in point if own.requires_grad]
            slopes = iter(torch.autograd.grad(cost(*point).total.mean(), wanted) if wanted else ())
            for total, own, move in zip(sums, step, moved, strict=True):
                if move:
                    total += share * (next(slopes) * own).sum(dim=0)
        found = Contributions(sums[0].numpy(), sums[1].numpy(), change, nodes)
        if found.gap <= TOLERANCE:
            break
    return found


@short_repr
@dataclass(frozen=True, eq=False)
class Burden:
    """A change of the cost, divided over those who pay for a bus by their energy.

    Attributes:
        per_customer: money a year of each customer, shape (C,); 0 of those who have left.
        pays: who is still a customer, shape (C,).
        segment: position of the class of each, shape (C,).
        removed: who was removed, shape (C,).
    """

    per_customer: FloatArray
    pays: BoolArray
    segment: np.ndarray
    removed: BoolArray

    def of_segment(self, g: int) -> float:
        """Money a year of a customer of a segment, in the mean over those who pay; NaN where nobody is left."""
        own = self.pays & (self.segment == g)
        return float(self.per_customer[own].mean()) if own.any() else np.nan

    @property
    def share_of_removed(self) -> float:
        """Share of the change that those pay who asked to be forgotten; 0 where they have left."""
        total = float(self.per_customer.sum())
        return float(self.per_customer[self.removed].sum()) / total if total else 0.0


def burden(dataset: CustomerLoads, by_bus: FloatArray, removed: BoolArray, leave: bool) -> Burden:
    """Divide what each bus adds over its customers by energy; whoever left pays nothing, who objects still does.

    Args:
        dataset: before anybody was removed.
        by_bus: money/h of each bus, shape (B,).
        removed: which customers were removed, shape (C,).
        leave: whether they left.
    """
    pays = ~removed if leave else np.ones(len(removed), dtype=bool)
    energy, load_of = np.where(pays, dataset.energy_kwh, 0.0), dataset.roster.load_of
    of_bus = np.bincount(load_of, energy, minlength=dataset.n_loads)
    share = energy / np.where(of_bus > 0, of_bus, 1.0)[load_of]
    return Burden(YEAR_H * by_bus[load_of] * share, pays, dataset.meters.segment, removed)
