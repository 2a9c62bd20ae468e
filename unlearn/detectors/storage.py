"""Detectors on disk, and the state of a training: arrays as safetensors, everything else as a JSON card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from unlearn.detectors.base import DETECTORS, Detector, FittedDetector
from unlearn.errors import InputError
from unlearn.limits import build_to_fit
from unlearn.records import CARD, config_hash, read_card, read_safetensors, write_card, write_safetensors
from unlearn.store import replace_folder, verify

_SUFFIX, _MEND = ".safetensors", "Fit and save the detector again."

Network = TypeVar("Network", bound=nn.Module)


def save_detector(detector: FittedDetector, folder: str | Path) -> Path:
    """Write what a detector keeps and `card.json` into a folder, all or nothing; an earlier detector is replaced.

    A GAN has `generator.safetensors`, `discriminator.safetensors` and, where one was trained, `encoder.safetensors`.

    Raises:
        InputError: the folder holds anything else.
    """
    card, files = detector.state()
    note = {} if files else {"note": "Not kept: it would be a pickle. The same windows and seed fit it again."}

    def fill(temporary: Path) -> None:
        for name, arrays in files.items():
            tensors = {key: torch.as_tensor(value) for key, value in arrays.items()}
            write_safetensors(tensors, temporary / f"{name}{_SUFFIX}", confidential=True)
        own = {"kind": detector.name, **card, **note}
        write_card(own, temporary, [f"{name}{_SUFFIX}" for name in files], confidential=True)

    return replace_folder(folder, fill, _require_free, confidential=True)


def load_detector(folder: str | Path) -> FittedDetector:
    """Read what `save_detector` wrote of a neural detector.

    Raises:
        InputError: a missing or broken file; names it.
    """
    folder = Path(folder)
    card = read_card(folder, _MEND)
    kind = str(card.get("kind"))
    if kind not in DETECTORS:
        return Detector.load(folder, card)
    return DETECTORS[kind].load(folder, card)


def load_network(
    folder: Path, card: Mapping[str, Any], name: str, build: Callable[[Mapping[str, Any]], Network]
) -> Network:
    """Build a network as the card says and give it the weights of its file."""
    file = folder / f"{name}{_SUFFIX}"
    weights = read_safetensors(file, _MEND)
    network = from_card(folder, card, lambda own: build_to_fit(file, lambda: build(own), weights))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file}: does not fit its card: {error}") from error
    network.eval().requires_grad_(False)
    return network


Built = TypeVar("Built")


def from_card(folder: Path, card: Mapping[str, Any], build: Callable[[Mapping[str, Any]], Built]) -> Built:
    """Build something as a card says.

    Raises:
        InputError: a card that lacks something, or has something else.
    """
    try:
        return build(card)
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / CARD}: not a card of this version ({error!r}).") from error


def _require_free(folder: Path) -> None:
    if not folder.exists():
        return
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else ["a file of this name"]
    others = [name for name in names if name != CARD and not name.endswith(_SUFFIX)]
    if names and (others or CARD not in names):
        raise InputError(
            f"{folder}: expected no folder, an empty one or one with an earlier detector, got {', '.join(names[:3])}. "
            "Choose another."
        )


#: The state of a training after an epoch, in one file that is replaced whole: weights, Adam's moments, history.
CHECKPOINT = "checkpoint.safetensors"

History = list[dict[str, float]]


def save_checkpoint(
    folder: Path,
    parts: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    dependencies: Mapping[str, Any],
    history: History,
) -> None:
    """Replace the state in a folder. `dependencies` identify the training: what it can go on with."""
    tensors: dict[str, Tensor] = {}
    for name, network in parts.items():
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in network.state_dict().items()}
        for position, moments in optimisers[name].state_dict()["state"].items():
            tensors |= {f"adam.{name}.{position}.{key}": value.contiguous() for key, value in moments.items()}
    metadata = {"dependencies": config_hash(dependencies), "history": json.dumps(history)}
    write_safetensors(tensors, folder / CHECKPOINT, metadata, confidential=True)


def load_checkpoint(
    folder: Path,
    parts: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    dependencies: Mapping[str, Any],
) -> History:
    """Put the state in a folder into networks and optimisers and return its history; empty where there is none.

    Raises:
        DataError: a damaged file; names it and says what to do.
        InputError: the state of another training.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return []
    verify(path, mend="Delete it to begin anew.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: expected the state of a training, got {error}. Delete it to begin anew.") from error
    if metadata.get("dependencies") != config_hash(dependencies):
        raise InputError(
            f"{path}: expected the state of this training, got that of one with other settings, another seed or other "
            "windows. Choose another folder, or delete the file to begin anew."
        )
    for name, network in parts.items():
        network.load_state_dict(_below(tensors, f"{name}."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"adam.{name}.").items():
            position, moment = key.split(".")
            state.setdefault(int(position), {})[moment] = value
        optimisers[name].load_state_dict(
            {"state": state, "param_groups": optimisers[name].state_dict()["param_groups"]}
        )
    return list(json.loads(metadata["history"]))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
