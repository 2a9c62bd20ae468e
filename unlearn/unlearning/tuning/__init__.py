"""Tuning: what makes a forecaster useful again after it forgot, computed from the remaining rows alone."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.unlearning.tuning.apply import Tuned, problem_of, tune
    from unlearn.unlearning.tuning.methods import (
        TUNINGS,
        Affine,
        Head,
        Quantile,
        Scale,
        Solved,
        TuningMethod,
        Weights,
    )
    from unlearn.unlearning.tuning.problem import TuningProblem
    from unlearn.unlearning.tuning.recipe import Tuning
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the call, its recipe, its result
    "Tuned", "Tuning", "tune",
    # methods by name, and as objects with options
    "TUNINGS", "Affine", "Head", "Quantile", "Scale", "Weights",
    # for a method of one's own
    "Solved", "TuningMethod", "TuningProblem", "problem_of",
]  # fmt: skip
