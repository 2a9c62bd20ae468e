"""Rows that follow from an update by algebra, without a search.

A linear layer's gradients are sums over rows, Σ δ_i x_iᵀ of the weights and Σ δ_i of the bias. Of one row their ratio
is its input. A neuron that a single row activates gives that row away within any batch. The last layer's gradients are
linear in the residuals, and give the targets once the windows are known (Geiping et al. 2020, "Inverting gradients";
Fowl et al. 2022, "Robbing the fed"; Boenisch et al. 2023, "When the curious abandon honesty").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from unlearn.attacks.member_update import MemberUpdate, squared_error
from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape

#: A neuron whose bias has a gradient below this share of the largest one was activated by no row.
_ACTIVE = 1e-9
#: Relative distance below which two neurons show the same input, beyond what rounding does.
_SAME = 1e-7


@dataclass(frozen=True, eq=False)
class _Linear:
    """A linear layer as it took part in a forecast."""

    name: str
    given: Tensor
    made: Tensor


def ratio_windows(update: MemberUpdate, flat: Tensor) -> FloatArray:
    """Windows that the first layer's gradients show exactly, shape (k, *window) with k from 0 to the number of rows.

    That takes a first layer that sees each number of the window, in whatever order, and has a bias. All k are rows of
    the update, of one row alone or of targets with at least two hours. Local steps and clipping do not matter, for they
    leave the ratio of what a row adds to weights and bias as it is; noise does.

    Args:
        update: what the attacker knows of how updates are made.
        flat: the seen update, shape (P,).
    """
    shapes, empty = update.shapes, np.empty((0, *update.shapes.window))
    if update.rule.noise:
        return empty
    gradient = update.split(flat)
    probe = torch.from_numpy(np.random.default_rng(0).standard_normal((update.n_rows, *shapes.window)))
    for layer in _linear_layers(update, probe):
        places = _places(layer.given, probe.reshape(len(probe), -1))
        weight, bias = gradient.get(f"{layer.name}.weight"), gradient.get(f"{layer.name}.bias")
        if places is None or weight is None or bias is None:
            continue
        found = _inputs(weight.numpy()[:, places], bias.numpy(), update.n_rows, shapes.n_target)
        return found[: update.n_rows].reshape(-1, *shapes.window)
    return empty


def _inputs(weight: FloatArray, bias: FloatArray, n_rows: int, n_target: int) -> FloatArray:
    active = np.abs(bias) > _ACTIVE * np.abs(bias).max(initial=0.0)
    if not active.any():
        return np.empty((0, weight.shape[1]))
    if n_rows == 1:
        # Least squares over all neurons, which rounding hurts least.
        return np.asarray(bias @ weight / (bias @ bias))[None]
    if n_target == 1:
        # All neurons that the same rows activate show the same mixture of these.
        return np.empty((0, weight.shape[1]))
    ratio = weight[active] / bias[active, None]
    gap = np.abs(ratio[:, None] - ratio[None]).max(axis=2)
    same = gap <= _SAME * np.abs(ratio).max(axis=1)[:, None]
    # Mixtures of several rows differ from neuron to neuron: what two neurons show is a row.
    first = (same.sum(axis=1) > 1) & (same.argmax(axis=1) == np.arange(len(ratio)))
    return np.asarray(ratio[first])


def residual_sum(update: MemberUpdate, flat: Tensor) -> FloatArray | None:
    """Sum over rows of forecast minus target, shape (n_target,), from the gradient of the last bias.

    Returns:
        The sum; None where the update shows none: another loss than the mean squared error, a last layer without bias
        that is no linear one, noise, clipping, or several local steps.
    """
    read = _last_layer(update, flat)
    return None if read is None else read[1].numpy()


def recover_targets(update: MemberUpdate, flat: Tensor, windows: ArrayLike) -> FloatArray | None:
    """Targets of known windows, from the last layer's gradients, shape (n, *target).

    They are exact where the last layer's inputs are independent, so for at most one row more than it has inputs. Beyond
    that, residuals are the smallest that fit; the sum over rows is exact all the same.

    Args:
        update: what the attacker knows of how updates are made.
        flat: the seen update, shape (P,).
        windows: of all rows, shape (n, *window).

    Returns:
        The targets; None where `residual_sum` is None.

    Raises:
        InputError: windows of another shape, or NaN.
    """
    inputs = as_floats("windows", windows)
    require_shape("windows", inputs, (update.n_rows, *update.shapes.window))
    require_finite("windows", inputs)
    given = torch.from_numpy(inputs.copy())
    read = _last_layer(update, flat, given)
    if read is None:
        return None
    layer, total, of_weight = read
    hidden = torch.cat([layer.given, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    seen = torch.cat([of_weight, total[:, None]], dim=1)
    residuals = torch.linalg.lstsq(hidden.T, seen.T, driver="gelsd").solution
    return (layer.made - residuals).reshape(-1, *update.shapes.target).numpy()


def gradient_of(update: MemberUpdate, flat: Tensor) -> dict[str, Tensor] | None:
    """The mean gradient over all rows by parameter; None where the update is not one, or is hidden by noise."""
    rule = update.rule
    if not rule.one_gradient or rule.noise:
        return None
    # Clipping scales an update of one member; of several, each by its own factor, and their sum is no gradient.
    if rule.clip is not None and rule.members > 1:
        return None
    return update.split(flat if rule.learning_rate is None else flat / -rule.learning_rate)


def _last_layer(
    update: MemberUpdate, flat: Tensor, windows: Tensor | None = None
) -> tuple[_Linear, Tensor, Tensor] | None:
    """The layer that forecasts, Σ r_i and Σ r_i h_iᵀ over rows with residuals r and inputs h of that layer."""
    gradient, rule = gradient_of(update, flat), update.rule
    clipped = rule.clip is not None and float(flat.norm()) > rule.clip * (1 - 1e-9)
    if gradient is None or clipped or update.loss is not squared_error:
        return None
    if windows is None:
        windows = torch.from_numpy(np.random.default_rng(0).standard_normal((update.n_rows, *update.shapes.window)))
    made = update.predict(update.weights, windows, update.known).reshape(update.n_rows, -1)
    scale = update.n_rows * update.shapes.n_target / 2
    for layer in reversed(_linear_layers(update, windows)):
        weight, bias = gradient.get(f"{layer.name}.weight"), gradient.get(f"{layer.name}.bias")
        if weight is None or bias is None or layer.made.shape != made.shape or not torch.equal(layer.made, made):
            continue
        return layer, bias * scale, weight * scale
    return None


def _linear_layers(update: MemberUpdate, windows: Tensor) -> list[_Linear]:
    """Linear layers that saw one vector of each row, in the order in which they did."""
    seen: list[_Linear] = []

    def keep(name: str) -> object:
        def hook(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            if given and given[0].ndim == 2 and len(given[0]) == len(windows):
                seen.append(_Linear(name, given[0].detach(), made.detach()))

        return hook

    handles = [
        module.register_forward_hook(keep(name))  # type: ignore[arg-type]
        for name, module in update.model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            update.predict(update.weights, windows, update.known)
    finally:
        for handle in handles:
            handle.remove()
    # A layer that is used twice, as in a recurrent network, has one gradient for both uses.
    names = [layer.name for layer in seen]
    return [layer for layer in seen if names.count(layer.name) == 1]


def _places(given: Tensor, windows: Tensor) -> IntArray | None:
    """Column of a layer's input that each number of a window is in, shape (n_window,); None if one is in none."""
    row, wanted = given[0].numpy(), windows[0].numpy()
    order = np.argsort(row)
    at = order[np.searchsorted(row, wanted, sorter=order).clip(max=len(row) - 1)]
    return at if np.array_equal(given.numpy()[:, at], windows.numpy()) else None
