"""Energy to the scale that the network works on, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import short_repr
from unlearn.errors import InputError
from unlearn.households.profiles import EnergyArray


@short_repr
@dataclass(frozen=True)
class EnergyScaler:
    """`x = (sqrt(kWh) − mean) / sd` with one mean and one standard deviation, learnt from training households.

    The square root draws in the long tail of household loads without stretching standby near zero, as a logarithm
    would: errors there would decide over the fit, and its inverse would turn them into absurd peaks.

    Attributes:
        mean: of the square roots.
        sd: of the square roots.
    """

    mean: float
    sd: float

    @classmethod
    def fit(cls, kwh: EnergyArray) -> EnergyScaler:
        """Learn mean and standard deviation.

        Raises:
            InputError: all energies are equal.
        """
        roots = np.sqrt(kwh)
        mean, sd = float(roots.mean(dtype=np.float64)), float(roots.std(dtype=np.float64))
        if not sd > 1e-9 * max(mean, 1e-9):
            raise InputError(f"faraday: expected profiles that vary, got {mean**2:.4g} kWh in every step.")
        return cls(mean, sd)

    @property
    def zero(self) -> float:
        """The scaled value of 0 kWh."""
        return -self.mean / self.sd

    def scale(self, kwh: EnergyArray) -> Tensor:
        """Scaled energy, float32."""
        return torch.from_numpy(((np.sqrt(kwh) - self.mean) / self.sd).astype(np.float32))

    def unscale(self, x: Tensor) -> EnergyArray:
        """Energy in kWh, clipped at zero."""
        return (x.double() * self.sd + self.mean).clamp_min(0).square().float().numpy()
