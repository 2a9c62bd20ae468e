"""What a member of a federation sends of its windows of load, as a function of them that can be differentiated.

An update is the gradient of the loss over a batch, or what local steps of gradient descent did to the weights. All of
this is public: the model, its weights, the rule and how many rows there are. The windows alone are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_not_negative, require_positive
from unlearn.errors import InputError

#: Of predictions and targets of a batch.
Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over a batch and its hours."""
    return ((predicted - target) ** 2).mean()


@dataclass(frozen=True)
class WindowShapes:
    """How many rows an update was made of, and their shapes.

    Attributes:
        rows: windows of each member, n.
        window: of an input, such as (24, 7) for the hours of 7 days; the last axis is that of days.
        target: of what is forecast, such as (24,).
    """

    rows: int
    window: tuple[int, ...]
    target: tuple[int, ...]

    def __post_init__(self) -> None:
        require_count("shapes.rows", self.rows)
        for name in ("window", "target"):
            sides = getattr(self, name)
            if not isinstance(sides, Sequence) or not sides:
                raise InputError(f"shapes.{name}: expected whole numbers such as (24, 7), got {sides!r}.")
            object.__setattr__(self, name, tuple(require_count(f"shapes.{name}", side) for side in sides))

    @property
    def n_window(self) -> int:
        """Numbers in a window."""
        return prod(self.window)

    @property
    def n_target(self) -> int:
        """Numbers in a target."""
        return prod(self.target)


@dataclass(frozen=True)
class UpdateRule:
    """How members turn their rows into what the attacker sees, which is the mean over the members.

    Secure summation shows a sum over members; divided by their number it is that mean.

    Attributes:
        members: whose updates were averaged, m.
        learning_rate: of local gradient descent, after which the change of the weights is sent; None sends the gradient
            at the weights that all know.
        epochs: passes over the rows in local descent.
        batch_size: rows of a local step, taken in their order in every epoch; None takes all rows in each step.
        clip: norm that a member's update is scaled down to; None leaves it.
        noise_multiplier: standard deviation of Gaussian noise on the sum over members, in units of `clip`.
    """

    members: int = 1
    learning_rate: float | None = None
    epochs: int = 1
    batch_size: int | None = None
    clip: float | None = None
    noise_multiplier: float = 0.0

    def __post_init__(self) -> None:
        require_count("rule.members", self.members)
        require_count("rule.epochs", self.epochs)
        require_not_negative("rule.noise_multiplier", self.noise_multiplier)
        for name in ("learning_rate", "clip"):
            if getattr(self, name) is not None:
                require_positive(f"rule.{name}", getattr(self, name))
        if self.batch_size is not None:
            require_count("rule.batch_size", self.batch_size)
        if self.learning_rate is None and (self.epochs > 1 or self.batch_size is not None):
            raise InputError("rule: expected a learning_rate for local steps (epochs, batch_size), got None.")
        if self.noise_multiplier and self.clip is None:
            raise InputError("rule.clip: expected the norm that noise_multiplier is counted in, got None.")

    @property
    def noise(self) -> float:
        """Standard deviation of the noise on each number of the mean over members."""
        return self.noise_multiplier * (self.clip or 0.0) / self.members

    @property
    def one_gradient(self) -> bool:
        """Whether the update is a gradient at the known weights, up to a factor that is known without clipping."""
        return self.learning_rate is None or (self.epochs == 1 and self.batch_size is None)


