"""Standardisation fitted on training rows only and kept inside the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearn.checks import FloatArray, require_finite
from unlearn.errors import InputError


class StandardScaler(nn.Module):
    """Subtract a mean and divide by a standard deviation, elementwise over the trailing axes.

    The two are buffers, so they travel with a model's weights and never receive a gradient. A
    column that does not vary is only centred.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        if mean.shape != std.shape:
            raise InputError(f"scaler: expected mean and std of one shape, got {mean.shape} and {std.shape}.")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def fit(cls, values: FloatArray, skip: int = 0) -> StandardScaler:
        """Fit on training rows.

        Args:
            values: shape (N, ..., F); pass training rows only.
            skip: leading columns of the last axis left as they are (the calendar).
        """
        require_finite("values to scale", values)
        mean = torch.from_numpy(values.mean(axis=0))
        std = torch.from_numpy(values.std(axis=0))
        mean[..., :skip] = 0.0
        std[..., :skip] = 1.0
        # A constant column gets std 0 up to rounding of its mean.
        std[std <= 1e-12 * mean.abs()] = 1.0
        std[std == 0] = 1.0
        return cls(mean, std)

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std

    def inverse(self, scaled: Tensor) -> Tensor:
        """Undo the scaling."""
        return scaled * self.std + self.mean
