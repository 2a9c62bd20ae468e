"""Inverse-Hessian products two ways: by conjugate gradients with products of the streamed Hessian, for any number of
parameters, and densely, where the Hessian is formed, damped and inverted once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import require_choice, require_not_negative, require_positive
from unlearn.errors import ConvergenceError, InputError, SingularHessianError
from unlearn.influence.base import RTOL, BaseInfluenceModule
from unlearn.influence.module import as_tensor
from unlearn.influence.preconditioner import risk_blocks
from unlearn.influence.risk import BaseObjective
from unlearn.linalg import (
    IhvpOptions,
    Preconditioner,
    Solution,
    dense_matrix,
    nystrom_preconditioner,
    solve_cg,
    spectrum_and_limit,
)
from unlearn.linalg.operators import GIVE_DAMPING, NO_CURVATURE

PRECONDITIONERS = ("auto", "none", "block", "nystrom")


#: Columns of the Nyström sketch.
NYSTROM_RANK = 50


class CGInfluenceModule(BaseInfluenceModule):
    """Inverse-Hessian products by conjugate gradients, several right-hand sides in one Krylov space.

    Takes the keyword arguments of `scipy.sparse.linalg.cg`: x0, rtol, atol, maxiter, M, callback, and tol, the
    old name of rtol. Unlike there, what did not converge is never passed over: negative curvature
    raises, and so does an unmet tolerance, unless `maxiter` asked for a truncated solve, which warns.
    `solution` has the status and the true residual.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        damp: float | str,
        gnh: bool = False,
        *,
        preconditioner: str = "auto",
        memory_mb: float = 512.0,
        **cg_kwargs: Any,
    ) -> None:
        """Fix how to solve; arguments that are not named here are those of `BaseInfluenceModule`.

        Args:
            damp: λ >= 0, or "auto", see `damping_choice`.
            gnh: the Gauss-Newton matrix instead of the Hessian; positive semi-definite for losses that are
                convex in the outputs.
            preconditioner: "block" (K-FAC blocks, exact in a linear model under squared error), "nystrom" (the largest
                50 eigenvalues), "none", or "auto": blocks if the model ends in a linear layer. It changes the
                number of steps, not the solution.
            **cg_kwargs: those of SciPy's `cg`.

        Raises:
            ValueError: an argument that `cg` does not know, or unusable.
        """
        super().__init__(model, objective, train_loader, test_loader, device, memory_mb=memory_mb)
        self.gnh = bool(gnh)
        self.preconditioner = require_choice("preconditioner", preconditioner, PRECONDITIONERS)
        self.cg_kwargs = cg_kwargs
        self._options = self._read(cg_kwargs)
        self.damp = self._damping(damp, self.gnh)
        self._built: tuple[Tensor, Preconditioner | None] | None = None

    @property
    def rtol(self) -> float:
        """Relative residual asked for."""
        return self._options.rtol

    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """Solve `(∇²L + λI) x = vec`, shape (P,).

        Raises:
            ConvergenceError: negative curvature, or the tolerance was not met and no `maxiter` was given.
        """
        return self._solve(self._require_vector(vec))

    def inverse_hvps(self, vectors: Tensor) -> Tensor:
        """Solve for every column of (P, k) at once, sharing all products; errors as `inverse_hvp`."""
        return self._solve(self._require_vector(vectors))

    def _solve(self, rhs: Tensor) -> Tensor:
        operator = self.operator(self.gnh, self.damp)
        start = self.cg_kwargs.get("x0")
        heard: Callable[[Any], None] | None = self.cg_kwargs.get("callback")
        found = solve_cg(
            operator,
            rhs,
            self._options,
            self._preconditioner(operator),
            start=None if start is None else as_tensor("x0", start, rhs.dtype).to(rhs),
            callback=None if heard is None else lambda x: heard(x.cpu().numpy()),
        )
        self.solution = found
        if not found.converged:
            self._tell(found)
        return found.value.to(rhs.dtype)

    def _tell(self, found: Solution) -> None:
        statistics = found.statistics
        place = f"after {statistics['steps']:.0f} steps, relative residual {statistics['relative_residual']:.2g}"
        if found.status == "negative curvature":
            raise ConvergenceError(
                f"CG: the Hessian with damping {self.damp:g} is not positive definite ({place}), so the model is not "
                "at a minimum and no solution means anything. Pass gnh=True (of TrainedModule: "
                'curvature="gauss_newton"), damp="auto" or a larger damp, or train on.'
            )
        message = f"CG: tolerance {self._options.rtol:.0e} not met {place}."
        if self.cg_kwargs.get("maxiter") is None:
            raise ConvergenceError(f"{message} Raise damp, use a float64 model, or loosen rtol of CGInfluenceModule.")
        warnings.warn(f"{message} The solve was cut short by maxiter={self._options.max_iter}.", stacklevel=4)

    def _preconditioner(self, operator: Any) -> Preconditioner | None:
        given = self.cg_kwargs.get("M")
        if given is not None:
            return _as_preconditioner(given, self._flat.size)
        theta = self._flat.theta
        if self._built is None or not torch.equal(self._built[0], theta):
            self._built = (theta, self._build_preconditioner(operator, theta))
        return self._built[1]

    def _build_preconditioner(self, operator: Any, theta: Tensor) -> Preconditioner | None:
        if self.preconditioner == "none":
            return None
        if self.preconditioner == "nystrom":
            rank = min(NYSTROM_RANK, self._flat.size)
            return nystrom_preconditioner(self.operator(True, 0.0), rank, self.damp)
        try:
            return risk_blocks(self.risk, theta)(self.damp)
        except InputError:
            if self.preconditioner == "block":
                raise
            return None

    def _read(self, given: dict[str, Any]) -> IhvpOptions:
        known = {"x0", "rtol", "tol", "atol", "maxiter", "M", "callback"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InputError(f"cg_kwargs: expected some of {', '.join(sorted(known))}; got {', '.join(unknown)}.")
        for name, methods in (("M", ("__call__", "dot")), ("callback", ("__call__",))):
            value = given.get(name)
            if not (value is None or isinstance(value, Tensor) or any(hasattr(value, method) for method in methods)):
                raise InputError(f"{name}: expected what SciPy's cg takes, got {type(value).__name__}.")
        if given.get("rtol") is not None and given.get("tol") is not None:
            raise InputError("cg_kwargs: expected rtol or tol, its old name, got both.")
        rtol = given.get("rtol") if given.get("rtol") is not None else given.get("tol")
        steps = given.get("maxiter")
        dtype = self._flat.dtype
        return IhvpOptions(
            solver="cg",
            rtol=require_positive("rtol", RTOL.get(dtype, 1e-3) if rtol is None else rtol),
            atol=require_not_negative("atol", given.get("atol") or 0.0),
            max_iter=None if steps is None else int(require_positive("maxiter", steps)),
            on_failure="report",
            roundoff=torch.finfo(dtype).eps,
        )


def _as_preconditioner(given: Any, size: int) -> Preconditioner:
    """SciPy's M (array, sparse matrix, linear operator) or a callable on tensors."""
    shape = getattr(given, "shape", (size, size))
    if tuple(shape) != (size, size):
        raise InputError(f"M: expected shape {(size, size)}, got {tuple(shape)}.")
    if isinstance(given, Tensor):
        return lambda vectors: given.to(vectors) @ vectors
    if callable(given) and not hasattr(given, "dot"):
        made: Preconditioner = given
        return made
    return lambda vectors: torch.from_numpy(np.asarray(given.dot(vectors.cpu().numpy()))).to(vectors)


class AutogradInfluenceModule(BaseInfluenceModule):
    """Inverse-Hessian products with the dense inverse of `∇²L + damp I`; exact, for some thousand parameters.

    Attributes:
        damp: λ in use.
        inverse_hess: `(∇²L + λI)⁻¹`, shape (P, P), factorised in float64 and returned in the model's dtype.
        positive_definite: whether the damped Hessian is.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        damp: float | str,
        check_eigvals: bool = False,
        *,
        gnh: bool = False,
        memory_mb: float = 512.0,
    ) -> None:
        """Form and invert the Hessian; arguments that are not named here are those of `BaseInfluenceModule`.

        Args:
            damp: λ >= 0, or "auto", see `damping_choice`.
            check_eigvals: refuse a damped Hessian that is not positive definite. Without it, an indefinite
                one is refused only if undamped, else inverted with a warning.
            gnh: the Gauss-Newton matrix instead of the Hessian.

        Raises:
            ValueError: not positive definite, or too many parameters for a dense matrix.
            SingularHessianError: no inverse.
        """
        super().__init__(model, objective, train_loader, test_loader, device, memory_mb=memory_mb)
        size = self._flat.size
        needed, physical = 3 * 8 * size**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > physical:
            raise InputError(
                f"model: the dense Hessian of {size} parameters takes {needed / 2**30:.0f} GiB, this machine has "
                f"{physical / 2**30:.0f}; use CGInfluenceModule."
            )
        self.gnh = gnh
        self.damp = self._damping(damp, gnh)
        # In float32, rounding leaves the two triangles a little different.
        hessian = dense_matrix(self.operator(gnh), self._flat.dtype).double()
        damped = 0.5 * (hessian + hessian.T) + self.damp * torch.eye(size, dtype=torch.float64, device=hessian.device)
        spectrum, limit = spectrum_and_limit(damped, self.risk.samples.size, torch.finfo(self._flat.dtype).eps)
        self.positive_definite = float(spectrum[0]) > limit
        if self.positive_definite:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        else:
            self._refuse_or_warn(spectrum, limit, check_eigvals)
            inverse = torch.linalg.inv(damped)
        self.inverse_hess = inverse.to(self._flat.dtype)

    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """`(∇²L + λI)⁻¹ vec`, shape (P,) or (P, k)."""
        return self.inverse_hess @ self._require_vector(vec).to(self._flat.dtype)

    def inverse_hvps(self, vectors: Tensor) -> Tensor:
        return self.inverse_hvp(vectors)

    def _refuse_or_warn(self, spectrum: Tensor, limit: float, check_eigvals: bool) -> None:
        smallest, largest = float(spectrum[0]), float(spectrum[-1])
        singular = float(spectrum.abs().min()) <= limit
        indefinite = smallest < -limit
        kind = "not positive definite" if indefinite else "singular to rounding"
        why = "" if indefinite else f" (up to {limit:.2g} is rounding error: parameters depend on each other)"
        start = "Train to a minimum, pass" if indefinite else "Remove repeated or dependent features, pass"
        message = (
            f"the Hessian with damping {self.damp:g} is {kind}: its eigenvalues run from {smallest:.3g} to "
            f'{largest:.3g}{why}. {start} damp="auto" or a damp above {self.damp + limit - smallest:.2g}'
            f"{', or use the Gauss-Newton matrix (gnh=True)' if indefinite and not self.gnh else ''}."
        )
        if not largest and not smallest:
            message = f"the Hessian is zero, and damp is 0. {NO_CURVATURE} {GIVE_DAMPING}"
        if singular and not check_eigvals:
            raise SingularHessianError(message)
        if check_eigvals or not self.damp:
            raise InputError(message)
        warnings.warn(f"{message} Scores at a saddle point mean little.", stacklevel=4)
