"""Extractors of networks: what maps the (B, F) matrix of scaled features to the inputs of the analytic head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearn.errors import InputError

#: Features that an extractor gives the head.
N_FEATURES = 64


class CnnExtractor(nn.Module):
    """Convolutions over the (B, F) matrix of features: 8@3x3, 8@4x4 with stride 2, Linear 1."""

    def __init__(self, n_loads: int, n_features: int) -> None:
        super().__init__()
        if min(n_loads, n_features) < 2:
            raise InputError(f"cnn: expected at least 2 loads and 2 features, got {n_loads} and {n_features}.")
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        # A 4x4 kernel with stride 2 and padding 1 halves each side, rounding down.
        self.linear = nn.Linear(8 * (n_loads // 2) * (n_features // 2), N_FEATURES)

    def forward(self, scaled: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.convolutions(scaled[:, None])))


class MixerBlock(nn.Module):
    """Mix over patches, then over channels, each with layer norm and a skip connection."""

    def __init__(self, n_patches: int, hidden: int) -> None:
        super().__init__()
        self.norm_patches = nn.LayerNorm(hidden)
        self.mix_patches = nn.Sequential(nn.Linear(n_patches, hidden), nn.GELU(), nn.Linear(hidden, n_patches))
        self.norm_channels = nn.LayerNorm(hidden)
        self.mix_channels = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, patches: Tensor) -> Tensor:
        patches = patches + self.mix_patches(self.norm_patches(patches).transpose(1, 2)).transpose(1, 2)
        return patches + self.mix_channels(self.norm_channels(patches))


class MixerExtractor(nn.Module):
    """MLP-Mixer over 2x2 patches of the (B, F) matrix; an odd side is padded with zeros."""

    def __init__(self, n_loads: int, n_features: int, patch: int = 2, hidden: int = 64, n_blocks: int = 2) -> None:
        super().__init__()
        self.patch = patch
        self.padding = (0, -n_features % patch, 0, -n_loads % patch)
        n_patches = -(-n_loads // patch) * -(-n_features // patch)
        self.embed = nn.Linear(patch * patch, hidden)
        self.blocks = nn.Sequential(*(MixerBlock(n_patches, hidden) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(hidden)
        self.linear = nn.Linear(n_patches * hidden, N_FEATURES)

    def forward(self, scaled: Tensor) -> Tensor:
        padded = nn.functional.pad(scaled, self.padding)
        patches = padded.unfold(1, self.patch, self.patch).unfold(2, self.patch, self.patch)
        patches = patches.reshape(len(scaled), -1, self.patch * self.patch)
        mixed = self.norm(self.blocks(self.embed(patches)))
        return torch.tanh(self.linear(mixed.flatten(start_dim=1)))
