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

    A load of 0 has no such error: it is refused, or left out, so that an hour is averaged over its other loads.
    """

    name = "mape"
    unit = "percent"

    def __init__(self, leave_out_zeros: bool = False) -> None:
        self.leave_out_zeros = leave_out_zeros

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        known = load_pu != 0
        refused = ~known.any(dim=1) if self.leave_out_zeros else ~known.all(dim=1)
        if refused.any():
            hour = int(refused.nonzero()[0])
            what = "a load other than 0" if self.leave_out_zeros else "loads other than 0"
            remedy = (
                "drop such hours" if self.leave_out_zeros else "use MSE, MAPE(leave_out_zeros=True), or drop such hours"
            )
            raise InputError(
                f"MAPE: expected {what}, got {'only 0' if self.leave_out_zeros else 'a 0'} in hour {hour}; {remedy}."
            )
        share = (forecast_pu - load_pu).abs() / torch.where(known, load_pu.abs(), torch.inf)
        return 100 * share.sum(dim=1) / known.sum(dim=1)


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
