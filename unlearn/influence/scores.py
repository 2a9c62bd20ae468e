"""Influence of training samples on a criterion (paper eqs. 10-15 and 23), and scores on disk, chunk by chunk.

*Sign convention, the only one in this library*: the influence of a sample on a criterion is the
change of the criterion if that sample is removed and the model refitted. Positive means helpful,
because removal makes a cost worse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, require_not_negative
from unlearn.criteria import Criterion, require_per_sample
from unlearn.errors import ConvergenceError, DataError, InputError, MismatchError, counted_from, said
from unlearn.forecasters import Forecaster
from unlearn.influence.mean_loss import PATIENCE
from unlearn.influence.risk import BaseObjective
from unlearn.linalg import IhvpOptions, Objective, inverse_hvp
from unlearn.records import read_json, read_safetensors, write_json, write_safetensors

#: Maps outputs and targets to the mean loss of a batch, such as `torch.nn.functional.mse_loss`.
LossFunction = Callable[[Tensor, Tensor], Tensor]


class PairObjective(BaseObjective):
    """`loss(model(x), y) + (l2/2) ‖θ‖²` on training batches (x, y); `eval_loss(model(x), y)` on test batches."""

    def __init__(self, loss: LossFunction, l2: float = 0.0, eval_loss: LossFunction | None = None) -> None:
        """Fix the losses.

        Args:
            loss: training loss, a mean over samples.
            l2: regulariser of the mean, >= 0.
            eval_loss: test loss; None means `loss`.
        """
        for name, function in (("loss", loss), ("eval_loss", eval_loss or loss)):
            if isinstance(function, type) or not callable(function):
                of_class = isinstance(function, type)
                what = f"the class {function.__name__}; make one" if of_class else type(function).__name__
                raise InputError(f"{name}: expected a function of outputs and targets, got {what}.")
        self.loss, self.eval_loss = loss, eval_loss or loss
        self.l2 = require_not_negative("l2", l2)

    def __repr__(self) -> str:
        loss, eval_loss = (getattr(f, "__name__", type(f).__name__) for f in (self.loss, self.eval_loss))
        return f"PairObjective({loss}, l2={self.l2:g}, eval_loss={eval_loss})"

    def train_outputs(self, model: nn.Module, batch: Any) -> Tensor:
        return _outputs(model, _pair(batch)[0])

    def train_loss_on_outputs(self, outputs: Tensor, batch: Any) -> Tensor:
        return _mean_loss(self.loss, outputs, _pair(batch)[1])

    def train_regularization(self, params: Tensor) -> Tensor:
        return 0.5 * self.l2 * params.square().sum() if self.l2 else torch.zeros((), dtype=params.dtype)

    def test_loss(self, model: nn.Module, params: Tensor, batch: Any) -> Tensor:
        inputs, targets = _pair(batch)
        return _mean_loss(self.eval_loss, _outputs(model, inputs), targets)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        raise InputError(
            f"batch: expected (inputs, targets), got a {what}; for other batches subclass "
            "unlearn.influence.BaseObjective."
        )
    return batch[0], batch[1]


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    outputs = model(inputs)
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"model: expected a tensor of outputs, got {type(outputs).__name__}; wrap it in a module whose forward "
            "returns the tensor that the loss takes, or subclass unlearn.influence.BaseObjective."
        )
    return outputs


def _mean_loss(loss: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    if not isinstance(targets, Tensor):
        raise InputError(f"targets: expected a tensor, got {type(targets).__name__}; change the loader's collate_fn.")
    if outputs.shape != targets.shape and not _are_classes(outputs, targets):
        # Broadcasting would pair every output with every target.
        raise InputError(
            f"targets: expected the shape of the outputs, {tuple(outputs.shape)}, got {tuple(targets.shape)}"
            f"{'' if targets.is_floating_point() else ' (classes: that without the second axis)'}. Reshape one of "
            "them, such as targets[:, None] or outputs.squeeze(-1)."
        )
    return loss(outputs, targets)


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether the targets may be indices of classes: scores (n, C, ...) of at least two, and classes (n, ...)."""
    if targets.is_floating_point() or targets.is_complex() or outputs.ndim < 2 or outputs.shape[1] < 2:
        return False
    return targets.shape == outputs.shape[:1] + outputs.shape[2:]


@dataclass(frozen=True, eq=False)
class CriterionGradient:
    """Value and gradient of `C(θ) = mean_i c_i(θ)` at a model's head.

    Attributes:
        gradient: ∇C, shape (P,).
        values: c_i of every evaluation sample, shape (n,).
        criterion: its name.
    """

    gradient: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    criterion: str


def criterion_gradient(
    model: Forecaster, criterion: Criterion, features: FloatArray, load_pu: FloatArray, chunk: int = 256
) -> CriterionGradient:
    """Differentiate the mean criterion over evaluation samples with respect to the head.

    Args:
        model: fitted forecaster.
        criterion: what to judge by.
        features: raw features of the evaluation samples, shape (n, B, F).
        load_pu: their true loads, shape (n, B).
        chunk: samples that are differentiated at once; the result does not depend on it.

    Raises:
        InputError: no samples, a tuned model, or one without finite parameters.
    """
    model.require_untuned("influence")
    if not len(load_pu):
        raise InputError(f"{criterion.name} gradient: expected evaluation samples, got none.")
    theta = model.theta
    if not bool(theta.isfinite().all()):
        raise InputError("parameters: expected finite values, got NaN or infinity; was the model trained?")
    total = torch.zeros_like(theta)
    values = []
    starts = range(0, len(load_pu), chunk)
    for start in tqdm(starts, desc=f"{criterion.name} gradient", leave=False) if len(starts) > 3 else starts:
        rows = slice(start, start + chunk)
        with torch.no_grad():
            design = model.design(torch.from_numpy(features[rows]))
        head = theta.reshape(model.head.shape).requires_grad_(True)
        with torch.enable_grad(), counted_from(start):
            value = criterion(design @ head.T, torch.from_numpy(load_pu[rows]))
            require_per_sample(criterion, value, len(design))
            (slope,) = torch.autograd.grad(value.sum(), head)
        total += slope.reshape(-1)
        values.append(value.detach())
    return CriterionGradient(total / len(load_pu), torch.cat(values), criterion.name)


