"""Where latent searches start: draws of z, and the best of a few values, hour by hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray
from unlearn.detectors.gan.networks import BLOCK, Discriminator, Generator, LstmPass, filled

Part = TypeVar("Part", Tensor, FloatArray)


class LatentLoss:
    """S(z) = (1 − λ) R + λ F of windows x and of what the generator makes of z.

    R = Σ_t |x_t − G(z)_t| and F = Σ_t Σ_k |f_tk(x) − f_tk(G(z))|, where f are the states of the discriminator's LSTM
    (Bashar & Nayak 2020, their code: sums, over all hours and features). Both are sums over hours, so that S has a
    part of each hour.

    Weights are read once and never get a gradient. All arrays have the hour as first and the window as last axis.

    Args:
        generator: G.
        discriminator: f.
        length: hours of a window, W.
        width: most windows at once.
        feature_weight: λ.
    """

    def __init__(
        self, generator: Generator, discriminator: Discriminator, length: int, width: int, feature_weight: float
    ) -> None:
        self._layers = [LstmPass(layer.state_dict(), length, width) for layer in generator.layers]
        self._judge = LstmPass(discriminator.layer.state_dict(), length, width)
        self._out_weight = generator.output.weight.detach()
        self._out_bias = generator.output.bias.detach()
        self._feature_weight = feature_weight
        self._length, self._width, self._n = length, width, width

    @property
    def width(self) -> int:
        return self._width

    def resize(self, n: int) -> None:
        """Take n windows at once from now on, at most `width`."""
        if n == self._n:
            return
        for layer in (*self._layers, self._judge):
            layer.resize(n)
        self._n = n

    def features(self, x: Tensor) -> Tensor:
        """Features of windows (W, n), shape (W, H, n)."""
        self.resize(x.shape[-1])
        self._judge.inputs[:, 0].copy_(x)
        return self._judge.forward().clone()

    def parts(self, z: Tensor, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Residual and feature distance of each hour, not weighted: two arrays (W, n).

        Args:
            z: latent values, shape (W, n).
            x: scaled readings, shape (W, n).
            features: of x, see `features`.
        """
        self.resize(z.shape[-1])
        given = z[:, None]
        for layer in self._layers:
            layer.inputs.copy_(given)
            given = layer.forward()
        self._made = torch.tanh_(torch.matmul(self._out_weight, given) + self._out_bias)[:, 0]
        self._judge.inputs[:, 0].copy_(self._made)
        self._gap = self._made - x
        self._feature_gap = self._judge.forward() - features
        return self._gap.abs(), self._feature_gap.abs().sum(dim=1)

    def score(self, residual: Part, distance: Part) -> Part:
        """Weigh the two parts together, hour by hour."""
        return (1 - self._feature_weight) * residual + self._feature_weight * distance

    def gradient(self) -> Tensor:
        """Gradient of S with respect to z at the z that `parts` saw last, shape (W, n)."""
        by_feature = self._feature_gap.sign_().mul_(self._feature_weight)
        d_made = self._judge.backward(by_feature)[:, 0] + (1 - self._feature_weight) * self._gap.sign()
        d_made *= 1 - self._made.square()
        flow = self._out_weight.t() * d_made[:, None]
        for layer in reversed(self._layers):
            flow = layer.backward(flow)
        return flow[:, 0]


#: The grid reaches as many standard deviations of the latent prior to each side.
SPAN = 3.0
#: Windows at once; each counts as often as values are tried.
_TOGETHER = 4 * BLOCK


