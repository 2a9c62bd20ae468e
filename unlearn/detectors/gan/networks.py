"""The LSTM-GAN: its networks, and their adversarial training on normal windows, which goes on where it was interrupted.

The protocol is that of Bashar & Nayak (2020): Adam, one update of each network per batch, binary cross entropy at every
hour, real windows labelled 1 and generated ones 0, the generator rewarded where its windows pass for real. Their code
updates the discriminator twice per batch, after real and after generated windows; here it is once, with both.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from unlearn.checks import require_count, short_repr
from unlearn.detectors.options import AdversarialOptions, NetworkOptions
from unlearn.detectors.storage import load_checkpoint, save_checkpoint
from unlearn.detectors.windows import Windows
from unlearn.errors import ConvergenceError
from unlearn.records import provenance

#: Windows that a batch is a multiple of where scores must not depend on the batch to the last bit. Products of fewer
#: columns than a register holds are summed in another order.
BLOCK = 32


def rounded(n: int) -> int:
    """n up to a multiple of `BLOCK`."""
    return -(-n // BLOCK) * BLOCK


def filled(x: Tensor) -> Tensor:
    """Windows (W, n) and copies of the last, up to a multiple of `BLOCK`."""
    return torch.cat([x, x[:, -1:].expand(-1, rounded(x.shape[1]) - x.shape[1])], dim=1)


class LstmPass:
    """One layer with fixed weights and its buffers for T steps of up to `width` windows.

    The equations are those of `torch.nn.LSTM` with h_0 = c_0 = 0: gates i, f, o (sigmoid) and g (tanh),
    c_t = f c_{t−1} + i g, h_t = o tanh(c_t).

    Args:
        state: `weight_ih_l0` (4H, I), `weight_hh_l0` (4H, H), `bias_ih_l0` and `bias_hh_l0` (4H,), gates in the order
            i, f, g, o.
        steps: T.
        width: most windows at once.
    """

    def __init__(self, state: Mapping[str, Tensor], steps: int, width: int) -> None:
        weight_in, weight_state = state["weight_ih_l0"].detach(), state["weight_hh_l0"].detach()
        bias = (state["bias_ih_l0"] + state["bias_hh_l0"]).detach()
        self.n_in, self.n_out, self.steps = weight_in.shape[1], weight_state.shape[1], steps
        i, f, g, o = torch.cat([weight_in, weight_state, bias[:, None]], dim=1).chunk(4)
        # tanh(a) = 2 sigmoid(2a) − 1: one fast sigmoid serves all four gates.
        self._weight = torch.cat([i, f, o, 2 * g]).contiguous()
        self._back = torch.cat([i, f, o, g])[:, :-1].t().contiguous()
        self._minus_one = -torch.ones((), dtype=bias.dtype)
        self._flat = {
            "joined": bias.new_empty((steps + 1) * (self.n_in + self.n_out + 1) * width),
            "gates": bias.new_empty(steps * 4 * self.n_out * width),
            "cell": bias.new_empty((steps + 1) * self.n_out * width),
            "squashed": bias.new_empty(steps * self.n_out * width),
            "down": bias.new_empty((steps + 1) * (self.n_in + self.n_out) * width),
            "scratch": bias.new_empty((4 + 3) * self.n_out * width),
        }
        self.resize(width)

    def resize(self, n: int) -> None:
        """Lay the buffers out anew for n windows, at most `width`; what they hold is lost."""
        D, H, T = self.n_in, self.n_out, self.steps

        def view(name: str, *shape: int) -> Tensor:
            return self._flat[name][: torch.Size(shape).numel()].view(shape)

        joined, gates = view("joined", T + 1, D + H + 1, n), view("gates", T, 4 * H, n)
        self._cell, squashed = view("cell", T + 1, H, n), view("squashed", T, H, n)
        self._down = view("down", T + 1, D + H, n)
        scratch = view("scratch", 7 * H, n)
        joined[:, -1] = 1
        joined[0, D : D + H] = 0
        self._cell[0] = 0
        self._down[T] = 0
        #: Inputs, to be filled by the caller, and states: shapes (T, I, n) and (T, H, n).
        self.inputs, self.states = joined[:T, :D], joined[1:, D : D + H]
        #: Gradient with respect to the inputs, shape (T, I, n), after `backward`.
        self.input_gradient = self._down[:T, :D]
        self._forward_views = [
            (joined[t], gates[t], *self._gates(gates[t]), self._cell[t], self._cell[t + 1], squashed[t], self.states[t])
            for t in range(T)
        ]
        self._slope, self._by_gate = scratch[: 4 * H], self._gates(scratch[: 4 * H])
        self._d_state, self._d_cell, self._spare = scratch[4 * H :].split(H)
        self._backward_views = [
            (gates[t], *self._gates(gates[t]), self._cell[t], squashed[t], self._down[t], self._down[t + 1, D:])
            for t in range(T)
        ]

    def _gates(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i, f, o, g = block.split(self.n_out)
        return i, f, o, g

    def forward(self) -> Tensor:
        """Run over `inputs`; returns `states`."""
        for joined, gates, i, f, o, g, before, cell, squashed, state in self._forward_views:
            torch.mm(self._weight, joined, out=gates)
            gates.sigmoid_()
            torch.add(self._minus_one, g, alpha=2, out=g)
            torch.mul(f, before, out=cell)
            cell.addcmul_(i, g)
            torch.add(cell, cell, out=squashed)
            squashed.sigmoid_()
            torch.add(self._minus_one, squashed, alpha=2, out=squashed)
            torch.mul(o, squashed, out=state)
        return self.states

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to `inputs`, (T, I, n), given that of `states`, (T, H, n)."""
        H = self.n_out
        slope, spare, d_state, d_cell = self._slope, self._spare, self._d_state, self._d_cell
        d_i, d_f, d_o, d_g = self._by_gate
        d_cell.zero_()
        for t in reversed(range(self.steps)):
            gates, i, f, o, g, before, squashed, down, later = self._backward_views[t]
            torch.add(gradient[t], later, out=d_state)
            torch.mul(d_state, squashed, out=d_o)
            torch.mul(d_state, o, out=spare)
            torch.ops.aten.tanh_backward.grad_input(spare, squashed, grad_input=spare)
            d_cell.add_(spare)
            torch.mul(d_cell, g, out=d_i)
            torch.mul(d_cell, before, out=d_f)
            torch.mul(d_cell, i, out=d_g)
            d_cell.mul_(f)
            torch.ops.aten.sigmoid_backward.grad_input(slope[: 3 * H], gates[: 3 * H], grad_input=slope[: 3 * H])
            torch.ops.aten.tanh_backward.grad_input(d_g, g, grad_input=d_g)
            torch.mm(self._back, slope, out=down)
        return self.input_gradient


