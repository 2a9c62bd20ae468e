"""Curvature operators, solvers and the objectives they act on."""

from unlearn.linalg.cg import solve_cg
from unlearn.linalg.gram import GramOperator
from unlearn.linalg.nystrom import nystrom_preconditioner
from unlearn.linalg.objective import Objective, inverse_hvp
from unlearn.linalg.operators import GaussNewtonOperator, HessianOperator, Operator, dense_matrix, products
from unlearn.linalg.solvers import IhvpOptions, Preconditioner, Solution, relative_residual, solve_dense
from unlearn.linalg.spectrum import (
    DampingChoice,
    Extremes,
    damping_for_condition,
    damping_of,
    lanczos_extremes,
    rounding_limit,
    spectrum_and_limit,
)
from unlearn.linalg.statistics import ACCURACY, SufficientStatistics

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
