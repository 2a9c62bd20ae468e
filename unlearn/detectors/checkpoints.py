"""The state of a training after an epoch, in one file that is replaced whole: weights, Adam's moments, history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from unlearn.errors import InputError
from unlearn.records import config_hash, write_safetensors
from unlearn.store import verify

CHECKPOINT = "checkpoint.safetensors"

History = list[dict[str, float]]


def save_checkpoint(
    folder: Path,
    parts: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    made_of: Mapping[str, Any],
    history: History,
) -> None:
    """Replace the state in a folder. `made_of` identifies the training: what it can go on with."""
    tensors: dict[str, Tensor] = {}
    for name, network in parts.items():
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in network.state_dict().items()}
        for position, moments in optimisers[name].state_dict()["state"].items():
            tensors |= {f"adam.{name}.{position}.{key}": value.contiguous() for key, value in moments.items()}
    metadata = {"made_of": config_hash(made_of), "history": json.dumps(history)}
    write_safetensors(tensors, folder / CHECKPOINT, metadata, confidential=True)


def load_checkpoint(
    folder: Path,
    parts: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    made_of: Mapping[str, Any],
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
    if metadata.get("made_of") != config_hash(made_of):
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
