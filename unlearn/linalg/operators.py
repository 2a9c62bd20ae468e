"""Curvature as linear operators: Hessian and Gauss-Newton products, the dense matrix; the ends of a spectrum by
Lanczos, what an eigenvalue may owe to rounding, and the damping for a condition number.

The rule of automatic damping: the smallest λ >= 0 with which `H + λI` is positive definite with condition
number at most κ. With the ends of the spectrum that is

    λ = max(0, (λ_max − κ λ_min) / (κ − 1)),

and the residuals of the Ritz vectors, which bound how far an eigenvalue is from its Ritz value, are taken
from λ_min and added to λ_max. A well-conditioned H is therefore left as it is.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from unlearn.checks import require_not_negative, require_positive
from unlearn.errors import InputError, SingularHessianError

#: Columns of a block that are multiplied at once: bounds the memory of vectorised automatic differentiation.
CHUNK = 32


class Operator(Protocol):
    """A symmetric linear map on flat parameter vectors of length `size`.

    An operator may also have `matmat(block)`, (P, k) -> (P, k), where a block costs less than its
    columns; `dtype` and `device` of the vectors that it takes (float64, on the CPU, if it does not say);
    and `damping`, the multiple of the identity that its products include. `products` heeds them.
    """

    size: int

    def matvec(self, vector: Tensor) -> Tensor:
        """Apply the map to a vector of shape (P,)."""
        ...


class _Differentiated(abc.ABC):
    """Products by automatic differentiation: blocks by vmap, or column by column once that has failed."""

    size: int
    damping: float
    _vectorises = True

    @abc.abstractmethod
    def matvec(self, vector: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _batched(self, block: Tensor) -> Tensor: ...

    def matmat(self, block: Tensor) -> Tensor:
        if self._vectorises:
            try:
                return self._batched(block)
            except RuntimeError:  # vmap refuses an operation, or has no memory for a block
                self._vectorises = False
        return _columnwise(self, block)


class HessianOperator(_Differentiated):
    """Hessian-vector products of a scalar function, plus damping: `v -> ∇²f(θ) v + λ v`.

    The gradient's graph is built once and differentiated again per product (reverse over
    reverse), which also works for losses whose forward-mode derivative PyTorch lacks.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], at: Tensor, damping: float = 0.0) -> None:
        """Prepare products at a point.

        Args:
            function: maps flat parameters (P,) to a scalar.
            at: the point θ, shape (P,).
            damping: λ >= 0, added to the Hessian of the sum.
        """
        self.damping = require_not_negative("damping", damping)
        self.size, self.dtype, self.device = at.numel(), at.dtype, at.device
        self._at = at.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            (self._gradient,) = torch.autograd.grad(function(self._at), self._at, create_graph=True)

    def matvec(self, vector: Tensor) -> Tensor:
        if not self._gradient.requires_grad:  # the function is linear
            return self.damping * vector
        (product,) = torch.autograd.grad(self._gradient, self._at, vector, retain_graph=True, materialize_grads=True)
        return product + self.damping * vector

    def _batched(self, block: Tensor) -> Tensor:
        if not self._gradient.requires_grad:
            return self.damping * block
        (product,) = torch.autograd.grad(
            self._gradient, self._at, block.T, retain_graph=True, is_grads_batched=True, materialize_grads=True
        )
        return product.T + self.damping * block


class GaussNewtonOperator(_Differentiated):
    """Gauss-Newton products `v -> J' C J v + λ v`, positive semi-definite for any model.

    `J` is the Jacobian of the model's outputs and `C` the (diagonal) curvature of the loss in the
    outputs: for a weighted squared error `Σ_i w_i (1/B)‖f_i − y_i‖²` it is `2 w_i / B`.
    """

    def __init__(
        self, outputs: Callable[[Tensor], Tensor], at: Tensor, curvature: Tensor, damping: float = 0.0
    ) -> None:
        """Prepare products at a point.

        Args:
            outputs: maps flat parameters (P,) to model outputs (n, B).
            at: the point θ, shape (P,).
            curvature: second derivative of the loss in each output, broadcastable to (n, B).
            damping: λ >= 0.
        """
        self.damping = require_not_negative("damping", damping)
        self.size, self.dtype, self.device = at.numel(), at.dtype, at.device
        self._outputs = outputs
        self._at = at.detach()
        self._curvature = curvature

    def matvec(self, vector: Tensor) -> Tensor:
        forward = jvp(self._outputs, (self._at,), (vector,))[1]
        (product,) = vjp(self._outputs, self._at)[1](self._curvature * forward)
        return product + self.damping * vector

    def _batched(self, block: Tensor) -> Tensor:
        back = vjp(self._outputs, self._at)[1]

        def product(vector: Tensor) -> Tensor:
            result: Tensor = back(self._curvature * jvp(self._outputs, (self._at,), (vector,))[1])[0]
            return result

        return vmap(product, in_dims=1, out_dims=1)(block) + self.damping * block


