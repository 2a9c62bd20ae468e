"""Options of linear algebra, without what it takes to import the algebra."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_choice, require_fraction, require_not_negative, require_positive
from unlearn.errors import InputError

SOLVERS = ("direct", "cg")
PRECONDITIONERS = ("none", "block")


@dataclass(frozen=True)
class IhvpOptions:
    """How inverse-Hessian-vector products are solved.

    Attributes:
        solver: "direct" (structured or dense factorisation) or "cg" (matrix-free).
        damping: λ >= 0 added to the Hessian of the sum.
        rtol: relative residual that CG must reach.
        max_iter: CG steps, of a block of right-hand sides too; None means ten times the number of parameters.
        on_failure: "raise", or "report" in the returned status.
        preconditioner: of CG: "none", or "block": the block structure of the objective, see its
            `preconditioner`.
        atol: absolute residual that CG may stop at: it is solved when `‖r‖ <= max(rtol ‖b‖, atol)`.
        roundoff: relative error of the operator's products, such as 1.2e-7 for a model in single
            precision: a residual of at most `10 roundoff ‖H‖ ‖x‖` (`cg.ROUNDOFF_FACTOR`) then counts as solved,
            for x solves a system as close to the given one as the products are.
    """

    solver: str = "direct"
    damping: float = 0.0
    rtol: float = 1e-12
    max_iter: int | None = None
    on_failure: str = "raise"
    preconditioner: str = "none"
    atol: float = 0.0
    roundoff: float = 0.0

    def __post_init__(self) -> None:
        require_choice("ihvp.solver", self.solver, SOLVERS)
        require_choice("ihvp.preconditioner", self.preconditioner, PRECONDITIONERS)
        if self.solver != "cg" and self.preconditioner != "none":
            raise InputError(
                f'ihvp.preconditioner: expected "none" with solver={self.solver!r}, got {self.preconditioner!r}; only '
                'solver="cg" is preconditioned.'
            )
        require_choice("ihvp.on_failure", self.on_failure, ("raise", "report"))
        require_not_negative("ihvp.damping", self.damping)
        require_positive("ihvp.rtol", self.rtol)
        require_not_negative("ihvp.atol", self.atol)
        if self.roundoff:
            require_fraction("ihvp.roundoff", self.roundoff)
        if self.max_iter is not None:
            require_positive("ihvp.max_iter", self.max_iter)
