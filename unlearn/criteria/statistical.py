"""Statistical criteria: mean squared error, mean absolute percentage error, weighted sums."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unlearn.criteria.base import Criterion
from unlearn.errors import InputError


class MSE:
    """Squared error in p.u.², averaged over loads."""

    name = "mse"
    unit = "pu2"

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        return (forecast_pu - load_pu).square().mean(dim=1)


class MAPE:
    """Absolute error in percent of the true load, averaged over loads.

    Args:
        skip_zeros: average over the loads that are not zero, of which each hour must have one; otherwise none may be
            zero.
    """

    name = "mape"
    unit = "percent"

    def __init__(self, skip_zeros: bool = False) -> None:
        self.skip_zeros = skip_zeros

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        zero = load_pu == 0
        if not zero.any():
            return 100 * ((forecast_pu - load_pu).abs() / load_pu.abs()).mean(dim=1)
        bad = zero.all(dim=1, keepdim=True) if self.skip_zeros else zero
        if bad.any():
            hour, load = bad.nonzero()[0].tolist()
            which = "nothing but 0" if self.skip_zeros else f"a 0 of load {load}"
            mend = "Drop such hours" if self.skip_zeros else "Pass MAPE(skip_zeros=True) to leave such loads out"
            raise InputError(f"MAPE: expected loads other than 0, got {which} in hour {hour}. {mend}, or use MSE.")
        share = (forecast_pu - load_pu).abs() / torch.where(zero, 1, load_pu.abs())
        return 100 * torch.where(zero, 0, share).sum(dim=1) / (~zero).sum(dim=1)


class Weighted:
    """A weighted sum of criteria (paper section III: criteria may be integrated)."""

    unit = "mixed"

    def __init__(self, parts: Mapping[Criterion, float]) -> None:
        if not parts:
            raise InputError("Weighted: expected at least one criterion.")
        self._parts = dict(parts)
        self.name = "+".join(f"{weight:g}*{part.name}" for part, weight in self._parts.items())

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        terms = [weight * part(forecast_pu, load_pu) for part, weight in self._parts.items()]
        return torch.stack(terms).sum(dim=0)
