"""The GAN as a detector: the latent z whose generated window comes nearest to a given one, for thousands at once.

A window's score depends on its readings, the networks and the seed, not on the others. Hundreds of steps through
recurrent networks make large differences of rounding, so batches are filled up to a multiple of `BLOCK` windows, at
which matrix products treat every window alike, to the last bit. A search may start at the z of an encoder, which is
trained after the GAN and saves steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape, short_repr
from unlearn.detectors.base import FittedDetector, State, WindowScores
from unlearn.detectors.gan.networks import Discriminator, Encoder, Generator, TrainedGan, filled, rounded, train_gan
from unlearn.detectors.gan.starts import HourlySearch, LatentLoss
from unlearn.detectors.options import EncoderOptions, Gan, InversionOptions, NetworkOptions
from unlearn.detectors.storage import from_card, load_network
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError, InputError

_BETAS, _EPSILON = (0.9, 0.999), 1e-8

#: Share of a batch that has stopped before it is filled up anew: laying out costs as much as a few windows' steps.
_REFILL = 1 / 8


@short_repr
@dataclass(frozen=True, eq=False)
class Inversion:
    """What the search found for n windows of W hours.

    Attributes:
        z: best latent values, shape (n, W).
        residual: |x − G(z)| of each hour, shape (n, W).
        distance: L1 distance of the discriminator's features of each hour, shape (n, W).
        hour: (1 − λ) residual + λ distance, shape (n, W).
        steps: evaluations that each window took, shape (n,).
    """

    z: NDArray[np.floating]
    residual: FloatArray
    distance: FloatArray
    hour: FloatArray
    steps: IntArray

    @property
    def score(self) -> FloatArray:
        """S of each window, the sum over its hours, shape (n,)."""
        return np.asarray(self.hour.sum(axis=1))


def invert(gan: TrainedGan, values: ArrayLike, options: InversionOptions | None = None, seed: int = 0) -> Inversion:
    """Search z for each window.

    Args:
        gan: trained networks; in float32 as trained, or in float64 after `.double()` of both.
        values: scaled readings, shape (n, W).
        options: settings.
        seed: of the random start.

    Raises:
        InputError: windows of another length, readings missing, or an encoder asked for that was never trained.
        ConvergenceError: a score became NaN or infinite.
    """
    options = options or InversionOptions()
    given = as_floats("windows", values, 2)
    require_shape("windows", given, (None, gan.length))
    require_finite("windows", given)
    if not len(given):
        empty = np.empty((0, gan.length))
        return Inversion(empty, empty, empty, empty, np.empty(0, dtype=np.int64))
    dtype = gan.generator.output.weight.dtype
    x = torch.from_numpy(given).to(dtype).t().contiguous()
    width = rounded(min(options.batch_size, len(given)))
    loss = LatentLoss(gan.generator, gan.discriminator, gan.length, width, options.feature_weight)
    z, steps = _search(loss, x, _start(gan, x, options, seed), options)
    # Row by row in memory: otherwise the sum over a window's hours depends on how many windows there are.
    residual, distance = (part.t().double().contiguous().numpy() for part in _parts(loss, z, x))
    return Inversion(z.t().numpy(), residual, distance, loss.score(residual, distance), steps.numpy())


def _start(gan: TrainedGan, x: Tensor, options: InversionOptions, seed: int) -> Tensor:
    """First z of each window, shape (W, n)."""
    if options.start == "encoder":
        if gan.encoder is None:
            raise InputError(
                "inversion.start: expected a GAN with an encoder, got one without. Train it with train_encoder, or "
                "start at random."
            )
        with torch.no_grad():
            return gan.encoder(x.t().to(gan.encoder.output.weight.dtype)).t().to(x.dtype).contiguous()
    if options.start == "hourly":
        weight = options.feature_weight
        return HourlySearch(gan.generator, gan.discriminator, gan.latent_std, options.tried, weight).search(x)
    # One draw for all windows: a score then depends on no other window, nor on a window's place among them.
    draw = np.random.default_rng(seed).standard_normal(len(x))
    return (gan.latent_std * torch.from_numpy(draw)).to(x.dtype)[:, None].expand(-1, x.shape[1]).contiguous()


@dataclass
class _Batch:
    """Windows that are searched for at once, each a column (last axis)."""

    row: Tensor
    x: Tensor
    features: Tensor
    z: Tensor
    mean: Tensor
    square: Tensor
    best_z: Tensor
    best: Tensor
    mark: Tensor
    waited: Tensor
    taken: Tensor
    running: Tensor

    @classmethod
    def of(cls, row: Tensor, x: Tensor, features: Tensor, z: Tensor) -> _Batch:
        n = len(row)
        count = torch.zeros(n, dtype=torch.int64)
        best = torch.full((n,), torch.inf, dtype=x.dtype)
        zeros = torch.zeros_like(z)
        running = torch.ones(n, dtype=torch.bool)
        return cls(row, x, features, z, zeros, zeros.clone(), z.clone(), best, best.clone(), count, count, running)

    def __len__(self) -> int:
        return len(self.row)

    def keep(self, columns: Tensor) -> _Batch:
        return _Batch(*(getattr(self, f.name)[..., columns] for f in fields(self)))

    def join(self, other: _Batch) -> _Batch:
        return _Batch(*(torch.cat([getattr(self, f.name), getattr(other, f.name)], dim=-1) for f in fields(self)))


def _search(loss: LatentLoss, x: Tensor, start: Tensor, options: InversionOptions) -> tuple[Tensor, Tensor]:
    """Best z (W, N) and steps taken (N,) of windows x (W, N)."""
    n_windows = x.shape[1]
    found, taken = torch.empty_like(x), torch.zeros(n_windows, dtype=torch.int64)
    waiting = min(loss.width, n_windows)
    batch = _draw(loss, x, start, torch.arange(waiting))
    with tqdm(total=n_windows, desc="inversion", unit="window", leave=False) as bar:
        while len(batch):
            _step(loss, batch, options)
            over = batch.running & (batch.taken >= options.max_iter)
            if options.patience is not None:
                over |= batch.running & (batch.waited >= options.patience)
            if not over.any():
                continue
            found[:, batch.row[over]], taken[batch.row[over]] = batch.best_z[:, over], batch.taken[over]
            batch.running &= ~over
            bar.update(int(over.sum()))
            n_running = int(batch.running.sum())
            if n_running > (1 - _REFILL) * len(batch):
                continue
            rows = torch.arange(waiting, min(waiting + loss.width - n_running, n_windows))
            waiting += len(rows)
            if len(rows):
                batch = batch.keep(batch.running)
                batch = batch.join(_draw(loss, x, start, rows, len(batch)))
            else:
                # Some that have stopped stay, to fill the block.
                batch = batch.keep(torch.argsort(~batch.running, stable=True)[: rounded(n_running)])
    return found, taken


def _draw(loss: LatentLoss, x: Tensor, start: Tensor, rows: Tensor, beside: int = 0) -> _Batch:
    """Windows to join `beside` others, and copies of the last that never run, up to a multiple of `BLOCK`."""
    spare = rounded(beside + len(rows)) - beside - len(rows)
    chosen = torch.cat([rows, rows[-1:].expand(spare)])
    batch = _Batch.of(chosen, x[:, chosen], _features(loss, x[:, chosen]), start[:, chosen])
    batch.running[len(rows) :] = False
    return batch


def _features(loss: LatentLoss, x: Tensor) -> Tensor:
    return loss.features(filled(x))[..., : x.shape[1]]


def _step(loss: LatentLoss, batch: _Batch, options: InversionOptions) -> None:
    """Evaluate every window, note its best and move it by one step of Adam."""
    score = loss.score(*loss.parts(batch.z, batch.x, batch.features)).sum(dim=0)
    lost = batch.running & ~torch.isfinite(score)
    if lost.any():
        raise ConvergenceError(
            f"inversion: the score of window {int(batch.row[lost][0])} is not finite any more. "
            f"Lower inversion.learning_rate ({options.learning_rate:g})."
        )
    batch.taken = batch.taken + 1
    better, gained = score < batch.best, score < (1 - options.tolerance) * batch.mark
    batch.best = torch.where(better, score, batch.best)
    batch.best_z = torch.where(better, batch.z, batch.best_z)
    batch.mark = torch.where(gained, score, batch.mark)
    batch.waited = torch.where(gained, 0, batch.waited + 1)

    gradient = loss.gradient()
    first, second = _BETAS
    batch.mean.mul_(first).add_(gradient, alpha=1 - first)
    batch.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    # Windows of one batch may have begun at different times: each has its own correction of Adam's moments.
    age = batch.taken.to(score.dtype)
    root = (batch.square / (1 - second**age)).sqrt_().add_(_EPSILON)
    batch.z.sub_(options.learning_rate * batch.mean / (1 - first**age) / root)


def _parts(loss: LatentLoss, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Residual and feature distance of each hour at z, two arrays (W, N)."""
    found = []
    for own_z, own_x in zip(z.split(loss.width, dim=1), x.split(loss.width, dim=1), strict=True):
        given, n = filled(own_x), own_x.shape[1]
        found.append([part[:, :n] for part in loss.parts(filled(own_z), given, loss.features(given))])
    residual, distance = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return residual, distance


