"""Conjugate gradients with products of the streamed Hessian: any number of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import require_choice, require_not_negative, require_positive
from unlearn.errors import ConvergenceError, InputError
from unlearn.influence.base import BaseInfluenceModule
from unlearn.influence.kronecker import risk_blocks
from unlearn.influence.module import as_tensor
from unlearn.influence.risk import BaseObjective
from unlearn.linalg import IhvpOptions, Preconditioner, Solution, nystrom_preconditioner, solve_cg

PRECONDITIONERS = ("auto", "none", "block", "nystrom")

#: Relative residual asked for where the caller names none.
RTOL = {torch.float64: 1e-10, torch.float32: 1e-6}

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
        """Fix how to solve.

        Args:
            model: trained model.
            objective: its losses.
            train_loader: training rows.
            test_loader: test rows, or None.
            device: where to compute.
            damp: λ >= 0, or "auto", see `damping_choice`.
            gnh: the Gauss-Newton matrix instead of the Hessian; positive semi-definite for losses that are
                convex in the outputs.
            preconditioner: "block" (K-FAC blocks, exact in a linear model under squared error), "nystrom" (the largest
                50 eigenvalues), "none", or "auto": blocks if the model ends in a linear layer. It changes the
                number of steps, not the solution.
            memory_mb: what intermediate results may take.
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
        warnings.warn(f"{message} The solve was cut short by maxiter={self._options.max_steps}.", stacklevel=4)

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
            return risk_blocks(self.risk, theta).inverse(self.damp)
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
            max_steps=None if steps is None else int(require_positive("maxiter", steps)),
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