class MemberUpdate:
    """The flat update of rows, with float64 copies of the model's weights.

    Models must be ones that `torch.func.vmap` takes: layers without state that changes, such as batch norm in training.

    Args:
        model: maps windows, shape (n, *window), or windows and known features, to targets, shape (n, *target).
        loss: of a batch; the mean over its rows.
        shapes: of the rows of one member.
        rule: how updates are made.
        known: public features of all rows, such as calendar and weather, shape (m n, F); None where there are none.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, shapes: WindowShapes, rule: UpdateRule, known: ArrayLike | None = None
    ) -> None:
        self.model, self.loss, self.shapes, self.rule = model, loss, shapes, rule
        self.weights = {name: p.detach().to(torch.float64) for name, p in model.named_parameters() if p.requires_grad}
        fixed = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.fixed = {
            name: value.detach().to(torch.float64) if value.is_floating_point() else value
            for name, value in fixed.items()
            if name not in self.weights
        }
        self.n_rows = shapes.rows * rule.members
        self.known: Tensor | None = None
        if known is not None:
            features = as_floats("known", known, ndim=2)
            if len(features) != self.n_rows:
                raise InputError(f"known: expected features of {self.n_rows} rows, got {len(features)}.")
            require_finite("known", features)
            self.known = torch.from_numpy(features.copy())

    def predict(self, weights: dict[str, Tensor], windows: Tensor, known: Tensor | None) -> Tensor:
        """Forecasts of windows, shape (n, *target)."""
        given = (windows,) if known is None else (windows, known)
        found: Tensor = functional_call(self.model, {**weights, **self.fixed}, given)
        return found

    def __call__(self, windows: Tensor, targets: Tensor) -> Tensor:
        """The mean update over members without noise, shape (P,), of rows (m n, *window) and (m n, *target)."""
        m, n = self.rule.members, self.shapes.rows
        split = [part.reshape(m, n, *part.shape[1:]) for part in (windows, targets)]
        if self.known is not None:
            split.append(self.known.reshape(m, n, -1))
        made: Tensor = vmap(self._of_one)(*split)
        return made.mean(dim=0)

    def _of_one(self, windows: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        def batch_loss(weights: dict[str, Tensor], rows: slice) -> Tensor:
            some = None if known is None else known[rows]
            return self.loss(self.predict(weights, windows[rows], some), targets[rows])

        gradient = grad(batch_loss)
        rate = self.rule.learning_rate
        if rate is None:
            flat = _flat(gradient(self.weights, slice(None)))
        else:
            weights, size = self.weights, self.rule.batch_size or len(windows)
            for _ in range(self.rule.epochs):
                for start in range(0, len(windows), size):
                    step = gradient(weights, slice(start, start + size))
                    weights = {name: value - rate * step[name] for name, value in weights.items()}
            flat = _flat(weights) - _flat(self.weights)
        if self.rule.clip is not None:
            flat = flat * (self.rule.clip / flat.norm()).clamp(max=1.0)
        return flat

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """The parts of a flat update by name of parameter."""
        sizes = [value.numel() for value in self.weights.values()]
        parts = flat.split(sizes)
        return {
            name: part.reshape(value.shape) for (name, value), part in zip(self.weights.items(), parts, strict=True)
        }

    def checked(self, update: Sequence[ArrayLike]) -> Tensor:
        """A seen update as one flat vector, after a look at its shapes and values."""
        if len(update) != len(self.weights):
            raise InputError(
                f"update: expected {len(self.weights)} arrays, one for each trained parameter, got {len(update)}."
            )
        flat = []
        for (name, value), part in zip(self.weights.items(), update, strict=True):
            array = as_floats(f"update of {name}", _as_array(part))
            if array.shape != tuple(value.shape):
                raise InputError(f"update of {name}: expected shape {tuple(value.shape)}, got {array.shape}.")
            require_finite(f"update of {name}", array)
            flat.append(array.ravel())
        return torch.from_numpy(np.concatenate(flat))


def make_update(
    model: nn.Module,
    windows: ArrayLike,
    targets: ArrayLike,
    rule: UpdateRule | None = None,
    known: ArrayLike | None = None,
    loss: Loss = squared_error,
    seed: int = 0,
) -> list[FloatArray]:
    """What the coordinator sees of rows, to try attacks on: one array for each trained parameter of the model.

    Noise is drawn from the seed, which serves an experiment and protects nobody.

    Args:
        model: the forecaster at the weights that all know.
        windows: of all members in turn, shape (m n, *window).
        targets: of these, shape (m n, *target).
        rule: how updates are made; one gradient of one member without it.
        known: public features of the rows, shape (m n, F).
        loss: of a batch.
        seed: of the noise.

    Raises:
        InputError: rows that do not fit each other or the number of members, or NaN.
    """
    rule = rule or UpdateRule()
    inputs, outputs = as_floats("windows", windows), as_floats("targets", targets)
    if min(inputs.ndim, outputs.ndim) < 2 or len(inputs) != len(outputs) or len(inputs) % rule.members:
        raise InputError(
            f"windows, targets: expected as many rows of each, for {rule.members} members in equal number, got shapes "
            f"{inputs.shape} and {outputs.shape}."
        )
    require_finite("windows", inputs)
    require_finite("targets", outputs)
    shapes = WindowShapes(max(1, len(inputs) // rule.members), inputs.shape[1:], outputs.shape[1:])
    update = MemberUpdate(model, loss, shapes, rule, known)
    with torch.no_grad():
        seen = update(torch.from_numpy(inputs.copy()), torch.from_numpy(outputs.copy()))
    noise = np.random.default_rng(seed).normal(scale=rule.noise, size=seen.shape) if rule.noise else 0.0
    return [part.numpy() for part in update.split(seen + torch.as_tensor(noise)).values()]


def _flat(parts: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts.values()])


def _as_array(part: ArrayLike) -> ArrayLike:
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else part
