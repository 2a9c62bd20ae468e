"""A module's training problem as a sum with a weight per sample, differentiated by autograd; checks of what a caller
gives.

One of the two kinds of training problem, see `unlearn.influence`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from unlearn.checks import require_not_negative
from unlearn.errors import InputError
from unlearn.influence.flat import FlatModel, copied
from unlearn.influence.preconditioner import BlockCurvature, squared_error_curvature
from unlearn.linalg import GaussNewtonOperator, HessianOperator, Operator, Preconditioner

#: What an objective must be able to do.
METHODS = ("train_outputs", "train_loss_on_outputs", "train_regularization", "train_loss", "test_loss")


def require_module(model: Any) -> None:
    """Refuse what is no PyTorch module, or one whose parameters have no values yet."""
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InputError(
            f"model: expected a trained torch.nn.Module, got {what}. Estimators of other libraries have no "
            "parameters that PyTorch could differentiate; write a linear one as nn.Linear with its coefficients."
        )
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise InputError(f"model: expected parameters with values, got {lazy[0]} without a shape; run a batch first.")


def require_objective(objective: Any) -> None:
    """Refuse what does not know the losses of a model."""
    missing = [name for name in METHODS if not callable(getattr(objective, name, None))]
    if isinstance(objective, type) or missing:
        what = f"the class {objective.__name__}" if isinstance(objective, type) else type(objective).__name__
        without = f" without {', '.join(missing)}" if missing and not isinstance(objective, type) else ""
        raise InputError(
            f"objective: expected an object of a subclass of unlearn.influence.BaseObjective, got {what}{without}. For "
            "batches (x, y) and one loss, PairObjective(loss) is one."
        )


def require_device(device: Any) -> torch.device:
    """Return the device if tensors can be made there."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"device: expected one that this machine has, such as 'cpu' or 'cuda', got {device!r} ({told(error)})."
        ) from error
    return found


def told(error: Exception) -> str:
    """An error of other code in one line, without a full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def as_tensor(name: str, value: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Return numbers as a tensor: floating ones keep their dtype, others get the one named, if any."""
    try:
        tensor = torch.as_tensor(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: expected a tensor of numbers, got {type(value).__name__} ({told(error)})."
        ) from error
    return tensor if dtype is None or tensor.is_floating_point() else tensor.to(dtype)


