"""LiSSA: inverse-Hessian products from stochastic Neumann series (Agarwal, Bullins & Hazan, JMLR 2017)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from unlearn.checks import require_positive
from unlearn.errors import ConvergenceError, InputError
from unlearn.influence.base import BaseInfluenceModule
from unlearn.influence.mean_loss import PATIENCE
from unlearn.influence.risk import BaseObjective, RiskOperator, batch_product
from unlearn.linalg import Solution, lanczos_extremes, relative_residual

#: Relative residual above which the series has diverged; the zero vector has 1.
DIVERGED = 1e3


class LiSSAInfluenceModule(BaseInfluenceModule):
    """Mean of `repeat` estimates; each runs `h <- v + h − (H_batch h + damp h)/scale` and gives `h/scale`.

    Batches of the loader's size are drawn with replacement from the global generator (`torch.manual_seed`), and the
    estimate is noisy: `solution.statistics["relative_residual"]` says how far it is from solving the full system.
    From the same seed `stest`, `influences`, the gradients and `inverse_hvp` draw what torch-influence draws there:
    each pass over a loader takes one number from the generator, and each estimate one more for its batches.
    What is done besides (checks, the residual) leaves the generator alone.

    The paper takes the Hessian of one row a step, of losses whose Hessians are at most 1; batches, `scale` and `damp`
    came with influence functions (Koh & Liang, ICML 2017).
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        damp: float | str,
        repeat: int,
        depth: int,
        scale: float,
        gnh: bool = False,
        debug_callback: Callable[[int, int, Tensor], None] | None = None,
        *,
        memory_mb: float = 512.0,
    ) -> None:
        """Fix the recursion; arguments that are not named here are those of `BaseInfluenceModule`.

        Args:
            train_loader: training rows; its batch size is that of the draws.
            damp: λ >= 0, or "auto", see `damping_choice`.
            repeat: estimates to average.
            depth: steps of each.
            scale: above the largest eigenvalue of any batch's damped Hessian, or the series diverges.
            gnh: Gauss-Newton matrices instead of Hessians.
            debug_callback: called with (repeat, step, h) after each step.

        Raises:
            ValueError: repeat, depth or scale not above 0, or not whole.
        """
        with torch.random.fork_rng(devices=[]):
            super().__init__(model, objective, train_loader, test_loader, device, memory_mb=memory_mb)
        for name, count in (("repeat", repeat), ("depth", depth)):
            if require_positive(name, count) != int(count):
                raise InputError(f"{name}: expected a whole number, got {count!r}.")
        self.repeat, self.depth, self.scale = int(repeat), int(depth), require_positive("scale", scale)
        self.gnh, self.debug_callback = gnh, debug_callback
        with torch.random.fork_rng(devices=[]):
            self.damp = self._damping(damp, gnh)

    def train_loss_grad(self, train_idxs: Sequence[int]) -> Tensor:
        """As for every influence module, and a number from the generator."""
        gradient = super().train_loss_grad(train_idxs)
        _pass_over_a_loader()
        return gradient

    def test_loss_grad(self, test_idxs: Sequence[int]) -> Tensor:
        """As for every influence module, and a number from the generator."""
        gradient = super().test_loss_grad(test_idxs)
        _pass_over_a_loader()
        return gradient

    def influences(
        self,
        train_idxs: Sequence[int],
        test_idxs: Sequence[int],
        stest: Tensor | None = None,
        *,
        checkpoint: str | Path | None = None,
    ) -> Tensor:
        """As for every influence module, and a number from the generator besides those of `stest`."""
        scores = super().influences(train_idxs, test_idxs, stest, checkpoint=checkpoint)
        _pass_over_a_loader()
        return scores

    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """Estimate `(∇²L + λI)⁻¹ vec`, shape (P,).

        Raises:
            ConvergenceError: the series diverged; says which scale it needs.
        """
        vec = self._require_vector(vec)
        start = time.perf_counter()
        theta = self._flat.theta
        total = torch.zeros_like(vec)
        with tqdm(total=self.repeat * self.depth, desc="LiSSA", leave=False, delay=PATIENCE) as bar:
            for r in range(self.repeat):
                estimate = vec.clone()
                for t, (batch, _) in enumerate(self._loader_wrapper(train=True, sample_n_batches=self.depth)):
                    curved = batch_product(self.risk, theta, batch, estimate, self.gnh) + self.damp * estimate
                    estimate = vec + estimate - curved / self.scale
                    if self.debug_callback is not None:
                        self.debug_callback(r, t, estimate)
                    bar.update()
                if not bool(estimate.isfinite().all()):
                    self._require_useful(self.operator(self.gnh, self.damp), float("inf"))
                total += estimate / self.scale
        result = total / self.repeat
        with torch.random.fork_rng(devices=[]):
            operator = self.operator(self.gnh, self.damp)
            residual = relative_residual(operator, result, vec)
            self._require_useful(operator, residual)
        self.solution = Solution(
            result,
            residual <= 1.0,
            "estimated",
            {
                "solver": "lissa",
                "steps": float(self.repeat * self.depth),
                "relative_residual": residual,
                "seconds": time.perf_counter() - start,
            },
        )
        return result

    def _require_useful(self, operator: RiskOperator, residual: float) -> None:
        if residual <= 1.0:
            return
        largest = lanczos_extremes(operator, steps=20).largest
        message = (
            f"LiSSA: the estimate has a relative residual of {residual:.2g}, and 0 would have 1. The damped "
            f"Hessian's largest eigenvalue is {largest:.3g}, that of a batch is larger; scale is {self.scale:g}. "
            "Raise scale, and depth with it, use larger batches, or CGInfluenceModule."
        )
        if not residual <= DIVERGED:
            raise ConvergenceError(message)
        warnings.warn(message, stacklevel=3)


def _pass_over_a_loader() -> None:
    """Take from the global generator what a `DataLoader` takes when it is iterated: the seed of its workers."""
    torch.empty((), dtype=torch.int64).random_()