def influence_scores(
    objective: Objective,
    theta: Tensor,
    gradient: Tensor,
    weights: Tensor | None = None,
    options: IhvpOptions | None = None,
) -> Tensor:
    """Influence of removing each training sample on a criterion, `∇C' H⁻¹ ∇ℓ_i`.

    Args:
        objective: the training problem.
        theta: its minimiser, shape (P,).
        gradient: ∇C at θ, shape (P,).
        weights: samples that make up the Hessian (1 or 0), shape (n,); None means all of T.
        options: how to solve with the Hessian.

    Returns:
        Change of the criterion per removed sample, shape (n,); positive means helpful. Samples of
        weight 0 are scored too.

    Raises:
        ConvergenceError: an iterative solve did not converge, even if `options` only asks to report it.
    """
    counted = torch.ones(objective.n_samples, dtype=theta.dtype) if weights is None else weights
    solved = inverse_hvp(objective, theta, counted, gradient, options or IhvpOptions())
    if not solved.converged:
        raise ConvergenceError(
            f"influence: the Hessian system ended with status {solved.status!r}; scores would be wrong."
        )
    return objective.gradient_products(theta, solved.value)


#: Rows whose scores are written at once.
ROWS_A_FILE = 4096


#: What scores follow from: texts, and arrays whose dtype and shape count as well.
Identity = Iterable[np.ndarray | str]


class ScoreStore:
    """A folder with `identity.json`, `losses.safetensors`, `stest.safetensors` and `scores_<first row>.safetensors`.

    Files appear complete or not at all. The identity is a hash of everything that the scores follow from. Losses stand
    for what has no values of its own, the functions and the layers; they are compared up to rounding.
    """

    def __init__(
        self, folder: Path, identity: Identity, n_rows: int, losses: FloatArray, tolerance: float = 0.0
    ) -> None:
        """Open or make the folder.

        Args:
            folder: where files lie.
            identity: what scores follow from.
            n_rows: rows to score.
            losses: of all rows that take part, shape (N,).
            tolerance: relative difference of losses that is rounding.

        Raises:
            MismatchError: the folder holds the scores of another model, other rows or settings.
            InputError: the path is a file, cannot be written to, or holds broken files.
        """
        if folder.exists() and not folder.is_dir():
            raise InputError(f"checkpoint: expected a folder, got the file {folder}.")
        self._folder, self._n_rows = folder, n_rows
        found, card = _digest(identity), folder / "identity.json"
        if card.exists():
            kept = self._kept(folder / "losses.safetensors", lambda: torch.from_numpy(losses)).numpy()
            same = kept.shape == losses.shape and np.allclose(kept, losses, tolerance, tolerance, equal_nan=True)
            if self._identity(card) != found or not same:
                raise MismatchError(
                    f"checkpoint: {folder} holds scores of another model, other rows or other settings; name another "
                    "folder or remove this one."
                )
            return
        try:
            self._kept(folder / "losses.safetensors", lambda: torch.from_numpy(losses))
            write_json({"identity": found, "rows": n_rows}, card)
        except OSError as error:
            raise InputError(
                f"checkpoint: expected a folder that can be written to, got {folder} ({error})."
            ) from error

    @staticmethod
    def _identity(card: Path) -> str:
        try:
            return str(read_json(card)["identity"])
        except (InputError, KeyError) as error:
            raise DataError(f"checkpoint: {card} is broken; remove the folder {card.parent}.") from error

    def stest(self, compute: Callable[[], Tensor]) -> Tensor:
        """The vector that scores are products with, computed once."""
        return self._kept(self._folder / "stest.safetensors", compute)

    def scores(self, compute: Callable[[IntArray], Tensor]) -> Tensor:
        """Scores of all rows; `compute` gets positions and is called for those that are missing."""
        starts = range(0, self._n_rows, ROWS_A_FILE)
        pieces = []
        for start in tqdm(starts, desc="scores", leave=False, delay=PATIENCE):
            part = np.arange(start, min(start + ROWS_A_FILE, self._n_rows))
            path = self._folder / f"scores_{start:09d}.safetensors"
            pieces.append(self._kept(path, lambda part=part: compute(part)))  # type: ignore[misc]
        return torch.cat(pieces) if pieces else compute(np.zeros(0, dtype=np.int64))

    @staticmethod
    def _kept(path: Path, compute: Callable[[], Tensor]) -> Tensor:
        if path.exists():
            try:
                return read_safetensors(path, "Remove it to compute it again.")["values"]
            except (InputError, KeyError) as error:
                raise DataError(f"checkpoint: {path} is broken: {said(error)}.") from error
        values = compute().detach().cpu().contiguous()
        write_safetensors({"values": values}, path)
        return values


def _digest(identity: Identity) -> str:
    digest = hashlib.sha256()
    for part in identity:
        array = np.frombuffer(part.encode(), dtype=np.uint8) if isinstance(part, str) else np.ascontiguousarray(part)
        # Dtype and shape tell where a part ends.
        digest.update(f"{type(part).__name__} {array.dtype} {array.shape}:".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