#: What is rounding: relative difference of a sample's loss among others and alone, and share of the outputs' own scale.
TOLERANCE, ROUNDING = 1e-8, 1e-12
PerSampleLoss = Callable[[Tensor, Tensor], Tensor]


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error averaged over outputs, one value per sample, (n, B) -> (n,)."""
    return (outputs - targets).square().mean(dim=-1)


class ModuleObjective:
    """`L(θ) = Σ_i w_i ℓ(f_θ(x_i), y_i) + (l2/2)‖θ‖²` for a module f, θ all its trainable parameters.

    Works on a copy in float64; parameters travel as one flat vector, in the order of `named_parameters()`.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        loss: PerSampleLoss = mean_squared_error,
        l2: float = 0.0,
        chunk: int = 512,
    ) -> None:
        """Fix the module and the samples.

        Args:
            module: model; put it in evaluation mode if it has dropout or batch norm.
            inputs: shape (n, ...).
            targets: shape (n, B).
            loss: maps outputs and targets (n, B) to per-sample losses (n,).
            l2: regulariser of the sum, >= 0.
            chunk: samples whose gradients are in memory at once.

        Raises:
            InputError: no trainable parameter, a complex one, inputs and targets of different length, dropout or
                batch norm in training mode, or a module whose output is random.
        """
        require_module(module)
        inputs, targets = _tensor("inputs", inputs), _tensor("targets", targets)
        if len(inputs) != len(targets):
            raise InputError(f"inputs and targets: expected as many rows, got {len(inputs)} and {len(targets)}.")
        complex_ones = [n for n, p in module.named_parameters() if p.is_complex()]
        if complex_ones:
            raise InputError(f"module: expected real parameters, got complex ones: {', '.join(complex_ones)}.")
        unsettled = [n for n, m in module.named_modules() if m.training and isinstance(m, _DropoutNd | _BatchNorm)]
        if unsettled:
            raise InputError(f"module: {', '.join(unsettled)} in training mode; call module.eval() first.")
        self._flat = FlatModel(copied(module).double())
        self._inputs = inputs.double() if inputs.is_floating_point() else inputs
        self._targets = targets.double()
        self._loss = loss
        self._chunk = chunk
        self.l2 = require_not_negative("l2", l2)
        self.theta = self._flat.theta
        self.n_samples, self.n_parameters = len(inputs), self._flat.size
        with torch.no_grad():
            for start in range(0, self.n_samples, chunk):
                self._check(slice(start, start + chunk))

    def losses(self, theta: Tensor) -> Tensor:
        return self._loss(self._outputs(theta, self._inputs), self._targets)

    def gradient(self, theta: Tensor, weights: Tensor, regularised: bool = True) -> Tensor:
        point = theta.detach().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad((weights * self.losses(point)).sum(), point)
        return slope + (self.l2 * theta if regularised else 0.0)

    def per_sample_gradients(self, theta: Tensor, rows: slice = slice(None)) -> Tensor:
        """Gradients of every ℓ_i in `rows`, shape (n, P), by vmap over grad."""

        def one(point: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return self._loss(self._outputs(point, x[None]), y[None])[0]

        return vmap(grad(one), in_dims=(None, 0, 0))(theta, self._inputs[rows], self._targets[rows])

    def gradient_products(self, theta: Tensor, vector: Tensor) -> Tensor:
        starts = range(0, self.n_samples, self._chunk)
        pieces = [self.per_sample_gradients(theta, slice(s, s + self._chunk)) @ vector for s in starts]
        return torch.cat(pieces)

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Operator:
        return HessianOperator(lambda point: (weights * self.losses(point)).sum(), theta, damping + self.l2)

    def gauss_newton(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> GaussNewtonOperator:
        """Gauss-Newton approximation for the mean squared error, positive semi-definite everywhere."""
        curvature = 2.0 / self._targets.shape[1] * weights[:, None]
        return GaussNewtonOperator(
            lambda point: self._outputs(point, self._inputs), theta, curvature, damping + self.l2
        )

    def preconditioner(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Preconditioner:
        """Blocks of the linear layers, exact in the last one; see `unlearn.influence.preconditioner`.

        Raises:
            InputError: the loss is not `mean_squared_error`, or no trainable linear layer comes last.
        """
        if self._loss is not mean_squared_error:
            raise InputError(
                'block preconditioner: expected the loss mean_squared_error, got another; use preconditioner="none".'
            )
        blocks = BlockCurvature(self._flat, theta)
        blocks.add(
            lambda point: self._outputs(point, self._inputs),
            lambda outputs: squared_error_curvature(outputs, weights),
            weights,
        )
        return blocks.inverse(damping + self.l2)

    def _check(self, rows: slice) -> None:
        """Refuse outputs or losses of these samples that are random, or not each sample's own."""
        seen, wanted = self._inputs[rows], self._targets[rows]
        try:
            outputs, again = self._outputs(self.theta, seen), self._outputs(self.theta, seen)
        except Exception as error:
            raise InputError(
                f"module: expected one that takes inputs of shape {tuple(seen.shape)}, got {told(error)}."
            ) from error
        if not isinstance(outputs, Tensor):
            raise InputError(f"module: expected a tensor of outputs (n, B), got {type(outputs).__name__}.")
        if not torch.equal(outputs, again):
            raise InputError("module: two passes over the same samples differ; its output must not be random.")
        if outputs.shape != wanted.shape:
            # Broadcasting would pair every output with every target.
            raise InputError(
                f"targets: expected the shape of the outputs, (n, {', '.join(map(str, outputs.shape[1:]))}), "
                f"got {tuple(self._targets.shape)}."
            )
        losses = self._loss(outputs, wanted)
        if not isinstance(losses, Tensor) or losses.shape != (len(seen),):
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(f"loss: expected one value per sample, shape ({len(seen)},), got {got}.")
        own = self._own_losses(seen, wanted)
        # What rounding of the outputs can change, even where the losses themselves are as small.
        noise = ROUNDING * self._loss(2 * outputs, wanted).abs().nan_to_num(posinf=0.0).mean()
        bad = ((losses - own).abs() > TOLERANCE * own.abs() + noise).nonzero()
        if len(bad):
            i = int(bad[0])
            raise InputError(
                f"loss: expected the value of each sample to be its own, got {float(losses[i]):.6g} for sample "
                f"{rows.start + i} among {len(seen)} and {float(own[i]):.6g} for it alone. Divide by nothing that the "
                "samples share, and use no layer that mixes them, such as batch norm without running statistics."
            )

    def _own_losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        def one(x: Tensor, y: Tensor) -> Tensor:
            return self._loss(self._outputs(self.theta, x[None]), y[None])[0]

        try:
            return vmap(one)(inputs, targets)
        except (RuntimeError, NotImplementedError):
            return torch.stack([one(x, y) for x, y in zip(inputs, targets, strict=True)])

    def _outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        return self._flat.call(theta, nn.Module.__call__, inputs)


def _tensor(name: str, value: Any) -> Tensor:
    tensor = as_tensor(name, value)
    if tensor.ndim == 0 or not len(tensor):
        raise InputError(f"{name}: expected a row per sample, got shape {tuple(tensor.shape)}.")
    return tensor
