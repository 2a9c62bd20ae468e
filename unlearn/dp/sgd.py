"""DP-SGD (Abadi et al. 2016) with the household as the unit: one clipped gradient of each household in a step.

Gradients and their noise are floats, which the promise is not proven for; `unlearn.dp.noise` says what is done about
it. Training never goes on from a step that was kept: coins and noise of a run are drawn once, and die with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.checks import require_count
from unlearn.dp.accounting import GaussianSteps, require_opacus
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.dp.options import SgdOptions
from unlearn.errors import ConvergenceError, InputError, MismatchError

#: Losses of a batch of households and the household of each: `batch(units, generator) -> (losses, position)`.
#:
#: `units` (k,) are the households that take part, `generator` is for whatever the batch draws. `losses` (r,) go with
#: the first axis of the network's activations, and each depends on its own row of them alone; `position` (r,) says
#: which of the k households a loss belongs to. A network that sees (households, days, steps) has r = k.
Batch = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class PrivateRun:
    """What private training did.

    Attributes:
        spent: the steps that were run, for the accountant.
        losses: mean loss of the households of each step, NaN where none took part. Not private: for one's own eyes
            while tuning on data that are no secret, never for a release.
    """

    spent: GaussianSteps
    losses: list[float]

    def __repr__(self) -> str:
        return f"PrivateRun({self.spent!r}, {len(self.losses)} losses)"


def train_privately(
    module: nn.Module,
    batch: Batch,
    n_units: int,
    optimiser: torch.optim.Optimizer,
    options: SgdOptions,
    noise: Noise | NoiseSource = "os",
    after_step: Callable[[], Any] | None = None,
) -> PrivateRun:
    """Train a network in place so that no household moves it by more than its clipped gradients.

    A household's loss is the mean of its rows' losses. In each step households are drawn independently with
    probability q; their gradients are clipped, summed, noised with standard deviation `noise_multiplier · clip`, and
    divided by the expected number of households q·N. A step without households still adds its noise.

    Args:
        module: the network; parameters that require a gradient are trained. Buffers are not protected.
        batch: gives losses of some households, see `Batch`.
        n_units: N, the number of households; it counts as public.
        optimiser: over all parameters that require a gradient.
        options: settings.
        noise: where sampling coins, noise and what `batch` draws come from: "os", or a source that `noise_source` gave
            for the data that `batch` holds.
        after_step: called after each step, such as a schedule of the learning rate; must not see the data.

    Returns:
        What was run.

    Raises:
        InputError: opacus is absent, or the network holds a layer whose gradients mix households, or parameters that
            the optimiser does not have; or a seed for data of unknown origin.
        MismatchError: losses that do not fit the network's first axis.
        ConvergenceError: a loss or a gradient became NaN or infinite. Nothing covers that it was raised.
    """
    require_count("n_units", n_units)
    _require_supported(module, optimiser)
    from opacus.optimizers import DPOptimizer

    source = noise_source(noise)
    drawing = torch.Generator().manual_seed(source.seed())  # a gradient is clipped whatever it is of
    expected = options.sampling_rate * n_units
    private = DPOptimizer(optimiser, noise_multiplier=0.0, max_grad_norm=options.clip, expected_batch_size=expected)
    sd = options.noise_multiplier * options.clip / expected

    def add_noise(_: torch.optim.Optimizer) -> None:
        trained = _trained(module)
        drawn = torch.from_numpy(sd * source.normals(sum(map(torch.numel, trained))))
        for parameter, own in zip(trained, drawn.split([parameter.numel() for parameter in trained]), strict=True):
            assert parameter.grad is not None  # opacus has just written it
            # Rounded to the parameter's own precision only with the noise in it.
            parameter.grad = (parameter.grad.double() + own.view_as(parameter)).to(parameter.dtype)

    private.attach_step_hook(add_noise)
    losses: list[float] = []
    with _sampled_gradients(module):
        for _ in tqdm(range(options.steps), desc="DP-SGD", unit="step", leave=False):
            units = torch.from_numpy(source.coins(n_units, options.sampling_rate)).nonzero().flatten()
            private.zero_grad()
            losses.append(_unit_gradients(module, batch, units, drawing))
            private.step()
            if after_step is not None:
                after_step()
    return PrivateRun(GaussianSteps(options.noise_multiplier, options.sampling_rate, options.steps), losses)


def _unit_gradients(module: nn.Module, batch: Batch, units: Tensor, generator: torch.Generator) -> float:
    """Leave one gradient per household in `grad_sample` of each parameter, shape (k, ...); return the mean loss."""
    k, loss = len(units), float("nan")
    position = units.new_zeros(0)
    if k:
        losses, position = batch(units, generator)
        _require_positions(losses, position, k)
        # Each household counts once, however many rows it has.
        weight = 1 / torch.bincount(position, minlength=k).to(losses.dtype)[position]
        total = (losses * weight).sum()
        loss = float(total.detach()) / k
        if not torch.isfinite(total):
            raise ConvergenceError(f"private training: the loss became {loss}. Lower the learning rate.")
        with warnings.catch_warnings():
            # Opacus listens to outputs, too, and inputs are data, which need no gradient.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            total.backward()
    for parameter in _trained(module):
        by_row = getattr(parameter, "grad_sample", None)
        of_units = parameter.new_zeros((k, *parameter.shape))
        if by_row is not None:
            if len(by_row) != len(position):
                raise MismatchError(
                    f"batch: expected a loss for each of the {len(by_row)} rows of the network's first axis, got "
                    f"{len(position)}."
                )
            of_units.index_add_(0, position, by_row)
        if not torch.isfinite(of_units).all():
            # Clipping cannot shorten it: one household would decide on all parameters.
            raise ConvergenceError("private training: a gradient became NaN or infinite. Lower the learning rate.")
        parameter.grad_sample = of_units  # type: ignore[attr-defined]
    return loss


def _require_positions(losses: Tensor, position: Tensor, k: int) -> None:
    if losses.ndim != 1 or position.shape != losses.shape:
        raise MismatchError(
            f"batch: expected losses (r,) and the household of each (r,), got {tuple(losses.shape)} and "
            f"{tuple(position.shape)}."
        )
    if len(position) and (int(position.min()) < 0 or int(position.max()) >= k):
        raise MismatchError(
            f"batch: expected households from 0 to {k - 1}, counted among those of the step, got "
            f"{int(position.min())} to {int(position.max())}."
        )


def _require_supported(module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    require_opacus()
    from opacus.validators import ModuleValidator

    module.train()
    errors = ModuleValidator.validate(module, strict=False)
    if errors:
        raise InputError(f"private training: {errors[0]}. Replace the layer; GroupNorm stands in for BatchNorm.")
    own = {id(parameter) for parameter in _trained(module)}
    given = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    if not own or own != given:
        raise InputError(
            f"optimiser: expected the {len(own)} parameters of the network that require a gradient, got {len(given)} "
            "of which some are others or missing."
        )


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@contextmanager
def _sampled_gradients(module: nn.Module) -> Iterator[None]:
    """Let opacus keep each row's gradient in `grad_sample`; afterwards the network is as plain as before."""
    from opacus.grad_sample import GradSampleModule

    # Hooks sit on the layers, so that the network's own methods can be called. Of a sum, rows keep their own scale.
    hooked = GradSampleModule(module, batch_first=True, loss_reduction="sum")
    try:
        yield
    finally:
        hooked.to_standard_module()
        for parameter in module.parameters():
            parameter.grad = None
            if hasattr(parameter, "summed_grad"):  # the optimiser's, which the hooks do not know
                del parameter.summed_grad
