"""Block conjugate gradients: `H X = B` for one or many right-hand sides, matrix-free.

Dubrulle's BCGrQ (ETNA 12, 2001, 216-233) with a preconditioner M: the residual block is kept as `Q ρ` with
orthonormal Q, so that dependent or converged right-hand sides cannot break it down. A step is

    Z = M Q,   P = Z − P (P'W)⁻¹ W'Z,   W = H P,   α = (P'W)⁻¹ P'Q,   X += P α ρ,   Q τ = Q − W α,   ρ = τ ρ,

with the last Q and τ from a QR factorisation. P is orthonormalised (as in Ji & Li, BIT 57, 2017, 379-403)
and rotated until P'W is diagonal: its diagonal then holds curvatures of H, which also estimate ‖H‖. For a
vector it is the ordinary preconditioned method. All recurrences run in float64, whatever the precision of
the products.

`Objective` is what unlearning needs to know of a training problem, whatever the model; `inverse_hvp` solves with its
Hessian.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.errors import ConvergenceError, InputError
from unlearn.linalg.operators import Operator, lanczos_extremes, products
from unlearn.linalg.options import IhvpOptions
from unlearn.linalg.solvers import Preconditioner, Solution, solve_dense

#: A residual of `ROUNDOFF_FACTOR * roundoff ‖H‖ ‖x‖` is what products of that accuracy allow.
ROUNDOFF_FACTOR = 10.0

#: Seconds after which a solve shows its progress.
PROGRESS_DELAY = 3.0

#: Directions that depend on the others up to this share are left out of a block: half the digits, so that neither
#: what is left out nor the rounding errors of what is kept costs more than the other half of its orthogonality.
DEPENDENT = 1e-8

#: A combination of residuals that all columns could leave as it is, as a share of what they may leave.
NEGLIGIBLE = 0.01

#: Steps after which ‖H‖ is measured where directions of a preconditioned search would underestimate it, and the
#: Lanczos steps that this takes.
MEASURED_AFTER, LANCZOS_STEPS = 20, 8

#: Relative curvature below which the sign is rounding error, in float64.
FLAT = 10 * torch.finfo(torch.float64).eps

#: Keeps divisions by a norm of 0 finite.
TINY = torch.finfo(torch.float64).tiny


def solve_cg(
    operator: Operator,
    rhs: Tensor,
    options: IhvpOptions,
    preconditioner: Preconditioner | None = None,
    start: Tensor | None = None,
    callback: Callable[[Tensor], None] | None = None,
) -> Solution:
    """Solve by conjugate gradients; the reported residuals are the true ones, not the recurrence's.

    Every column keeps the iterate whose true residual is smallest. CG restarts from those that have
    not met their tolerance, until all have, or the true residual is no longer halved by a restart, or
    `max_iter` are spent.

    Args:
        operator: H, symmetric; see `Operator` for blocks and single precision.
        rhs: b, shape (P,), or k of them, (P, k); zero, equal or dependent columns are fine.
        options: tolerances, steps and what to do on failure.
        preconditioner: M, close to the inverse of H; the residual that must meet the tolerance stays
            that of H.
        start: first guess, in the shape of rhs; None means zero.
        callback: called with the iterate, in the shape of rhs, after each step.

    Returns:
        The solution in float64. Its statistics hold `steps` (of the block), `products` (vectors
        multiplied by H), `relative_residual` (the largest), for a block `relative_residuals` (of every
        column), `largest_curvature` (of H along the directions of the search, at most ‖H‖),
        `backward_error` (the largest ‖r‖ / (‖H‖ ‖x‖ + ‖b‖)), and `stopped_by`: "tolerance", "roundoff" where a
        column counts as solved by `options.roundoff` only, or the status of a failure.

    Raises:
        InputError: a right-hand side or start of another shape or not finite, or M that is not
            positive definite.
        ConvergenceError: the tolerance is not met, or curvature `p'Hp < 0` is found (unless
            `options.on_failure` is "report").
    """
    began = time.perf_counter()
    sides = _columns("right-hand side", rhs, operator.size)
    value = torch.zeros_like(sides) if start is None else _columns("start", start, operator.size).clone()
    if value.shape != sides.shape:
        raise InputError(
            f"start: expected the shape of the right-hand side, {tuple(rhs.shape)}, got {tuple(value.shape)}."
        )
    scale = sides.norm(dim=0)
    value[:, scale == 0] = 0.0  # the solution, without a step
    target = (options.rtol * scale).clamp_min(options.atol)
    search = _Search(operator, preconditioner, options, rhs.shape, callback)
    residual = sides.clone() if start is None else sides - search.multiply(value)
    norms = residual.norm(dim=0)
    active = ~(norms <= target)
    with search.bar:
        while bool(active.any()) and search.may_step:
            here = active.nonzero()[:, 0]
            tried = search.sweep(value, residual, target, here)
            left = sides[:, here] - search.multiply(tried)
            found, before = left.norm(dim=0), norms[here]
            if not bool((found <= target[here]).all()):
                search.measure_norm()
            # A restart that gains less than half is at the accuracy that the products allow, or NaN.
            active[here] = (found <= 0.5 * before) & ~(found <= target[here])
            better = found < before
            at = here[better]
            value[:, at], residual[:, at], norms[at] = tried[:, better], left[:, better], found[better]
    within = norms <= target
    solved = within | (norms <= ROUNDOFF_FACTOR * search.roundoff(value))
    status = "negative curvature" if search.indefinite else "solved" if bool(solved.all()) else "not converged"
    positive = torch.where(scale > 0, scale, 1.0)
    relative = (norms / positive).tolist()
    worst = max(relative, default=0.0)
    backward = norms / (search.curvature * value.norm(dim=0) + positive)
    statistics = {
        "solver": "cg",
        "status": status,
        "steps": float(search.steps),
        "products": float(search.products),
        "relative_residual": worst,
        "largest_curvature": search.curvature,
        "backward_error": max(backward.tolist(), default=0.0),
        "stopped_by": status if status != "solved" else "tolerance" if bool(within.all()) else "roundoff",
        "seconds": time.perf_counter() - began,
    }
    if rhs.ndim == 2:
        statistics["relative_residuals"] = tuple(relative)
    if status != "solved" and options.on_failure == "raise":
        raise ConvergenceError(
            f"CG: {status} after {search.steps} steps, relative residual {worst:.2g}, expected {options.rtol:.0e}. "
            "Raise the damping or max_iter, loosen rtol, or use solver='direct'; state the roundoff of a model in "
            "single precision."
        )
    return Solution(value.reshape(rhs.shape), status == "solved", status, statistics)


def _columns(name: str, given: Tensor, size: int) -> Tensor:
    """A vector or block as finite float64 columns (P, k)."""
    if given.ndim not in (1, 2) or len(given) != size:
        raise InputError(f"{name}: expected shape ({size},) or ({size}, k), got {tuple(given.shape)}.")
    if not bool(torch.isfinite(given).all()):
        raise InputError(f"{name}: expected finite values, got NaN or infinity (NaN parameters?).")
    return given.detach().double().reshape(size, -1 if given.ndim == 1 else given.shape[1])


class _Search:
    """What the sweeps of one solve share: the maps, the steps left, and what they learn of H."""

    def __init__(
        self,
        operator: Operator,
        preconditioner: Preconditioner | None,
        options: IhvpOptions,
        shape: torch.Size,
        callback: Callable[[Tensor], None] | None,
    ) -> None:
        self._operator, self._callback, self._shape = operator, callback, shape
        self._preconditioner = None if preconditioner is None else _on_blocks(preconditioner)
        self._roundoff, self._measured = options.roundoff, False
        self._limit = options.max_iter or 10 * operator.size
        self.steps, self.products = 0, 0
        self.curvature, self.indefinite = 0.0, False
        self.bar = tqdm(total=self._limit, desc="CG", unit="step", leave=False, delay=PROGRESS_DELAY)

    @property
    def may_step(self) -> bool:
        return self.steps < self._limit and not self.indefinite

    def multiply(self, block: Tensor) -> Tensor:
        self.products += block.shape[1]
        return products(self._operator, block)

    def roundoff(self, value: Tensor) -> Tensor:
        """What rounding errors of the products alone leave of each column's residual, shape (k,) or ()."""
        return self._roundoff * self.curvature * (value.norm(dim=0) if self._roundoff else value.new_zeros(()))

    def measure_norm(self) -> None:
        """Raise the estimate of ‖H‖, once, where it decides what counts as rounding error."""
        if self._roundoff and self._preconditioner is not None and not self._measured:
            self._measured = True
            found = lanczos_extremes(self._operator, LANCZOS_STEPS)
            self.products += found.steps + 2
            self.curvature = max(self.curvature, abs(found.largest), abs(found.smallest))

    def sweep(self, start: Tensor, residual: Tensor, target: Tensor, here: Tensor) -> Tensor:
        """Run CG from the columns `here` of the iterate (P, k) and its residual; return the new ones."""
        value = start[:, here]
        if not bool(residual[:, here].isfinite().all()):
            return value
        basis, triangle = torch.linalg.qr(residual[:, here])
        Q, rho = _significant(basis, triangle, target[here])
        P, W, curvature = Q[:, :0], Q[:, :0], Q[0, :0]
        while self.may_step:
            if self.steps == MEASURED_AFTER:
                self.measure_norm()
            enough = torch.maximum(target[here], self.roundoff(value)).clamp_min(TINY)
            if bool((rho.norm(dim=0) <= enough).all()):
                break
            ahead = self._precondition(Q, rho)
            P, _ = _independent(ahead - P @ ((W.T @ ahead) / curvature[:, None]), ahead.norm(dim=0))
            if not P.shape[1]:
                break
            W = self.multiply(P)
            self.steps += 1
            self.bar.update()
            if not bool(W.isfinite().all()):
                break
            P, W, curvature = self._conjugate(P, W)
            if self.indefinite or not len(curvature):
                break
            step = (P.T @ Q) / curvature[:, None]
            value = value + P @ (step @ rho)
            Q, change = _independent(Q - W @ step, (W @ step).norm(dim=0))
            rho = change @ rho
            if self._callback is not None:
                whole = start.clone()
                whole[:, here] = value
                self._callback(whole.reshape(self._shape))
        return value

    def _precondition(self, Q: Tensor, rho: Tensor) -> Tensor:
        if self._preconditioner is None:
            return Q
        ahead = self._preconditioner(Q)
        gram = Q.T @ ahead
        spectrum = torch.linalg.eigvalsh(gram + gram.T) / 2
        # Of a block, the smallest may be 0 up to the rounding errors of a preconditioner in single precision.
        if not float(spectrum[0]) > -1e-6 * float(spectrum[-1]):
            found = float(spectrum[0] * rho.square().sum())
            raise InputError(
                f"preconditioner: expected a positive definite map, got r'Mr = {found:.2g}; use "
                'IhvpOptions(preconditioner="none").'
            )
        return ahead

    def _conjugate(self, P: Tensor, W: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate orthonormal directions until P'W is diagonal; leave out those without curvature."""
        gram = P.T @ W
        curvature, rotation = torch.linalg.eigh((gram + gram.T) / 2)
        if len(curvature):
            self.curvature = max(self.curvature, float(curvature.abs().max()))
            self.indefinite = float(curvature[0]) < -max(FLAT, ROUNDOFF_FACTOR * self._roundoff) * self.curvature
        keep = curvature > FLAT * self.curvature
        if len(curvature) == 1 and bool(keep):
            return P, W, curvature
        return P @ rotation[:, keep], W @ rotation[:, keep], curvature[keep]


def _significant(Q: Tensor, rho: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out of `Q ρ` the directions that all columns may keep; once a search runs, its recurrence needs all."""
    left, singular, _ = torch.linalg.svd(rho / target.clamp_min(TINY), full_matrices=False)
    keep = singular > NEGLIGIBLE / len(singular)
    return (Q, rho) if bool(keep.all()) else (Q @ left[:, keep], left[:, keep].T @ rho)


def _independent(block: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal basis of a block, without what cancellation left of the size (k,) before it, and coefficients."""
    size = torch.maximum(size, block.norm(dim=0)).clamp_min(TINY)
    basis, triangle = torch.linalg.qr(block / size)
    left, singular, _ = torch.linalg.svd(triangle)
    keep = singular > DEPENDENT
    if bool(keep.all()):
        return basis, triangle * size
    return basis @ left[:, keep], (left[:, keep].T @ triangle) * size


def _on_blocks(preconditioner: Preconditioner) -> Preconditioner:
    """Let a map of vectors act on blocks: as it does by itself if that is linear, and column by column if not."""
    takes_blocks: list[bool] = []

    def apply(block: Tensor) -> Tensor:
        width = block.shape[1]
        if width > 1 and not takes_blocks:
            takes_blocks.append(_agrees(preconditioner, block))
        if width > 1 and takes_blocks[0]:
            return preconditioner(block).to(block)
        return torch.stack([preconditioner(column).to(block) for column in block.T], dim=1)

    return apply


def _agrees(preconditioner: Preconditioner, block: Tensor) -> bool:
    """Whether a map gives the same for a block and for a vector; a (P,) scale broadcasts wrongly on (P, P)."""
    mixture = torch.linspace(1.0, 2.0, block.shape[1], dtype=block.dtype, device=block.device)
    try:
        together = preconditioner(block).to(block)
    except (RuntimeError, IndexError, TypeError, ValueError):
        return False
    if together.shape != block.shape:
        return False
    gap = together @ mixture - preconditioner(block @ mixture).to(block)
    return bool(gap.norm() <= 1e-6 * (together.norm(dim=0) @ mixture))


class Objective(Protocol):
    """`L(θ) = Σ_i w_i ℓ_i(θ) + r(θ)` over n samples, θ flat with P entries, float64.

    `unlearn.influence` says why there is another kind of training problem.
    """

    n_samples: int

    def gradient(self, theta: Tensor, weights: Tensor, regularised: bool = True) -> Tensor:
        """`Σ_i w_i ∇ℓ_i (+ ∇r)`, shape (P,)."""
        ...

    def gradient_products(self, theta: Tensor, vector: Tensor) -> Tensor:
        """`∇ℓ_i · v` of every sample, shape (n,)."""
        ...

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Operator:
        """`Σ_i w_i ∇²ℓ_i + ∇²r + λ I`."""
        ...


def inverse_hvp(objective: Objective, theta: Tensor, weights: Tensor, rhs: Tensor, options: IhvpOptions) -> Solution:
    """Solve `H x = rhs`, rhs of shape (P,) or (P, k), with the weighted Hessian of an objective at θ.

    Raises:
        InputError: NaN in θ or in the right-hand side; a block preconditioner for an objective without one.
        SingularHessianError: direct solve of a singular Hessian.
        ConvergenceError: CG did not reach its tolerance.
    """
    if not bool(theta.isfinite().all()):
        raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")
    if not bool(rhs.isfinite().all()):
        raise InputError("right-hand side of the Hessian system: expected finite values, got NaN or infinity.")
    operator = objective.hessian(theta, weights, options.damping)
    if options.solver == "cg":
        return solve_cg(operator, rhs, options, _preconditioner(objective, theta, weights, options))
    structured = getattr(operator, "solve", None)
    return structured(rhs) if structured is not None else solve_dense(operator, rhs, objective.n_samples)


def _preconditioner(
    objective: Objective, theta: Tensor, weights: Tensor, options: IhvpOptions
) -> Preconditioner | None:
    if options.preconditioner == "none":
        return None
    build = getattr(objective, "preconditioner", None)
    if build is None:
        raise InputError(
            f'ihvp.preconditioner="block": {type(objective).__name__} offers none; use preconditioner="none".'
        )
    made: Preconditioner = build(theta, weights, options.damping)
    return made
