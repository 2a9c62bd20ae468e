"""Which models, losses and batches have Kronecker factors that curvlinops can compute: checked before any pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.errors import InputError
from unlearn.influence.mean_loss import PROBED
from unlearn.influence.risk import TrainingRisk

LAYERS = (nn.Linear, nn.Conv2d)
LOSSES = (nn.MSELoss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)
INSTEAD = "freeze it (requires_grad_(False)), or use CGInfluenceModule."


def require_layers(model: nn.Module) -> None:
    """Refuse a model with trainable parameters that no Kronecker factors belong to, by its layers alone.

    Raises:
        InputError: a trainable parameter outside of linear and convolutional layers, or in several.
    """
    every = list(model.named_parameters(remove_duplicate=False))
    owners = Counter(id(parameter) for _, parameter in every)
    for name, parameter in every:
        if not parameter.requires_grad:
            continue
        path, _, kind = name.rpartition(".")
        layer = model.get_submodule(path)
        if not isinstance(layer, LAYERS) or kind not in ("weight", "bias"):
            raise InputError(
                f"model: K-FAC knows nn.Linear and nn.Conv2d, not the parameter {name} of {type(layer).__name__}; "
                f"{INSTEAD}"
            )
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise InputError(
                f"model: K-FAC knows padding_mode='zeros', not {layer.padding_mode!r} of the layer {path}; {INSTEAD}"
            )
        if owners[id(parameter)] > 1:
            raise InputError(f"model: K-FAC needs a layer of its own for each parameter, {name} is shared; {INSTEAD}")


def require_factorable(risk: TrainingRisk, loss_function: nn.Module, corrected: bool) -> None:
    """Refuse a loss or a use of layers without Kronecker factors, before any pass over the rows.

    `require_layers` has let the model through; `corrected` is EK-FAC.

    Raises:
        InputError: a loss function that curvlinops does not know or that is not the objective's; a trainable
            parameter that is unused, or in a layer that is not called once; batches that are not (inputs, targets).
    """
    if not isinstance(loss_function, LOSSES):
        raise InputError(
            "loss_function: expected nn.MSELoss, nn.CrossEntropyLoss or nn.BCEWithLogitsLoss, got "
            f"{type(loss_function).__name__}; other losses: CGInfluenceModule(..., gnh=True)."
        )
    weighted = [name for name in ("weight", "pos_weight") if getattr(loss_function, name, None) is not None]
    if loss_function.reduction != "mean" or weighted:
        raise InputError(
            f"loss_function: expected reduction='mean' and no weights, got reduction={loss_function.reduction!r}"
            f"{' and ' + weighted[0] if weighted else ''}; other losses: CGInfluenceModule(..., gnh=True)."
        )
    _require_called_once(risk)
    _require_same_loss(risk, loss_function, corrected)


def first_batch(risk: TrainingRisk) -> Any:
    """The first rows as a batch."""
    return risk.samples.take(np.arange(min(PROBED, risk.samples.size)))


def targets_of(batch: Any) -> Tensor:
    """Targets of a batch (inputs, targets).

    Raises:
        InputError: another kind of batch.
    """
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Tensor)):
        got = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | dict) else "a single tensor"
        raise InputError(
            f"batch: K-FAC expects (inputs, targets), got {got}; change collate_fn, or use CGInfluenceModule."
        )
    targets: Tensor = batch[1]
    return targets


def _require_called_once(risk: TrainingRisk) -> None:
    model = risk.flat.model
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    paths = {name.rpartition(".")[0] for name in parameters}
    calls: Counter[str] = Counter()
    hooks = [
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: calls.update([path])) for path in paths
    ]
    try:
        with torch.enable_grad():
            outputs = risk.objective.train_outputs(model, first_batch(risk))
    finally:
        for hook in hooks:
            hook.remove()
    slopes: tuple[Tensor | None, ...] = (None,) * len(parameters)
    if outputs.requires_grad:
        slopes = torch.autograd.grad(outputs.sum(), list(parameters.values()), allow_unused=True)
    unused = [name for name, slope in zip(parameters, slopes, strict=True) if slope is None]
    if unused:
        raise InputError(f"model: K-FAC needs parameters that the outputs depend on, {unused[0]} is unused; {INSTEAD}")
    odd = sorted(path for path in paths if calls[path] != 1)
    if odd:
        raise InputError(
            f"model: K-FAC needs layers that a forward pass calls once, {odd[0] or 'the model'} is called "
            f"{calls[odd[0]]} times; {INSTEAD}"
        )
    uses = _uses(outputs)
    for name, parameter in parameters.items():
        count = uses[id(parameter)]
        if count != 1:
            raise InputError(
                f"model: K-FAC needs parameters that only their layer uses, {name} is used {count} times; {INSTEAD}"
            )


def _uses(outputs: Tensor) -> Counter[int]:
    """How often the graph of the outputs reads each parameter, by its id."""
    seen, ahead = {outputs.grad_fn}, [outputs.grad_fn]
    uses: Counter[int] = Counter()
    while ahead:
        node = ahead.pop()
        for function, _ in node.next_functions if node is not None else ():
            parameter = getattr(function, "variable", None)
            if parameter is not None:
                uses.update([id(parameter)])
            elif function not in seen:
                seen.add(function)
                ahead.append(function)
    return uses


def _require_same_loss(risk: TrainingRisk, loss_function: nn.Module, corrected: bool) -> None:
    batch = first_batch(risk)
    with torch.no_grad():
        outputs, targets = risk.outputs(risk.flat.theta, batch), targets_of(batch)
    if outputs.ndim < 2 or (corrected and outputs.ndim > 2):
        raise InputError(
            f"outputs: expected shape (n, B){'' if corrected else ' or more axes'}, got {tuple(outputs.shape)}; have "
            "the objective return them so."
        )
    shapes = [outputs.shape]
    if isinstance(loss_function, nn.CrossEntropyLoss):
        shapes.append(outputs.shape[:1] + outputs.shape[2:])
    if targets.shape not in shapes:
        raise InputError(
            f"targets: expected shape {' or '.join(str(tuple(shape)) for shape in shapes)} for outputs of shape "
            f"{tuple(outputs.shape)}, got {tuple(targets.shape)}."
        )
    away = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype, device=outputs.device).reshape(outputs.shape)
    # Losses that are equal here need not be curved alike: a Huber loss and the squared error of small errors.
    for point in (outputs, outputs + (1 + outputs.abs().max()) * away):
        own, other = float(risk.objective.train_loss_on_outputs(point, batch)), float(loss_function(point, targets))
        if abs(own - other) > torch.finfo(outputs.dtype).eps ** 0.5 * max(abs(own), abs(other)):
            raise InputError(
                f"loss_function: on the first {len(outputs)} rows {type(loss_function).__name__} gives {other:.6g}, "
                f"the objective's train_loss_on_outputs {own:.6g}; expected the same values, because curvlinops takes "
                "the curvature from the former. Change one of them (scale included), or use CGInfluenceModule."
            )
