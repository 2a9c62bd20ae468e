"""Curvature operators, solvers and the objectives they act on."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.linalg.cg import Objective, inverse_hvp, solve_cg
    from unlearn.linalg.gram import GramOperator
    from unlearn.linalg.operators import (
        DampingChoice,
        Extremes,
        GaussNewtonOperator,
        HessianOperator,
        Operator,
        damping_for_condition,
        damping_of,
        dense_matrix,
        lanczos_extremes,
        products,
        rounding_limit,
        spectrum_and_limit,
    )
    from unlearn.linalg.options import IhvpOptions
    from unlearn.linalg.solvers import Preconditioner, Solution, nystrom_preconditioner, relative_residual, solve_dense
    from unlearn.linalg.statistics import ACCURACY, SufficientStatistics
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # curvature
    "GaussNewtonOperator", "GramOperator", "HessianOperator", "Operator", "dense_matrix", "products",
    # spectrum and damping
    "DampingChoice", "Extremes", "damping_for_condition", "damping_of", "lanczos_extremes", "rounding_limit",
    "spectrum_and_limit",
    # solving
    "IhvpOptions", "Preconditioner", "Solution", "inverse_hvp", "nystrom_preconditioner", "relative_residual",
    "solve_cg", "solve_dense",
    # training problems
    "Objective",
    # sums over training rows
    "ACCURACY", "SufficientStatistics",
]  # fmt: skip