def _columnwise(operator: Operator, block: Tensor) -> Tensor:
    return torch.stack([operator.matvec(column) for column in block.T], dim=1)


def products(operator: Operator, block: Tensor) -> Tensor:
    """Apply an operator to all columns of a block, at most `CHUNK` of them at once.

    Args:
        operator: H; blocks go through its `matmat` where it has one, and through `matvec` otherwise.
        block: V, shape (P, k).

    Returns:
        H V, shape (P, k), in the precision and on the device of V, whatever those of H.
    """
    if not block.shape[1]:
        return block.clone()
    given = block.to(dtype=getattr(operator, "dtype", None), device=getattr(operator, "device", None))
    together = getattr(operator, "matmat", None)
    if together is None or block.shape[1] == 1:
        done = _columnwise(operator, given)
    else:
        done = torch.cat([together(part) for part in given.split(CHUNK, dim=1)], dim=1)
    return done.detach().to(block)


def dense_matrix(operator: Operator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Assemble the operator's matrix (P, P), one product per parameter; for small P and for tests."""
    return products(operator, torch.eye(operator.size, dtype=dtype, device=getattr(operator, "device", None)))


EPS = torch.finfo(torch.float64).eps

#: Why a Hessian is zero.
NO_CURVATURE = "The loss does not depend on the parameters, or only piecewise linearly, as an absolute error does."

#: How callers damp: the influence modules and `TrainedModule` by one name, everything else by another.
GIVE_DAMPING = (
    "Change the loss, or give a damping: damp=... of an influence module, IhvpOptions(damping=...) elsewhere."
)

#: The ends of a spectrum are searched for a damping to this share of max|λ| / κ, and to `SETTLED` of max|λ|.
SHARPNESS, SETTLED = 1e-3, 1e-6


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest Ritz value of an operator, and how they were found.

    Within its residual of each lies an eigenvalue. That it is the outermost one is certain where
    `steps` reached the size of the operator or the residuals are at rounding error (for almost every
    start), and likely where they are small.

    Attributes:
        smallest: Ritz value θ, at least λ_min.
        largest: Ritz value, at most λ_max.
        smallest_residual: ‖H y − θ y‖ of its unit Ritz vector y.
        largest_residual: the same at the other end.
        steps: Lanczos steps taken.
    """

    smallest: float
    largest: float
    smallest_residual: float
    largest_residual: float
    steps: int


@dataclass(frozen=True)
class DampingChoice:
    """A damping chosen by the stated rule.

    Attributes:
        damping: λ, to be added to what the operator already includes.
        condition: κ, the condition number that `H + λI` may have.
        extremes: the ends of the spectrum of H it follows from.
    """

    damping: float
    condition: float
    extremes: Extremes


def rounding_limit(spectrum: Tensor, n_terms: int = 1, roundoff: float = EPS) -> float:
    """Size up to which an eigenvalue of a symmetric matrix may be nothing but rounding error.

    Entries that are sums of n products are off by about `roundoff √n` times their size; these errors together have
    at most a norm of that times `Σ|λ|`. Eigenvalues that are computed in float64 are off by `P eps max|λ|` besides.

    Args:
        spectrum: λ, shape (P,), in any order.
        n_terms: n, the rows that the matrix is a sum over.
        roundoff: relative error of the products, such as 1.2e-7 for a model in single precision.
    """
    sizes = spectrum.double().abs()
    # Of a few rows, what multiplies the matrix with its eigenvectors rounds more than the sums do.
    formed = (4.0 + n_terms**0.5) * roundoff * float(sizes.sum())
    return formed + len(sizes) * EPS * float(sizes.max())


def spectrum_and_limit(matrix: Tensor, n_terms: int = 1, roundoff: float = EPS) -> tuple[Tensor, float]:
    """Eigenvalues of a symmetric matrix (P, P), ascending in float64, and their `rounding_limit`.

    A matrix is positive definite if the first one is above the limit. A Cholesky factorisation does not tell: of
    a singular matrix, rounding decides whether it succeeds.

    Raises:
        SingularHessianError: NaN or infinity in the matrix.
    """
    if not bool(matrix.isfinite().all()):
        raise SingularHessianError(
            f"the Hessian of {len(matrix)} parameters: expected finite entries, got NaN or infinity. Look for NaN "
            "parameters, and for roots, logarithms or norms at 0 in the loss."
        )
    spectrum = torch.linalg.eigvalsh(matrix.double())
    return spectrum, rounding_limit(spectrum, n_terms, roundoff)


def lanczos_extremes(operator: Operator, steps: int, seed: int = 0, tolerance: float = 0.0) -> Extremes:
    """Find the ends of the spectrum by Lanczos with full reorthogonalisation, in float64.

    The residuals are those of products with the Ritz vectors, so that they also hold what an operator
    in single precision adds. Memory: `steps` vectors of P numbers.

    Args:
        operator: H, symmetric, P >= 1; its own damping is part of it.
        steps: products to take, two more for the residuals; P is enough for any operator.
        seed: of the random start.
        tolerance: stops where both residuals are at most this share of the largest |Ritz value|.

    Raises:
        InputError: steps below 1, an operator without parameters, or one that returns NaN or infinity.
    """
    if steps < 1 or operator.size < 1:
        raise InputError(
            f"lanczos: expected at least one step and one parameter, got {steps} steps, {operator.size} parameters."
        )
    steps = min(steps, operator.size)
    random = torch.Generator().manual_seed(seed)
    start = torch.randn(operator.size, generator=random, dtype=torch.float64)
    vector = start.to(getattr(operator, "device", None) or "cpu") / start.norm()
    basis = vector.new_empty((operator.size, steps))
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(steps):
        basis[:, step] = vector
        known = basis[:, : step + 1]
        ahead = _product(operator, vector[:, None])[:, 0]
        diagonal.append(float(vector @ ahead))
        # Once removes what the recurrence would; twice keeps the basis orthonormal to rounding error.
        for _ in range(2):
            ahead = ahead - known @ (known.T @ ahead)
        length = float(ahead.norm())
        values, rotation = _ritz(diagonal, beside)
        size = float(values.abs().max())
        left = length * float(rotation[-1, [0, -1]].abs().max())
        # The Krylov space is exhausted, as it is at once for a multiple of the identity; or the ends are known.
        if length <= EPS * (operator.size + 10) * size or left <= tolerance * size:
            break
        beside.append(length)
        vector = ahead / length
    ends = values[[0, -1]].to(basis)
    found = known @ rotation[:, [0, -1]].to(basis)
    residuals = (_product(operator, found) - found * ends).norm(dim=0)
    return Extremes(float(ends[0]), float(ends[1]), float(residuals[0]), float(residuals[1]), len(diagonal))


def damping_for_condition(operator: Operator, condition: float = 1e6, steps: int = 200) -> DampingChoice:
    """Choose the smallest damping that makes an operator positive definite and well-conditioned.

    The rule stands at the top of this module. It would make a negative multiple of the identity zero (up to
    eight digits): there the smallest eigenvalue is lifted to max|λ| / κ.

    Args:
        operator: H, symmetric; its own damping is part of it, λ comes on top.
        condition: κ > 1, the largest condition number wanted.
        steps: Lanczos steps at most. P or more find the ends to rounding error; fewer stop where the
            residuals are at most `SHARPNESS * max|λ| / κ`, and where they run out before, λ is larger
            than need be by what is left of the residuals.

    Raises:
        InputError: κ not above 1, or what `lanczos_extremes` refuses.
        SingularHessianError: H is zero: no damping is better founded than another.
    """
    if require_positive("condition", condition) <= 1:
        raise InputError(f"condition: expected a number above 1, got {condition!r}.")
    # Of a small operator the whole spectrum is affordable, and the ends are then certain.
    tolerance = 0.0 if operator.size <= steps else min(SHARPNESS / condition, SETTLED)
    ends = lanczos_extremes(operator, steps, tolerance=tolerance)
    low, high = ends.smallest - ends.smallest_residual, ends.largest + ends.largest_residual
    size = max(abs(low), abs(high))
    if size == 0:
        raise SingularHessianError(
            f"automatic damping: the Hessian of {operator.size} parameters is zero, so that every damping gives "
            f"condition number 1. {NO_CURVATURE} {GIVE_DAMPING}"
        )
    damping = damping_of(high, low, condition)
    if damping > 0 and high - low <= EPS**0.5 * size:
        damping = size / condition - low
    return DampingChoice(damping, condition, ends)


def damping_of(largest: float, smallest: float, condition: float) -> float:
    """The rule from the ends of a spectrum, which serve several κ."""
    return max(0.0, (largest - condition * smallest) / (condition - 1))


def _ritz(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of the tridiagonal matrix."""
    along = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.diag(torch.tensor(beside, dtype=torch.float64), 1) if beside else torch.zeros_like(along)
    values, rotation = torch.linalg.eigh(along + off + off.T)
    return values, rotation


def _product(operator: Operator, block: Tensor) -> Tensor:
    product = products(operator, block)
    if not bool(product.isfinite().all()):
        raise InputError("lanczos: expected finite products, got NaN or infinity from the operator (NaN parameters?).")
    return product