class HourlySearch:
    """Chooses z_t so that hour t's part of S is smallest, for t = 1, 2, …, with S as in `LatentLoss`.

    Args:
        generator: G.
        discriminator: f.
        latent_std: standard deviation of the latent prior.
        values: K, numbers tried for each hour, evenly spaced over ±`SPAN` standard deviations.
        feature_weight: λ.
    """

    def __init__(
        self, generator: Generator, discriminator: Discriminator, latent_std: float, values: int, feature_weight: float
    ) -> None:
        self._layers = [_Cell(layer.state_dict()) for layer in generator.layers]
        self._judge = _Cell(discriminator.layer.state_dict())
        self._out_weight = generator.output.weight.detach()
        self._out_bias = generator.output.bias.detach()
        self._grid = latent_std * torch.linspace(-SPAN, SPAN, values, dtype=self._out_weight.dtype)
        self._feature_weight = feature_weight

    def search(self, x: Tensor) -> Tensor:
        """Return z of scaled readings x, both of shape (W, n)."""
        with tqdm(total=x.shape[1], desc="hourly search", unit="window", leave=False) as bar:
            found = []
            for part in x.split(_TOGETHER, dim=1):
                found.append(self._search(filled(part))[:, : part.shape[1]])
                bar.update(part.shape[1])
        return torch.cat(found, dim=1)

    def _search(self, x: Tensor) -> Tensor:
        n, tried = x.shape[1], len(self._grid)
        features = self._features(x)
        grid = self._grid[:, None].expand(-1, n).reshape(1, -1)
        cells = (*self._layers, self._judge)
        for cell in cells:
            cell.reset(n)
        z = torch.empty_like(x)
        for t, reading in enumerate(x):
            given = grid
            for layer in self._layers:
                given = layer.attempt(given)
            made = torch.tanh(self._out_weight @ given + self._out_bias[:, None])
            distance = self._judge.attempt(made).view(-1, tried, n) - features[t][:, None]
            score = self._feature_weight * distance.abs_().sum(dim=0)
            score += (1 - self._feature_weight) * (made.view(tried, n) - reading).abs_()
            chosen = score.argmin(dim=0)
            z[t] = self._grid[chosen]
            for cell in cells:
                cell.accept(chosen)
        return z

    def _features(self, x: Tensor) -> list[Tensor]:
        self._judge.reset(x.shape[1])
        only = torch.zeros(x.shape[1], dtype=torch.int64)
        features = []
        for reading in x:
            features.append(self._judge.attempt(reading[None]))
            self._judge.accept(only)
        return features


class _Cell:
    """One LSTM layer that tries K inputs for each window and goes on from one of them."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._size = state["weight_hh_l0"].shape[1]
        # tanh(a) = 2 sigmoid(2a) − 1: one sigmoid serves all four gates, i, f, g and o.
        scale = torch.ones_like(state["bias_ih_l0"])
        scale[2 * self._size : 3 * self._size] = 2
        self._weight_in = scale[:, None] * state["weight_ih_l0"]
        self._weight_state = scale[:, None] * state["weight_hh_l0"]
        self._bias = (scale * (state["bias_ih_l0"] + state["bias_hh_l0"]))[:, None]

    def reset(self, n: int) -> None:
        """Begin with states of zero for n windows."""
        self._state = self._cell = self._bias.new_zeros(self._size, n)

    def attempt(self, given: Tensor) -> Tensor:
        """States (H, K n) after inputs (I, K n), window by window within each of the K."""
        n = self._state.shape[1]
        shared = torch.addmm(self._bias, self._weight_state, self._state)
        gates = torch.mm(self._weight_in, given).view(len(shared), -1, n)
        i, f, g, o = gates.add_(shared[:, None]).sigmoid_().split(self._size)
        self._cells = torch.addcmul(f * self._cell[:, None], i, g.mul_(2).sub_(1))
        self._states = o * torch.sigmoid(2 * self._cells).mul_(2).sub_(1)
        return self._states.view(self._size, -1)

    def accept(self, chosen: Tensor) -> None:
        """Go on from the input that was chosen for each window, indices (n,)."""
        index = chosen.expand(self._size, 1, -1)
        self._state = self._states.gather(1, index)[:, 0]
        self._cell = self._cells.gather(1, index)[:, 0]
