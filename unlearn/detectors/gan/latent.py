"""The loss of latent inversion, hour by hour, and its gradient with respect to z, for many windows at once."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from unlearn.checks import FloatArray
from unlearn.detectors.gan.networks import Discriminator, Generator
from unlearn.detectors.gan.recurrent import LstmPass

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
