"""A first z for latent inversion, found hour by hour: of a grid of values the one that fits best, then the next hour.

The generator is causal: hour t of a window depends on z_1 to z_t only. So z_t can be chosen by trying values of one
number, with what was chosen before left as it is. A choice costs no gradient, and most of its work is shared: of each
layer's sum only the part that comes from below differs between the values, the part that comes from its state is the
same.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.detectors.gan.networks import Discriminator, Generator
from unlearn.detectors.gan.recurrent import BLOCK, filled

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
        """Features of x, an array (H, n) for each hour."""
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
