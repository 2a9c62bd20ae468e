"""Neural detectors on disk: weights as safetensors, one file for each network, everything else as a JSON card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from unlearn.detectors.autoencoder import Autoencoder, FittedAutoencoder
from unlearn.detectors.gan.adversarial import TrainedGan
from unlearn.detectors.gan.fitted import FittedGan
from unlearn.detectors.gan.inversion import InversionOptions
from unlearn.detectors.gan.networks import Discriminator, Encoder, Generator, NetworkOptions
from unlearn.errors import InputError
from unlearn.limits import build_to_fit
from unlearn.records import CARD, read_card, read_safetensors, write_card, write_safetensors
from unlearn.store import replace_folder

_SUFFIX, _MEND = ".safetensors", "Fit and save the detector again."

Network = TypeVar("Network", bound=nn.Module)


def save_detector(detector: FittedGan | FittedAutoencoder, folder: str | Path) -> Path:
    """Write the networks and `card.json` into a folder, all or nothing; an earlier detector is replaced.

    A GAN has `generator.safetensors`, `discriminator.safetensors` and, where one was trained, `encoder.safetensors`.

    Raises:
        InputError: the folder holds anything else.
    """
    networks: dict[str, nn.Module] = {}
    card = dict(detector.card)
    if isinstance(detector, FittedGan):
        networks = {"generator": detector.gan.generator, "discriminator": detector.gan.discriminator}
        if detector.gan.encoder is not None:
            networks["encoder"] = detector.gan.encoder
        card |= {"inversion": asdict(detector.inversion), "inversion_seed": detector.seed}
    else:
        networks = {"autoencoder": detector.network}

    def fill(temporary: Path) -> None:
        for name, network in networks.items():
            write_safetensors(network.state_dict(), temporary / f"{name}{_SUFFIX}", confidential=True)
        write_card(card, temporary, [f"{name}{_SUFFIX}" for name in networks], confidential=True)

    return replace_folder(folder, fill, _require_free, confidential=True)


def load_detector(folder: str | Path) -> FittedGan | FittedAutoencoder:
    """Read what `save_detector` wrote.

    Raises:
        InputError: a missing or broken file; names it.
    """
    folder = Path(folder)
    card = read_card(folder, _MEND)
    kind = card.get("kind")
    if kind == "autoencoder":
        return FittedAutoencoder(_network(folder, card, "autoencoder", lambda c: Autoencoder(_hidden(c))), card)
    if kind != "gan":
        raise InputError(f"{folder / CARD}: expected the card of a gan or an autoencoder, got kind {kind!r}.")
    generator = _network(folder, card, "generator", lambda c: Generator(NetworkOptions(**c["networks"])))
    discriminator = _network(folder, card, "discriminator", lambda c: Discriminator(NetworkOptions(**c["networks"])))
    encoder = None
    if "encoder" in card:
        encoder = _network(folder, card, "encoder", lambda c: Encoder(c["encoder"]["hidden"]))
    inversion = _from_card(folder, card, lambda c: InversionOptions(**c["inversion"]))
    own = {name: value for name, value in card.items() if name not in ("inversion", "inversion_seed")}
    return FittedGan(TrainedGan(generator, discriminator, own, encoder), inversion, int(card["inversion_seed"]))


def _hidden(card: Mapping[str, Any]) -> int:
    return int(card["training"]["hidden"])


def _network(
    folder: Path, card: Mapping[str, Any], name: str, build: Callable[[Mapping[str, Any]], Network]
) -> Network:
    """Build a network as the card says and give it the weights of its file."""
    file = folder / f"{name}{_SUFFIX}"
    weights = read_safetensors(file, _MEND)
    network = _from_card(folder, card, lambda own: build_to_fit(file, lambda: build(own), weights))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file}: does not fit its card: {error}") from error
    network.eval().requires_grad_(False)
    return network


Built = TypeVar("Built")


def _from_card(folder: Path, card: Mapping[str, Any], build: Callable[[Mapping[str, Any]], Built]) -> Built:
    try:
        return build(card)
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / CARD}: not a card of this version ({error!r}).") from error


def _require_free(folder: Path) -> None:
    """Refuse a folder that holds anything but a detector."""
    if not folder.exists():
        return
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else ["a file of this name"]
    known = {CARD, *(f"{name}{_SUFFIX}" for name in ("generator", "discriminator", "encoder", "autoencoder"))}
    if names and not (CARD in names and set(names) <= known):
        raise InputError(
            f"{folder}: expected no folder, an empty one or one with an earlier detector, got {', '.join(names[:3])}. "
            "Choose another."
        )
