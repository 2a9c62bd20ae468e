"""What a tuning is computed from: the remaining rows of a head, and nothing else.

Every result is a function of these rows, in their order, down to its last bit: the least-squares head is solved from
them anew, and a grid prices with regions that it learns from them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import BoolArray, IntArray
from unlearn.criteria import Criterion
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import HeadObjective
from unlearn.linalg.gram import dependent_columns
from unlearn.linalg.operators import spectrum_and_limit

#: Ridge of problems without some rows, as a share of the mean square of a column: no more than rounding.
ROUGH_RIDGE = 1e-12

Value = TypeVar("Value")


class TuningProblem:
    """Rows R of a head, the criterion of their forecasts, and their weeks.

    Attributes:
        design: Φ, shape (n, D).
        target: true loads in p.u., shape (n, B); 0 for a load that has no row left, whose forecast is 0.
        kept: which measurements remain, shape (n, B), bool; rows differ between loads where single loads were
            forgotten.
        evaluated: rows on which the criterion is evaluated, shape (n,), bool: those with all loads, of those asked for.
        block: number of each row's block (its calendar week), shape (n,).
        criterion: what is to be small.
        ridge: of the Gram matrix, `(l2 / 2) B`.
        rough: whether it is a part that hyper-parameters are chosen on, where solvers may stop early.
    """

    rough = False

    def __init__(
        self,
        design: Tensor,
        target: Tensor,
        kept: Tensor,
        evaluated: Tensor,
        block: IntArray,
        criterion: Criterion,
        l2: float = 0.0,
        names: Sequence[str] | None = None,
    ) -> None:
        self._cache: dict[str, Any] = {}
        self.live = kept.any(dim=0)
        self.design, self.kept, self.evaluated, self.block = design, kept, evaluated, block
        self.target = torch.where(self.live, target, 0.0)
        self.criterion, self.l2, self.names = criterion, l2, names
        self.n_rows, self.n_columns = design.shape
        self.n_outputs = target.shape[1]
        self.ridge = 0.5 * l2 * self.n_outputs

    @cached_property
    def groups(self) -> list[tuple[Tensor, Tensor]]:
        """Outputs that share their rows: positions, and which rows, shape (n,), float64."""
        outputs = self.live.nonzero().squeeze(1)
        columns, group = torch.unique(self.kept[:, outputs], dim=1, return_inverse=True)
        return [(outputs[group == g], columns[:, g].double()) for g in range(columns.shape[1])]

    @cached_property
    def least_squares(self) -> Tensor:
        """θ_U, shape (B, D): each output's least-squares head on its rows, solved from the rows by an SVD.

        Raises:
            SingularHessianError: rows that do not determine it.
        """
        if self.rough:
            return self.weighted_fit(torch.ones(self.n_rows, dtype=torch.float64)).head
        head = self.zeros()
        objective = HeadObjective(self.design, self.target, self.l2, self.names)
        for outputs, rows in self.groups:
            head[outputs] = objective.fit(rows).reshape(head.shape)[outputs]
        return head

    def zeros(self) -> Tensor:
        """A head of zeros, shape (B, D)."""
        return torch.zeros((self.n_outputs, self.n_columns), dtype=torch.float64)

    @cached_property
    def evaluated_design(self) -> Tensor:
        return self.design[self.evaluated]

    @cached_property
    def evaluated_target(self) -> Tensor:
        return self.target[self.evaluated]

    def mean_criterion(self, forecast_pu: Tensor) -> float:
        """Mean criterion of forecasts of the evaluated rows."""
        with torch.no_grad():
            return float(self.criterion(forecast_pu, self.evaluated_target).mean())

    def slope(self, forecast_pu: Tensor) -> tuple[float, Tensor]:
        """Mean criterion of forecasts of the evaluated rows and its gradient in them, of their shape."""
        point = forecast_pu.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            value = self.criterion(point, self.evaluated_target).mean()
            (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient

    def value(self, head: Tensor) -> float:
        """C of a head (B, D)."""
        return self.mean_criterion(self.evaluated_design @ head.T)

    def value_and_gradient(self, head: Tensor) -> tuple[float, Tensor]:
        """C of a head and ∇C, (B, D); loads without a row left do not move."""
        value, slope = self.slope(self.evaluated_design @ head.T)
        gradient = slope.T @ self.evaluated_design
        gradient[~self.live] = 0.0
        return value, gradient

    def moments(self, weights: Tensor) -> list[Tensor]:
        """`Φ' diag(w) [Φ, Y]` of each group of outputs, (D, D + B'), which is linear in weights (n,) of any sign."""
        rows = [(weights * own)[:, None] * self.design for _, own in self.groups]
        both = [torch.cat([self.design, self.target[:, outputs]], dim=1) for outputs, _ in self.groups]
        return [own.T @ other for own, other in zip(rows, both, strict=True)]

    def weighted_fit(self, weights: Tensor, moments: Sequence[Tensor] | None = None) -> WeightedFit:
        """Weighted least squares: weights >= 0, shape (n,).

        With `moments`, if they are known, it is not refined: good enough to compare points of a line search.

        Raises:
            SingularHessianError: the weighted Gram matrix is singular to rounding.
        """
        return WeightedFit(self, weights, moments)

    def without(self, rows: BoolArray) -> TuningProblem:
        """The problem that some rows are left out of, where solvers may stop early."""
        own = torch.from_numpy(~rows)
        parts = (self.design[own], self.target[own], self.kept[own], self.evaluated[own], self.block[~rows])
        other = TuningProblem(*parts, self.criterion, self.l2, self.names)
        other.rough = True
        # A feature that only the rows left out show gets no weight, where the others alone would be singular.
        other.ridge = max(other.ridge, ROUGH_RIDGE * float(other.design.square().sum()) / other.n_columns)
        return other

    @cached_property
    def left_out(self) -> Tensor:
        """Least-squares forecasts of the evaluated rows by heads that left the row's block out, in closed form.

        Without block I the head solves `(G − Φ_I'Φ_I) W' = Φ'Y − Φ_I'Y_I`. Where that is singular, because only
        this block shows some feature, the head of least norm forecasts it.
        """
        forecast = torch.zeros_like(self.target)
        for outputs, rows in self.groups:
            design = rows[:, None] * self.design
            gram, cross = design.T @ design, design.T @ self.target[:, outputs]
            gram.diagonal().add_(self.ridge)
            for block in np.unique(self.block):
                own = torch.from_numpy(np.flatnonzero(self.block == block))
                part = design[own]
                head = least_norm(gram - part.T @ part, cross - part.T @ self.target[own][:, outputs])
                forecast[own[:, None], outputs] = self.design[own] @ head
        return forecast[self.evaluated]

    def cached(self, name: str, make: Callable[[], Value]) -> Value:
        """What several candidates of a method need of these rows, made once."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]

    def at_most(self, steps: int, rough: int) -> int:
        """Steps that a solver may take, `rough` of them where candidates are compared."""
        return min(steps, rough) if self.rough else steps

    def trust_unit(self) -> float:
        """Unit of μ: the criterion over the squared error, both of forecasts that left their week out."""
        error = float((self.left_out - self.evaluated_target).square().sum(dim=1).mean())
        return abs(self.mean_criterion(self.left_out)) / max(error, torch.finfo(torch.float64).tiny)


class WeightedFit:
    """A weighted least-squares head: its value, and products with the inverse of its Gram matrix.

    Attributes:
        head: W_ε, shape (B, D).
    """

    def __init__(self, problem: TuningProblem, weights: Tensor, moments: Sequence[Tensor] | None = None) -> None:
        self.problem = problem
        self.head = problem.zeros()
        self._factors: list[tuple[Tensor, Tensor]] = []
        for (outputs, rows), own in zip(problem.groups, moments or problem.moments(weights), strict=True):
            gram, cross = own[:, : problem.n_columns], own[:, problem.n_columns :]
            self._factors.append(_factor(gram, problem.ridge, problem.names))
            columns = _solve(self._factors[-1], cross)
            if moments is None:
                columns = columns + _solve(self._factors[-1], self._left(columns, outputs, weights * rows))
            self.head[outputs] = columns.T

    def _left(self, columns: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        """What the normal equations lack, from the rows themselves, shape (D, B')."""
        problem = self.problem
        residual = weights[:, None] * (problem.target[:, outputs] - problem.design @ columns)
        return problem.design.T @ residual - problem.ridge * columns

    def inverse(self, gradient: Tensor) -> Tensor:
        """`∇ G⁻¹` for a gradient (B, D), group by group."""
        found = torch.zeros_like(gradient)
        for (outputs, _), factor in zip(self.problem.groups, self._factors, strict=True):
            found[outputs] = _solve(factor, gradient[outputs].T).T
        return found

    def weight_gradient(self, gradient: Tensor) -> Tensor:
        """`∂C/∂ε_i = −∇C' H_ε⁻¹ ∇ℓ_i` at this head, from ∇C (B, D), shape (n,)."""
        problem = self.problem
        residual = problem.design @ self.head.T - problem.target
        along = problem.design @ self.inverse(gradient).T
        return -(residual * along * problem.kept).sum(dim=1)


def _factor(gram: Tensor, ridge: float, names: Sequence[str] | None) -> tuple[Tensor, Tensor]:
    """Scale of the columns, and the Cholesky factor of the scaled matrix.

    Raises:
        SingularHessianError: it is singular to rounding; names the dependent columns.
    """
    full = gram.clone()
    full.diagonal().add_(ridge)
    squares = full.diagonal()
    scale = torch.where(squares > 0, squares, 1.0).rsqrt()
    scaled = scale[:, None] * full * scale
    spectrum, limit = spectrum_and_limit(scaled)
    rank = int((spectrum > limit).sum())
    if rank < len(scaled):
        null = torch.linalg.eigh(scaled).eigenvectors[:, : len(scaled) - rank].T
        raise SingularHessianError(
            f"tuning: the rows that are left with weight do not determine the head: rank {rank} of {len(scaled)}; "
            f"dependent features: {dependent_columns(null, names)}. Keep more rows, lower the budget, or fit with "
            "l2 > 0."
        )
    return scale, torch.linalg.cholesky(scaled)


def _solve(factor: tuple[Tensor, Tensor], columns: Tensor) -> Tensor:
    scale, triangle = factor
    return scale[:, None] * torch.cholesky_solve(scale[:, None] * columns, triangle)


def least_norm(gram: Tensor, columns: Tensor) -> Tensor:
    """Solve with a positive semi-definite matrix; where it is singular, by its pseudo-inverse."""
    squares = gram.diagonal()
    scale = torch.where(squares > 0, squares, 1.0).rsqrt()
    scaled = scale[:, None] * gram * scale
    spectrum, limit = spectrum_and_limit(scaled)
    if float(spectrum[0]) > limit:
        return _solve((scale, torch.linalg.cholesky(scaled)), columns)
    values, vectors = torch.linalg.eigh(scaled)
    inverse = torch.where(values > limit, 1 / values, 0.0)
    return scale[:, None] * (vectors @ (inverse[:, None] * (vectors.T @ (scale[:, None] * columns))))


def folds_of(block: IntArray, n_folds: int) -> list[BoolArray]:
    """Deal blocks out to folds in turn; rows of each fold, shape (n,) each.

    Raises:
        InputError: fewer blocks than folds.
    """
    blocks = np.unique(block)
    if len(blocks) < n_folds:
        raise InputError(
            f"tune: expected rows in at least {n_folds} weeks, one for each fold, got {len(block)} rows in "
            f"{len(blocks)} weeks. Keep more rows, or ask for fewer folds."
        )
    return [np.isin(block, blocks[fold::n_folds]) for fold in range(n_folds)]
