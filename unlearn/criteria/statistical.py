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
    """Absolute error in percent of the true load, averaged over loads; the load must not be zero."""

    name = "mape"
    unit = "percent"

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        if (load_pu == 0).any():
            hour = int((load_pu == 0).any(dim=1).nonzero()[0])
            raise InputError(f"MAPE: expected loads other than 0, got a 0 in hour {hour}; use MSE, or drop such hours.")
        return 100 * ((forecast_pu - load_pu).abs() / load_pu.abs()).mean(dim=1)


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
