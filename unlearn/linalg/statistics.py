"""Sufficient statistics of least squares: what a head needs of its training rows, and no row itself.

For `Σ_i w_i ‖W φ_i − y_i‖²` these are the weighted sums `Σ w φφ'`, `Σ w φy'` and `Σ w yy'`: the Gram
matrix of the rows `z = [φ, y]`. Removing rows is a downdate, which needs the removed rows alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.checks import require_not_negative
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg.gram import (
    ROUNDOFF,
    dependent_columns,
    require_weights,
    split_cross,
    split_gram,
    split_product,
    two_sum,
)
from unlearn.linalg.operators import spectrum_and_limit
from unlearn.linalg.solvers import Solution

#: Rows whose products are summed at once.
CHUNK = 2048

#: Corrections after which refinement ends; two or three are usual.
MAX_REFINEMENTS = 10

NEVER_ADDED = (
    "sufficient statistics: not positive semi-definite, so rows were removed that had never been added (their leverage "
    "is above 1). Check that features and loads are those that the model was fitted on, for these rows."
)

#: Relative error of a head up to which its statistics are trusted instead of the data.
ACCURACY = 1e-9


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """`Z'WZ` of the rows `z = [φ, y]`, kept as an unevaluated sum of two matrices, with a running error bound.

    Products are split and sums compensated, so the error is some 1e-22 of all that was ever added or
    removed, in however many pieces.

    Attributes:
        moments: high and low part of `Σ w zz'`, shape (2, D + B, D + B).
        rounding: b >= 0, shape (D + B,): entry (j, k) of the moments is off by about
            `sqrt(b_j b_k)` at most; it grows with everything added or removed (as a sum of squares,
            for rounding errors are independent).
        total: `Σ w`.
        n_columns: D.
    """

    moments: Tensor
    rounding: Tensor
    total: float
    n_columns: int

    @classmethod
    def of(cls, design: Tensor, target: Tensor, weights: Tensor | None = None) -> SufficientStatistics:
        """Sum up rows.

        Args:
            design: Φ, shape (n, D).
            target: Y, shape (n, B).
            weights: w >= 0, shape (n,); None means ones.

        Raises:
            InputError: shapes that do not fit, NaN or infinity, a negative weight.
        """
        size = design.shape[1] + target.shape[1]
        zeros = torch.zeros((2, size, size), dtype=torch.float64)
        return cls(zeros, torch.zeros(size, dtype=torch.float64), 0.0, design.shape[1]).add(design, target, weights)

    def add(
        self, design: Tensor, target: Tensor, weights: Tensor | None = None, noise: float = 0.0
    ) -> SufficientStatistics:
        """Return the statistics with rows added; see `remove` for the arguments."""
        return self._changed(1.0, design, target, weights, noise)

    def remove(
        self, design: Tensor, target: Tensor, weights: Tensor | None = None, noise: float = 0.0
    ) -> SufficientStatistics:
        """Return the statistics without some rows, from those rows alone.

        That the rows had been added is the caller's word; `solve` refuses what cannot have been.

        Args:
            design: Φ of the rows, shape (m, D).
            target: Y of the rows, shape (m, B).
            weights: the weights that they were added with, shape (m,); None means ones.
            noise: how far, relatively, these rows may be from what was added, as when a network
                computes φ anew in batches of another size.

        Raises:
            InputError: shapes that do not fit, NaN or infinity, a negative weight.
        """
        return self._changed(-1.0, design, target, weights, noise)

    def retarget(
        self, design: Tensor, before: Tensor, after: Tensor, weights: Tensor | None = None, noise: float = 0.0
    ) -> SufficientStatistics:
        """Return the statistics with other targets of the same rows: `Σ w φφ'` stays, what holds y changes.

        Only outputs whose target changes cost anything: a product of the rows with each of them.

        Args:
            design: Φ of all rows that were added, shape (n, D).
            before: their targets, shape (n, B).
            after: their new targets, shape (n, B).
            weights: the weights that they were added with, shape (n,); None means ones.
            noise: see `remove`.

        Raises:
            InputError: shapes that do not fit, NaN or infinity, a negative weight.
        """
        old, new = self._checked(design, before), self._checked(design, after)
        where = self.n_columns + (before != after).any(dim=0).nonzero()[:, 0]
        if not len(where):
            return self
        rounding = self.rounding.clone()
        if weights is not None:
            require_weights(weights, len(old))
            root = weights.double().sqrt()[:, None]
            old, new = root * old, root * new
            if (weights[weights > 0] != 1).any():
                squares = torch.maximum(old.square().sum(dim=0), new.square().sum(dim=0))
                rounding = torch.hypot(rounding, 2 * ROUNDOFF * squares)
        high, low = self.moments[:, :, where]
        for rows, sign in ((old, -1.0), (new, 1.0)):
            for chunk in rows.split(CHUNK):
                main, rest, bounds = split_cross(chunk, where)
                for part in (main, rest):
                    high, error = two_sum(high, sign * part)
                    low = low + error
                squares = chunk.square().sum(dim=0)
                rounding = torch.hypot(rounding, bounds + (2 * noise / len(chunk) ** 0.5 + ROUNDOFF**2) * squares)
        block = torch.stack(two_sum(high, low))
        moments = self.moments.clone()
        moments[:, :, where] = block
        moments[:, where] = block.transpose(1, 2)
        # Of entries between two changed outputs both halves were computed; one is taken for both.
        between = block[:, where]
        moments[:, where[:, None], where] = torch.triu(between) + torch.triu(between, 1).transpose(1, 2)
        return SufficientStatistics(moments, rounding, self.total, self.n_columns)

    def restricted(self, outputs: Tensor) -> SufficientStatistics:
        """Return the statistics of some outputs alone, those of the others 0.

        Args:
            outputs: which of the B outputs are kept, booleans of shape (B,).
        """
        kept = torch.cat([torch.ones(self.n_columns, dtype=torch.bool), outputs])
        if bool(kept.all()):
            return self
        moments = self.moments * (kept[:, None] & kept)
        return SufficientStatistics(moments, self.rounding * kept, self.total, self.n_columns)

    def selected(self, columns: Tensor, outputs: Tensor) -> SufficientStatistics:
        """Return the statistics of some columns and some outputs alone: what summing up these alone would give.

        Args:
            columns: positions of the columns of Φ that are kept, in their new order, shape (D',).
            outputs: positions of the outputs that are kept, in their new order, shape (B',).
        """
        where = torch.cat([columns, self.n_columns + outputs])
        moments = self.moments[:, where[:, None], where]
        return SufficientStatistics(moments, self.rounding[where], self.total, len(columns))

    def slope(self, head: Tensor, outputs: Tensor | None = None, ridge: float = 0.0) -> Tensor:
        """`W (Φ'Φ + ridge I) − (Φ'Y)'`, half the gradient of the summed squares, with hardly any rounding error.

        Args:
            head: W, shape (B', D), a row for each output.
            outputs: positions of those outputs, shape (B',); None means all.
            ridge: added to the diagonal.
        """
        high, low, cross_high, cross_low = self._normal_equations(outputs, ridge)
        columns = head.T
        main, rest = split_product(high, columns)
        difference, error = two_sum(main, -cross_high)
        return (difference + (error + rest + low @ columns - cross_low)).T

    def solve(self, outputs: Tensor | None = None, ridge: float = 0.0, names: Sequence[str] | None = None) -> Solution:
        """Minimise `Σ w ‖W φ − y‖² + ridge ‖W‖²`: one Cholesky factorisation for all outputs, refined.

        Residuals are computed with split products, so that refinement ends at full accuracy as long
        as the condition number is well below 1e16. The solution's statistics report, with
        columns scaled to unit norm, the condition number and `error_estimate`, of the relative error of
        W: the rounding of the statistics over the smallest eigenvalue, plus what refinement leaves. It
        is `converged` if that is at most `ACCURACY`.

        Args:
            outputs: positions of the outputs to solve for, shape (B',); None means all.
            ridge: >= 0, in units of the Gram matrix.
            names: names of the D columns, for messages.

        Returns:
            W flattened by rows, shape (B' D,).

        Raises:
            InputError: the Gram matrix is indefinite: rows were removed that were never added.
            SingularHessianError: what remains does not determine W; names the dependent columns.
        """
        start = time.perf_counter()
        high, low, cross, _ = self._normal_equations(outputs, require_not_negative("ridge", ridge))
        gram = high + low
        scale, factor, spectrum, share = self._factor(gram, names)
        head, residual = torch.zeros_like(cross.T), cross.T
        reference = float(residual.norm()) or 1.0
        size, step, left, steps = 0.0, 1.0, 1.0, 0
        while left > ROUNDOFF and steps < MAX_REFINEMENTS:
            correction = torch.cholesky_solve((scale * residual).T, factor).T
            head = head + scale * correction
            size = float((head / scale).norm())
            before, step = step, float(correction.norm()) / (size or 1.0)
            # Corrections shrink by the same factor each time.
            left = step * step / before
            residual = -self.slope(head, outputs, ridge)
            steps += 1
            if step > 0.5 * before and steps > 1:
                break
        # In the columns' own norms: (E W + e) / (smallest eigenvalue of the Gram matrix).
        chosen = slice(None) if outputs is None else outputs
        of_target = float((share * self.rounding[self.n_columns :][chosen].sum()).sqrt())
        error = (float(share) + (of_target / size if size else 0.0)) / float(spectrum[0]) + left + ROUNDOFF
        statistics: dict[str, float | str] = {
            "solver": "statistics",
            "relative_residual": float(residual.norm()) / reference,
            "condition": float(spectrum[-1] / spectrum[0]),
            "error_estimate": error,
            "steps": float(steps),
            "seconds": time.perf_counter() - start,
        }
        accurate = error <= ACCURACY
        return Solution(head.reshape(-1), accurate, "solved" if accurate else "inaccurate", statistics)

    def newton_step(self, slope: Tensor, ridge: float = 0.0) -> Tensor:
        """`slope (Φ'Φ + ridge I)⁻¹` by a plain Cholesky solve, shapes (B', D); infinite if that fails."""
        high, low, _, _ = self._normal_equations(None, ridge)
        factor, info = torch.linalg.cholesky_ex(high + low)
        return torch.full_like(slope, torch.inf) if int(info) else torch.cholesky_solve(slope.T, factor).T

    def unexplained(self, head: Tensor, outputs: Tensor | None = None) -> Tensor:
        """Sums of squared residuals of a head (B', D) as shares of `Σ w y²`, shape (B',).

        A share clearly below 0 says that rows were removed that had never been added.
        """
        d = self.n_columns
        chosen = slice(None) if outputs is None else outputs
        moments = self.moments.sum(dim=0)
        cross, squares = moments[:d, d:][:, chosen].T, moments.diagonal()[d:][chosen]
        # The slope is 0 up to rounding at a minimum; squares of an ill-conditioned head cancel badly.
        found = squares - ((cross - self.slope(head, outputs)) * head).sum(dim=1)
        return found / squares.abs().clamp_min(torch.finfo(torch.float64).tiny)

    def _changed(
        self, sign: float, design: Tensor, target: Tensor, weights: Tensor | None, noise: float
    ) -> SufficientStatistics:
        rows = self._checked(design, target)
        total, rounding = float(len(rows)), self.rounding.clone()
        if weights is not None:
            require_weights(weights, len(rows))
            kept = weights > 0
            rows, weights = rows[kept], weights[kept].double()
            total = float(weights.sum())
            if (weights != 1).any():
                rows = rows * weights.sqrt()[:, None]
                # The scaled rows are rounded, alike whenever they are added or removed.
                rounding = torch.hypot(rounding, 2 * ROUNDOFF * rows[weights != 1].square().sum(dim=0))
        high, low = self.moments
        for chunk in rows.split(CHUNK) if len(rows) else ():
            main, rest, bounds = split_gram(chunk)
            for part in (main, rest):
                high, error = two_sum(high, sign * part)
                low = low + error
            squares = main.diagonal()
            # Errors of the rows, like those of the sums, are independent: they add up as squares.
            rounding = torch.hypot(rounding, bounds + (2 * noise / len(chunk) ** 0.5 + ROUNDOFF**2) * squares)
        return SufficientStatistics(
            torch.stack(two_sum(high, low)), rounding, self.total + sign * total, self.n_columns
        )

    def _checked(self, design: Tensor, target: Tensor) -> Tensor:
        n_targets = self.moments.shape[1] - self.n_columns
        if design.shape != (len(target), self.n_columns) or target.shape != (len(design), n_targets):
            raise InputError(
                f"design and target: expected shapes (m, {self.n_columns}) and (m, {n_targets}), got "
                f"{tuple(design.shape)} and {tuple(target.shape)}."
            )
        rows = torch.cat([design.detach().double(), target.detach().double()], dim=1)
        if not bool(rows.isfinite().all()):
            raise InputError("design and target: expected finite values, got NaN or infinity; fill or drop them.")
        return rows

    def _normal_equations(self, outputs: Tensor | None, ridge: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """High and low part of the Gram matrix (D, D), and of the cross products (D, B')."""
        d = self.n_columns
        cross = self.moments[:, :d, d:] if outputs is None else self.moments[:, :d, d:][:, :, outputs]
        high, low = self.moments[:, :d, :d]
        if ridge:
            eye = torch.eye(d, dtype=torch.float64)
            high, error = two_sum(high, ridge * eye)
            low = low + error
        return high, low, cross[0], cross[1]

    def _factor(self, gram: Tensor, names: Sequence[str] | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scale that gives columns unit norm; of the scaled matrix, Cholesky factor, eigenvalues, error (in norm)."""
        noise, squares = self.rounding[: self.n_columns], gram.diagonal()
        if (squares < -noise).any():
            raise InputError(NEVER_ADDED)
        scale = torch.where(squares > noise, squares, 1.0).rsqrt()
        scaled = scale[:, None] * gram * scale
        spectrum, limit = spectrum_and_limit(scaled)
        share = (noise * scale.square()).sum()
        floor = float(share) + limit
        if spectrum[0] < -floor:
            raise InputError(NEVER_ADDED)
        rank = int((spectrum > floor).sum())
        if rank < self.n_columns:
            null = torch.linalg.eigh(scaled).eigenvectors[:, : self.n_columns - rank].T
            raise SingularHessianError(
                f"the Hessian is singular to the accuracy of these statistics: rank {rank} of {self.n_columns}; "
                f"dependent features: {dependent_columns(null, names)}. Keep more rows, fit with l2 > 0, or go back "
                "to the data."
            )
        return scale, torch.linalg.cholesky(scaled), spectrum, share
