"""The core of every influence module: gradients, scores, and what a subclass needs to invert the Hessian.

*Sign convention, as everywhere in this library*: the influence of a training row on the test loss is the
change of the test loss if the row is removed and the model refitted. Positive means helpful.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.checks import IntArray, require_not_negative, require_positive, require_rows
from unlearn.errors import InputError
from unlearn.influence.flat import FlatModel, dtypes_named
from unlearn.influence.mean_loss import MeanLoss
from unlearn.influence.module import as_tensor, require_device, require_module, require_objective
from unlearn.influence.risk import BaseObjective, RiskOperator, TrainingRisk
from unlearn.influence.samples import Samples, bytes_of, leaves
from unlearn.influence.scores import ScoreStore
from unlearn.influence.subclassing import SubclassHelpers
from unlearn.linalg import DampingChoice, Solution, damping_for_condition

#: Condition number up to which `damp="auto"` leaves a Hessian as it is: rounding costs a solution few of its digits.
WELL_CONDITIONED = {torch.float64: 1e6, torch.float32: 1e4}

#: Relative residual asked for where the caller names none.
RTOL = {torch.float64: 1e-10, torch.float32: 1e-6}

#: Condition number that it damps others to. Of 10 to 1e6, refits of whole networks were predicted best at 1e3
#: (`python -m experiments.full_network`).
CONDITION = 1e3


class BaseInfluenceModule(SubclassHelpers, abc.ABC):
    """Influence of training rows on the mean test loss, for any model and objective.

    With `L(θ) = (1/N) Σ_i ℓ_i(θ) + r(θ)` and its minimiser θ*, row i is scored by
    `∇C' (∇²L + λI)⁻¹ ∇(ℓ_i + r) / N`, C the mean test loss (Koh & Liang, ICML 2017): what removing the row
    and refitting the mean over the others changes, to first order.

    Attributes:
        model: on the device, in evaluation mode.
        objective: its losses.
        train_loader: as given.
        test_loader: as given.
        device: where everything is computed.
        solution: status and statistics of the last inverse-Hessian product, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        *,
        memory_mb: float = 512.0,
    ) -> None:
        """Put the model on the device and in evaluation mode, and check that its rows can be scored.

        Args:
            model: trained model; parameters that do not require gradients stay fixed.
            objective: its losses.
            train_loader: gives the training rows, their batch size and how to collate them.
            test_loader: the same of the rows that the model is judged on; None where no test rows are
                asked for.
            device: where to compute.
            memory_mb: what intermediate results may take; decides how many rows are handled at once, never
                the result.

        Raises:
            InputError: a loader that skips or repeats rows; a loss that is not finite, not a mean
                over independent rows, or differs between two passes; no trainable parameter; an argument of another
                kind, or a device that is not there.
        """
        require_positive("memory_mb", memory_mb)
        require_module(model)
        require_objective(objective)
        self.device = require_device(device)
        self.model = model.eval().to(self.device)
        self.objective = objective
        self.train_loader, self.test_loader = train_loader, test_loader
        self.solution: Solution | None = None
        self._train = Samples("train_loader", train_loader, self.device)
        self._flat = FlatModel(self.model)
        self._memory = memory_mb * 2**20
        tests = None if test_loader is None else Samples("test_loader", test_loader, self.device)
        given = [self._train, *([] if tests is None else [tests])]
        with dtypes_named(self._flat, lambda: [leaf for samples in given for leaf in leaves(samples.take_first())]):
            self.risk = TrainingRisk(self._flat, objective, self._train, self._memory)
            judged = None if tests is None else MeanLoss("test", self._flat, objective.test_loss, tests, self._memory)
        self._judged = judged

    def __repr__(self) -> str:
        tests = "no" if self._judged is None else self._judged.samples.size
        return (
            f"{type(self).__name__}({type(self.model).__name__} of {self._flat.size} trained parameters, "
            f"{self.objective!r}, {self._train.size} training and {tests} test rows)"
        )

    @property
    def _judge(self) -> MeanLoss:
        if self._judged is None:
            raise InputError(
                "test_loader: expected a loader, got None; test losses and stests need test rows. Everything else does "
                "without, `influences` too if it is given a stest."
            )
        return self._judged

    @property
    def _test(self) -> Samples:
        return self._judge.samples

    @abc.abstractmethod
    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """`(∇²L + λI)⁻¹ vec` for a flat vector (P,)."""

    def inverse_hvps(self, vectors: Tensor) -> Tensor:
        """The same for every column of a matrix (P, k)."""
        return torch.stack([self.inverse_hvp(column) for column in vectors.T], dim=1)

    def train_loss_grad(self, train_idxs: Sequence[int]) -> Tensor:
        """Gradient of the mean regularised loss over training rows, shape (P,).

        Raises:
            IndexError: a row out of range.
            ValueError: a row given twice, none given, or a gradient that is not finite.
        """
        return self.risk.gradient(self._flat.theta, self._rows("train_idxs", train_idxs, self._train, some=True))

    def train_loss_grads(self, train_idxs: Sequence[int]) -> Tensor:
        """Gradient of the regularised loss of each of these training rows, shape (n, P).

        Holds n × P numbers; `influences` does without.
        """
        return self.risk.gradients(self._flat.theta, self._rows("train_idxs", train_idxs, self._train))

    def test_loss_grad(self, test_idxs: Sequence[int]) -> Tensor:
        """Gradient of the mean loss over test rows, shape (P,); errors as for `train_loss_grad`."""
        return self._judge.gradient(self._flat.theta, self._rows("test_idxs", test_idxs, self._test, some=True))

    def mean_test_loss(self, theta: Tensor | None = None) -> float:
        """Mean loss over all test rows, at the model's parameters or at others, shape (P,)."""
        return self._judge.mean(self._flat.theta if theta is None else self._require_vector(theta, "theta", ndims=(1,)))

    def stest(self, test_idxs: Sequence[int]) -> Tensor:
        """`(∇²L + λI)⁻¹ ∇C`, C the mean loss over these test rows, shape (P,); reusable in `influences`."""
        return self.inverse_hvp(self.test_loss_grad(test_idxs))

    def stests(self, test_idxs: Sequence[int]) -> Tensor:
        """`stest` of each of these test rows by itself, a column each, shape (P, k), solved together."""
        rows = self._rows("test_idxs", test_idxs, self._test, some=True)
        return self.inverse_hvps(self._judge.gradients(self._flat.theta, rows).T)

    def influences(
        self,
        train_idxs: Sequence[int],
        test_idxs: Sequence[int],
        stest: Tensor | None = None,
        *,
        checkpoint: str | Path | None = None,
    ) -> Tensor:
        """Estimated change of the mean test loss if a training row were removed and the model refitted.

        Args:
            train_idxs: rows to score.
            test_idxs: rows of the mean test loss; not used if `stest` is given.
            stest: the result of `stest` (P,), or of `stests` (P, k), to reuse.
            checkpoint: folder that keeps `stest` and finished scores, so that an interrupted call goes on
                where it stopped; it refuses to go on with another model, rows or settings.

        Returns:
            A score per training row on the CPU, shape (n,), in the order given; (n, k) for several stests.

        Raises:
            IndexError: a row out of range.
            ValueError: a row given twice, a loss or gradient that is not finite, a stest that does not fit.
        """
        rows = self._rows("train_idxs", train_idxs, self._train)
        theta = self._flat.theta
        tests = self._rows("test_idxs", test_idxs, self._test, some=True) if stest is None else None
        given = None if stest is None else self._require_stest(stest)
        if checkpoint is None:
            solved = self.stest(test_idxs) if given is None else given
            return self._scores(theta, rows, solved)
        store = self._store(checkpoint, theta, rows, tests, given)
        solved = store.stest(lambda: self.stest(test_idxs) if given is None else given).to(self.device)
        return store.scores(lambda part: self._scores(theta, rows[part], solved))

    def influence_matrix(
        self, train_idxs: Sequence[int], test_idxs: Sequence[int], stests: Tensor | None = None
    ) -> Tensor:
        """Influence of each training row on each test row by itself, shape (n, k)."""
        solved = self.stests(test_idxs) if stests is None else stests
        return self.influences(train_idxs, test_idxs, solved)

    def operator(
        self, gauss_newton: bool = False, damping: float = 0.0, rows: Sequence[int] | None = None
    ) -> RiskOperator:
        """Products with the (damped) Hessian or Gauss-Newton matrix of L, over these training rows or all."""
        chosen = None if rows is None else self._rows("rows", rows, self._train, some=True)
        return RiskOperator(self.risk, self._flat.theta, gauss_newton, damping, chosen)

    def damping_choice(self, gauss_newton: bool = False, rows: Sequence[int] | None = None) -> DampingChoice:
        """What `damp="auto"` means: no damping if H is positive definite with a condition number of at most 1e6 (1e4
        in float32); else the smallest λ for which `H + λI` is positive definite with one of at most 1e3.

        Found by Lanczos, with as many vectors as the memory allows (200 at most; few of them make λ larger).
        """
        steps = max(10, min(200, int(self._memory / (8 * self._flat.size))))
        operator, enough = self.operator(gauss_newton, 0.0, rows), WELL_CONDITIONED.get(self._flat.dtype, CONDITION)
        damped = damping_for_condition(operator, CONDITION, steps)
        # A Ritz value is never below the smallest eigenvalue.
        if damped.damping == 0 or damped.extremes.largest > enough * damped.extremes.smallest:
            return damped
        undamped = damping_for_condition(operator, enough, steps)
        return undamped if undamped.damping == 0 else damped

    def _damping(self, damp: float | str, gauss_newton: bool) -> float:
        """λ: the number given, or for "auto" the smallest one that bounds the condition number."""
        if damp == "auto":
            return self.damping_choice(gauss_newton).damping
        if isinstance(damp, str):
            raise InputError(f'damp: expected a number of at least 0 or "auto", got {damp!r}.')
        return require_not_negative("damp", damp)

    def _scores(self, theta: Tensor, rows: IntArray, stest: Tensor) -> Tensor:
        vectors = stest.reshape(len(theta), -1)
        return (self.risk.scores(theta, rows, vectors) / self._train.size).reshape(-1, *stest.shape[1:]).cpu()

    def _require_stest(self, stest: Any) -> Tensor:
        stest = as_tensor("stest", stest, self._flat.dtype)
        if stest.ndim not in (1, 2) or len(stest) != self._flat.size:
            raise InputError(
                f"stest: expected shape ({self._flat.size},) or ({self._flat.size}, k), got {tuple(stest.shape)}."
            )
        if not bool(stest.isfinite().all()):
            raise InputError("stest: expected finite values, got NaN or infinity.")
        return stest.detach().to(device=self.device, dtype=self._flat.dtype)

    def _require_vector(self, vec: Any, name: str = "vec", ndims: tuple[int, ...] = (1, 2)) -> Tensor:
        """A vector (P,) or columns (P, k) to solve for, on the device."""
        vec = as_tensor(name, vec, self._flat.dtype)
        if vec.ndim not in ndims or len(vec) != self._flat.size:
            raise InputError(
                f"{name}: expected shape ({self._flat.size},), a number per parameter, got {tuple(vec.shape)}."
            )
        if not bool(vec.isfinite().all()):
            raise InputError(f"{name}: expected finite values, got NaN or infinity.")
        return vec.detach().to(self.device)

    def _store(
        self, folder: str | Path, theta: Tensor, rows: IntArray, tests: IntArray | None, stest: Tensor | None
    ) -> ScoreStore:
        """Scores kept in a folder, with all that they follow from: rows, tensors of the model, settings and losses."""
        if not isinstance(folder, str | os.PathLike):
            raise InputError(f"checkpoint: expected a folder, got {type(folder).__name__}.")
        state = [*self.model.named_parameters(), *self.model.named_buffers()]
        identity: list[np.ndarray | str] = [rows, f"{type(self).__qualname__} {self._settings()}"]
        for name, tensor in state:
            identity += [f"{name} {tensor.dtype} {tuple(tensor.shape)}", bytes_of(tensor)]
        identity += [str(self.model), self._train.fingerprint()]
        losses = [self.risk.of_rows(theta), np.array([float(self.risk.regularization(theta))])]
        if stest is not None:
            identity.append(stest.cpu().double().numpy())
        elif tests is not None:
            identity += [tests, self._test.fingerprint()]
            losses.append(self._judge.of_rows(theta))
        tolerance = torch.finfo(theta.dtype).eps ** 0.5
        return ScoreStore(Path(folder), identity, len(rows), np.concatenate(losses), tolerance)

    def _settings(self) -> list[tuple[str, Any]]:
        """Public numbers, switches and names of this module, of its solver, and of its objective."""
        named = {key: value for key, value in vars(self).items() if key[0] != "_"}
        named |= getattr(self, "cg_kwargs", {}) | {"batch_size": self._train.batch_size}
        named |= {f"objective.{key}": value for key, value in getattr(self.objective, "__dict__", {}).items()}
        return sorted((key, value) for key, value in named.items() if isinstance(value, int | float | str | bool))

    def _rows(self, name: str, idxs: Sequence[int], samples: Samples, some: bool = False) -> IntArray:
        try:
            array = np.asarray(idxs.cpu() if isinstance(idxs, Tensor) else idxs)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{name}: expected a list of row numbers, got {type(idxs).__name__}.") from error
        valid = require_rows(name, array if array.size else array.astype(np.int64), samples.size)
        if some and not len(valid):
            raise InputError(f"{name}: expected at least one row, got none.")
        return valid if array.dtype == bool else array.astype(np.int64)
