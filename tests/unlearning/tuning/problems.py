"""Small tuning problems with known answers, on a grid of three loads."""

import numpy as np
import torch

from unlearn.criteria import Criterion
from unlearn.unlearning.tuning import TuningProblem


def made(
    criterion: Criterion,
    seed: int = 0,
    n_rows: int = 400,
    n_columns: int = 6,
    n_outputs: int = 3,
    kept: torch.Tensor | None = None,
    l2: float = 0.0,
    bias: float = 0.0,
) -> TuningProblem:
    """Rows of a linear model with noise; loads in p.u. about 0.5 to 1.5, four rows a block."""
    random = np.random.default_rng(seed)
    design = np.column_stack([random.standard_normal((n_rows, n_columns - 1)), np.ones(n_rows)])
    head = np.column_stack([0.05 * random.standard_normal((n_outputs, n_columns - 1)), np.ones(n_outputs)])
    target = design @ head.T + 0.1 * random.standard_normal((n_rows, n_outputs)) + bias
    every = torch.ones((n_rows, n_outputs), dtype=torch.bool) if kept is None else kept
    there = every.any(dim=0)
    whole = (every | ~there).all(dim=1)
    block = np.arange(n_rows) // 20
    parts = torch.from_numpy(design), torch.from_numpy(np.maximum(target, 0.05)), every, whole
    return TuningProblem(*parts, block, criterion, l2)


class Shifted:
    """Squared error against loads that are moved by a constant: its least-squares head is known."""

    name, unit = "shifted", "pu2"

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def __call__(self, forecast_pu: torch.Tensor, load_pu: torch.Tensor) -> torch.Tensor:
        return (forecast_pu - load_pu - self.shift).square().mean(dim=1)