#: About the root mean square of an LSTM's states when its gates' sums have variance 1.
_STATE_RMS = 0.3


class Generator(nn.Module):
    """Latent values (n, W), one for each hour, to scaled readings (n, W) in (−1, 1): stacked LSTMs, linear, tanh."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        sizes = (1, *options.generator)
        layers = [nn.LSTM(n_in, n_out, batch_first=True) for n_in, n_out in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        self.output = nn.Linear(sizes[-1], 1)
        if options.initial == "spread":
            _spread(layers, self.output, options.latent_std)

    def forward(self, z: Tensor) -> Tensor:
        states = z[..., None]
        for layer in self.layers:
            states, _ = layer(states)
        return torch.tanh(self.output(states)).squeeze(-1)


def _spread(layers: list[nn.LSTM], output: nn.Linear, latent_std: float) -> None:
    """Set the weights so that layers pass on the spread of z."""
    given = latent_std
    for layer in layers:
        weights = dict(layer.named_parameters())
        nn.init.normal_(weights["weight_ih_l0"], std=1 / (given * layer.input_size**0.5))
        for gate in weights["weight_hh_l0"].chunk(4):
            nn.init.orthogonal_(gate)
        given = _STATE_RMS
    nn.init.normal_(output.weight, std=1 / (given * output.in_features**0.5))


class Discriminator(nn.Module):
    """Scaled readings (n, W) to a logit of "real" for each hour (n, W) and features (n, W, H), its LSTM's states.

    D(x) is the mean over the hours of sigmoid(logit): the published network judges every hour by what came before.
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, options.discriminator, batch_first=True)
        self.output = nn.Linear(options.discriminator, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, _ = self.layer(x[..., None])
        return self.output(features).squeeze(-1), features


class Encoder(nn.Module):
    """Scaled readings (n, W) to latent values (n, W): an LSTM that reads both ways, linear.

    Args:
        hidden: units of each direction.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x[..., None])
        return self.output(states).squeeze(-1)


def new_networks(options: NetworkOptions, seed: int) -> tuple[Generator, Discriminator]:
    """Fresh networks whose weights depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(options), Discriminator(options)


#: What is noted of every epoch, each the mean over its windows.
HISTORY = ("discriminator_loss", "generator_loss", "real_probability", "generated_probability", "generated_std")


@short_repr
@dataclass(frozen=True, eq=False)
class TrainedGan:
    """Generator and discriminator after training, frozen.

    Attributes:
        generator: latent values to windows.
        discriminator: windows to logits and features.
        card: options, seed, history per epoch and what it was trained on; JSON.
        encoder: windows to latent values, see `train_encoder`; None before it is trained.
    """

    generator: Generator
    discriminator: Discriminator
    card: dict[str, Any]
    encoder: Encoder | None = None

    @property
    def length(self) -> int:
        """Hours of a window, W."""
        return int(self.card["length"])

    @property
    def latent_std(self) -> float:
        return float(self.card["networks"]["latent_std"])

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw n windows, shape (n, W)."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn((require_count("n", n), self.length), generator=random)
        return self.generator(self.latent_std * z)


def train_gan(
    windows: Windows,
    networks: NetworkOptions | None = None,
    options: AdversarialOptions | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> TrainedGan:
    """Train on normal windows of training buildings.

    Args:
        windows: none with an anomalous hour; labels are not needed, but where there are some they are obeyed.
        networks: sizes and latent prior.
        options: settings.
        seed: of initial weights, batch order and latent noise.
        folder: keeps the state after each epoch there; the same call with the same folder goes on from the last one,
            to the same weights as without interruption. None keeps nothing.

    Raises:
        InputError: labelled windows among them, fewer than two, readings missing, or a folder with the state of
            another training.
        ConvergenceError: a loss became NaN or infinite.
    """
    networks, options = networks or NetworkOptions(), options or AdversarialOptions()
    values = torch.from_numpy(windows.normal_values())
    card = {
        "kind": "gan",
        "networks": asdict(networks),
        "training": asdict(options),
        "seed": seed,
        "data": windows.series.series.name,
        "n_windows": len(values),
        "length": values.shape[1],
    }
    dependencies = card | {"windows": hashlib.sha256(values.numpy().tobytes()).hexdigest()}
    generator, discriminator = new_networks(networks, seed)
    optimisers = {
        name: torch.optim.Adam(network.parameters(), options.learning_rate, options.betas)
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    parts = {"generator": generator, "discriminator": discriminator}
    history: list[dict[str, float]] = []
    if folder is not None:
        history = load_checkpoint(Path(folder), parts, optimisers, dependencies)
    bar = tqdm(range(len(history), options.epochs), desc="GAN", unit="epoch", leave=False)
    for epoch in bar:
        # Order and noise depend on seed and epoch alone, so that a training can go on.
        random = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        means = _one_epoch((generator, discriminator), optimisers, values, networks.latent_std, options, random)
        if not all(math.isfinite(value) for value in means.values()):
            raise ConvergenceError(
                f"GAN: the losses became {means['discriminator_loss']} and {means['generator_loss']} in epoch {epoch}. "
                f"Lower gan.training.learning_rate ({options.learning_rate:g})."
            )
        history.append(means)
        bar.set_postfix({name: f"{history[-1][name]:.3f}" for name in HISTORY[:3]}, refresh=False)
        if folder is not None:
            save_checkpoint(Path(folder), parts, optimisers, dependencies, history)
    for network in parts.values():
        network.eval().requires_grad_(False)
    record = {name: [epoch[name] for epoch in history] for name in HISTORY}
    return TrainedGan(generator, discriminator, card | {"history": record, **provenance()})


def _one_epoch(
    networks: tuple[Generator, Discriminator],
    optimisers: dict[str, torch.optim.Adam],
    values: Tensor,
    latent_std: float,
    options: AdversarialOptions,
    random: torch.Generator,
) -> dict[str, float]:
    """Train on every window once; means over the windows of what `HISTORY` names."""
    total = dict.fromkeys(HISTORY, 0.0)
    order = torch.randperm(len(values), generator=random)
    for rows in tqdm(order.split(options.batch_size), desc="batches", leave=False, mininterval=1):
        real = values[rows]
        noise = latent_std * torch.randn(real.shape, generator=random)
        found = _one_step(networks, optimisers, real, noise, options.real_target)
        for name, value in found.items():
            total[name] += value * len(rows) / len(values)
    return total


def _one_step(
    networks: tuple[Generator, Discriminator],
    optimisers: dict[str, torch.optim.Adam],
    real: Tensor,
    noise: Tensor,
    real_target: float,
) -> dict[str, float]:
    generator, discriminator = networks
    generated = generator(noise)
    logit_real, logit_generated = discriminator(torch.cat([real, generated.detach()]))[0].chunk(2)
    loss = _cross_entropy(logit_real, real_target) + _cross_entropy(logit_generated, 0.0)
    optimisers["discriminator"].zero_grad()
    loss.backward()
    optimisers["discriminator"].step()

    # The gradient goes through the discriminator, not to its weights.
    discriminator.requires_grad_(False)
    generator_loss = _cross_entropy(discriminator(generated)[0], 1.0)
    optimisers["generator"].zero_grad()
    generator_loss.backward()
    optimisers["generator"].step()
    discriminator.requires_grad_(True)
    return {
        "discriminator_loss": float(loss.detach()),
        "generator_loss": float(generator_loss.detach()),
        "real_probability": float(logit_real.detach().sigmoid().mean()),
        "generated_probability": float(logit_generated.detach().sigmoid().mean()),
        "generated_std": float(generated.detach().std(dim=0, correction=0).mean()),
    }


def _cross_entropy(logit: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logit, torch.full_like(logit, target))
