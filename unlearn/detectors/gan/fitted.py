"""The fitted GAN as a detector: S of the latent inversion as score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearn.checks import short_repr
from unlearn.detectors.base import FittedDetector, State, WindowScores
from unlearn.detectors.gan.adversarial import TrainedGan, train_gan
from unlearn.detectors.gan.encoder import train_encoder
from unlearn.detectors.gan.inversion import invert
from unlearn.detectors.gan.networks import Discriminator, Encoder, Generator
from unlearn.detectors.gan.options import Gan, InversionOptions, NetworkOptions
from unlearn.detectors.storage import from_card, load_network
from unlearn.detectors.windows import Windows


@short_repr
@dataclass(frozen=True, eq=False)
class FittedGan(FittedDetector):
    """Scores windows by S of the best latent values found, hours by their part of it.

    Attributes:
        gan: the networks.
        inversion: settings of the search.
        seed: of its random start.
    """

    gan: TrainedGan
    inversion: InversionOptions
    seed: int = 0
    name: str = "gan"

    def score(self, windows: Windows) -> WindowScores:
        """Score windows of any building.

        Raises:
            InputError: windows of another length than those trained on.
        """
        found = invert(self.gan, windows.values, self.inversion, self.seed)
        return WindowScores(found.score, found.hour)

    def state(self) -> State:
        card = {**self.gan.card, "inversion": asdict(self.inversion), "inversion_seed": self.seed}
        networks = {"generator": self.gan.generator, "discriminator": self.gan.discriminator}
        encoder = {} if self.gan.encoder is None else {"encoder": self.gan.encoder.state_dict()}
        return card, {name: network.state_dict() for name, network in networks.items()} | encoder


def fit_gan(windows: Windows, options: Gan, seed: int = 0, folder: Path | None = None) -> FittedGan:
    """Train on normal windows; see `Gan.fit`."""
    gan = train_gan(windows, options.networks, options.training, seed, folder)
    if options.inversion.start == "encoder":
        gan = train_encoder(gan, windows, options.encoder, seed)
    return FittedGan(gan, options.inversion, seed)


def load_gan(folder: Path, card: Mapping[str, Any]) -> FittedGan:
    """Read what `save_detector` wrote of a GAN."""
    options = from_card(folder, card, lambda own: NetworkOptions(**own["networks"]))
    generator = load_network(folder, card, "generator", lambda own: Generator(options))
    discriminator = load_network(folder, card, "discriminator", lambda own: Discriminator(options))
    encoder = None
    if "encoder" in card:
        encoder = load_network(folder, card, "encoder", lambda own: Encoder(own["encoder"]["hidden"]))
    inversion = from_card(folder, card, lambda own: InversionOptions(**own["inversion"]))
    own = {name: value for name, value in card.items() if name not in ("inversion", "inversion_seed")}
    return FittedGan(TrainedGan(generator, discriminator, own, encoder), inversion, int(card["inversion_seed"]))
