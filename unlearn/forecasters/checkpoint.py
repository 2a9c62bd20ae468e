"""Models on disk: weights and sufficient statistics as safetensors, everything else as a JSON card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from unlearn.data import StandardScaler
from unlearn.errors import InputError
from unlearn.forecasters.base import Forecaster
from unlearn.forecasters.card import ModelCard
from unlearn.forecasters.head import PREFIX, HeadStatistics
from unlearn.forecasters.specs import FORECASTERS, ForecasterSpec
from unlearn.limits import build_to_fit
from unlearn.records import CARD, read_card, read_safetensors, write_card, write_safetensors

WEIGHTS = "model.safetensors"

_OF_ROWS = ("weights", "forgotten", "parts", "tuned")
_MEND = "Fit and save the model again."


def save_forecaster(model: Forecaster, folder: str | Path) -> Path:
    """Write `model.safetensors` and `card.json` into a folder; the card comes last.

    The files have mode 600, and a folder that is made for them 700: sums over customers are in them.
    """
    folder = Path(folder)
    tensors = dict(model.state_dict())
    if model.statistics is not None:
        tensors |= model.statistics.to_tensors()
    write_safetensors(tensors, folder / WEIGHTS, confidential=True)
    write_card(model.card.to_dict(), folder, [WEIGHTS], confidential=True)
    return folder


def load_forecaster(folder: str | Path, spec: ForecasterSpec | None = None) -> Forecaster:
    """Read a model that `save_forecaster` wrote.

    One that an earlier version wrote has no sufficient statistics and does not know its hours: `forget` takes both
    from the data, `forget_rows` refuses (see `Forecaster.with_statistics`).

    Args:
        folder: of the model.
        spec: what made it, if that is no forecaster of the library's.

    Raises:
        DataError: a missing or damaged file; names it and says what to do.
    """
    folder = Path(folder)
    values = read_card(folder, _MEND)
    weights = read_safetensors(folder / WEIGHTS, _MEND)
    like = weights.get("scaler.mean", torch.zeros(0))
    try:
        card = ModelCard(**values)
        made_by = spec or FORECASTERS[card.kind]()
        scaler = StandardScaler(torch.zeros_like(like), torch.ones_like(like))
        model = build_to_fit(folder / WEIGHTS, lambda: made_by.empty(card, scaler), weights, _OF_ROWS)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: not a model card of this version ({error}).") from error
    try:
        if "weights" in weights:  # earlier versions took what has no weight as forgotten, and kept no hours
            weights = {"forgotten": weights["weights"] == 0, "parts": model.parts, "tuned": model.tuned, **weights}
        # As many rows as the file has; everything else has the shape that the card gives.
        for name in _OF_ROWS:
            setattr(model, name, torch.empty_like(weights.get(name, getattr(model, name))))
        if len(model.tuned) and model.tuned.shape != model.head.shape:
            raise InputError(
                f"expected a tuned head of shape {tuple(model.head.shape)}, got {tuple(model.tuned.shape)}."
            )
        model.load_state_dict({name: value for name, value in weights.items() if not name.startswith(PREFIX)})
        model.statistics = HeadStatistics.from_tensors(weights, *model.head.shape)
    except (RuntimeError, InputError) as error:
        raise InputError(f"{folder / WEIGHTS}: does not fit its card: {error}") from error
    return model


def forecaster_files(folder: str | Path) -> dict[str, str]:
    """SHA-256 of each file of a saved forecaster, as `sha256sum` gives it.

    Raises:
        InputError: a link, or a folder that holds anything but one saved forecaster.
    """
    folder = Path(folder)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    links = any(path.is_symlink() for path in (folder, *found))
    if links or [file.name for file in found] != sorted((WEIGHTS, CARD)):
        got = "a link" if links else ", ".join(file.name for file in found[:3]) or "nothing"
        raise InputError(f"{folder}: expected a folder with {CARD} and {WEIGHTS} of one forecaster alone, got {got}.")
    try:
        ModelCard(**read_card(folder, "It is not deleted."))
    except TypeError as error:
        raise InputError(f"{folder / CARD}: not a model card of this version ({error}).") from error
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def destroy_forecaster(folder: str | Path, sha256: Mapping[str, str]) -> None:
    """Delete a saved forecaster and its folder: the files that are named, unchanged, and nothing else.

    Copies, backups, and what a disk keeps of deleted files are beyond it.

    Args:
        folder: where `save_forecaster` wrote it.
        sha256: of each file, as `forecaster_files` gave it when the folder was known to be the one that is meant.

    Raises:
        InputError: a link, anything else in the folder, or a file that has changed since; nothing is deleted then.
    """
    folder = Path(folder)
    changed = [name for name, digest in forecaster_files(folder).items() if sha256.get(name) != digest]
    if changed:
        raise InputError(
            f"{folder}: expected the forecaster that was to be destroyed, got another {' and '.join(changed)}. Nothing "
            "was deleted."
        )
    for name in (WEIGHTS, CARD):  # the sums first: what a kill leaves behind is no model
        (folder / name).unlink()
    folder.rmdir()