def train_encoder(
    gan: TrainedGan, windows: Windows, options: EncoderOptions | None = None, seed: int = 0
) -> TrainedGan:
    """Train z = E(x) so that G(E(x)) has a small S, with generator and discriminator as they are.

    Args:
        gan: trained networks.
        windows: normal windows of training buildings, those that the GAN was trained on.
        options: settings.
        seed: of initial weights and batch order.

    Returns:
        The same networks with the encoder; the card has its options and `encoder_loss` of each epoch.

    Raises:
        InputError: unusable windows, see `train_gan`, or of another length.
        ConvergenceError: the loss became NaN or infinite.
    """
    options = options or EncoderOptions()
    values = torch.from_numpy(windows.normal_values())
    if values.shape[1] != gan.length:
        raise InputError(f"windows: expected {gan.length} hours, as the GAN was trained on, got {values.shape[1]}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(options.hidden)
    width = min(options.batch_size, len(values))
    loss = LatentLoss(gan.generator, gan.discriminator, gan.length, width, options.feature_weight)
    optimiser = torch.optim.Adam(encoder.parameters(), options.learning_rate)
    random = torch.Generator().manual_seed(seed)
    history: list[float] = []
    for epoch in tqdm(range(options.epochs), desc="encoder", unit="epoch", leave=False):
        total = 0.0
        order = torch.randperm(len(values), generator=random)
        for rows in tqdm(order.split(options.batch_size), desc="batches", leave=False, mininterval=1):
            x = values[rows]
            z = encoder(x)
            fixed = z.detach()
            by_hour = x.t().contiguous()
            score = loss.score(*loss.parts(fixed.t(), by_hour, loss.features(by_hour)))
            # Of S with respect to z from the pass that inversion uses, of the pull by hand.
            gradient = loss.gradient().t() + 2 * options.pull * fixed / gan.latent_std**2
            optimiser.zero_grad()
            z.backward(gradient / z.numel())
            optimiser.step()
            total += float(score.sum()) + options.pull * float((fixed / gan.latent_std).square().sum())
        history.append(total / values.numel())
        if not math.isfinite(history[-1]):
            raise ConvergenceError(
                f"encoder: the loss became {history[-1]} in epoch {epoch}. Lower gan.encoder.learning_rate "
                f"({options.learning_rate:g})."
            )
    encoder.eval().requires_grad_(False)
    return replace(gan, encoder=encoder, card=gan.card | {"encoder": asdict(options), "encoder_loss": history})


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
