"""Faraday on disk: numbers as safetensors, everything else as a JSON card."""

from __future__ import annotations

from pathlib import Path

import torch

from unlearn.errors import InputError
from unlearn.generators.faraday.mixture import LabelledMixture
from unlearn.generators.faraday.model import Faraday
from unlearn.generators.faraday.scaling import LABELS, EnergyScaler, LabelSpace
from unlearn.generators.faraday.vae import ProfileVae
from unlearn.limits import build_to_fit
from unlearn.records import CARD, read_card, read_json, read_safetensors, write_card, write_safetensors
from unlearn.store import replace_folder

WEIGHTS = "generator.safetensors"

_MEND = "Fit and save the generator again."


def save_faraday(model: Faraday, folder: str | Path) -> Path:
    """Write `generator.safetensors` and `card.json` into a folder, all or nothing; an earlier Faraday is replaced.

    Folder and files have mode 700 and 600 unless the model is private: what it has learnt from people is in it.

    Raises:
        InputError: the folder holds anything else.
    """
    mixture = model.mixture
    arrays = {"mixture.weights": mixture.weights, "mixture.means": mixture.means, "mixture.factors": mixture.factors}
    arrays |= {f"mixture.labels.{name}": table for name, table in zip(LABELS, mixture.labels, strict=True)}
    arrays["residual"] = model.residual
    tensors = {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()}
    tensors |= {f"vae.{name}": tensor.contiguous() for name, tensor in model.vae.state_dict().items()}

    confidential = "privacy" not in model.card

    def fill(temporary: Path) -> None:
        write_safetensors(tensors, temporary / WEIGHTS, confidential=confidential)
        write_card(model.card, temporary, [WEIGHTS], confidential=confidential)

    return replace_folder(folder, fill, _require_free, confidential=confidential)


def _require_free(folder: Path) -> None:
    """Refuse a folder that holds anything but a Faraday."""
    if not folder.exists():
        return
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else ["a file of this name"]
    ours = set(names) == {WEIGHTS, CARD} and read_json(folder / CARD).get("kind") == "faraday"
    if names and not ours:
        raise InputError(
            f"{folder}: expected no folder, an empty one or one with an earlier Faraday, got {', '.join(names[:3])}. "
            "Choose another."
        )


def load_faraday(folder: str | Path) -> Faraday:
    """Read a generator that `save_faraday` wrote.

    Raises:
        InputError: a missing or broken file; names it.
    """
    folder = Path(folder)
    card = read_card(folder, _MEND)
    tensors = read_safetensors(folder / WEIGHTS, _MEND)
    try:
        space = LabelSpace(tuple(card["segments"]))
        own = card["options"]["vae"]
        weights = {name.removeprefix("vae."): value for name, value in tensors.items() if name.startswith("vae.")}
        vae = build_to_fit(
            folder / WEIGHTS, lambda: ProfileVae(card["n_steps"], space.width, own["latent"], own["hidden"]), weights
        )
        scaler = EnergyScaler(**card["scaler"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: not a Faraday card of this version ({error!r}).") from error
    try:
        vae.load_state_dict(weights)
        mixture = LabelledMixture(
            weights=tensors["mixture.weights"].numpy(),
            means=tensors["mixture.means"].numpy(),
            factors=tensors["mixture.factors"].numpy(),
            labels=tuple(tensors[f"mixture.labels.{name}"].numpy() for name in LABELS),
        )
        residual = tensors["residual"].numpy()
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS}: does not fit its card: {error}") from error
    return Faraday(vae.requires_grad_(False), mixture, residual, scaler, space, card)
