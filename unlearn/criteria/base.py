"""The protocol that all criteria follow."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Criterion(Protocol):
    """Something a forecast is judged by; lower is better.

    Called with forecast and true load in p.u., each (n, B); returns one value per hour, (n,),
    differentiable with respect to the forecast.
    """

    name: str
    unit: str

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor: ...
