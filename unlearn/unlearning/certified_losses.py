"""Losses that certified removal can bound: convex, and with a curvature that is Lipschitz in the forecast.

Each is `ℓ(z, y)` of a forecast z and a target y. `lipschitz` is γ, the least constant with
`|ℓ''(z, y) − ℓ''(z', y)| ≤ γ |z − z'|` for all z, z', y; it equals the supremum of `|ℓ'''|`, which exists almost
everywhere. A quadratic loss has γ = 0 and needs none of this: `unlearn.forget` is exact for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from scipy.special import expit

from unlearn.checks import FloatArray, require_fraction, require_positive
from unlearn.errors import InputError
from unlearn.registry import Registry


class CertifiedLoss(Protocol):
    """`ℓ(z, y)`, convex in z and twice differentiable, with a Lipschitz second derivative. All work elementwise.

    Attributes:
        name: in records and certificates.
    """

    name: ClassVar[str]

    @property
    def lipschitz(self) -> float:
        """γ: the Lipschitz constant of ℓ'' in z."""
        ...

    def targets(self, target: FloatArray) -> FloatArray:
        """The targets as the loss takes them.

        Raises:
            InputError: targets that the loss is not for.
        """
        ...

    def value(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """ℓ."""
        ...

    def slope(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """ℓ', the derivative in z."""
        ...

    def curvature(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """ℓ'', at least 0."""
        ...

    def third(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """ℓ''' where it exists, at most γ in size."""
        ...


@dataclass(frozen=True)
class Logistic:
    """`log(1 + exp(−y z))` for y of −1 or 1: is this an hour of peak load? Targets may also be 0 or 1, or booleans.

    With s = 1/(1 + exp(−z)): `ℓ'' = s(1 − s)` and `ℓ''' = s(1 − s)(1 − 2s)`, largest at s = (3 ± √3)/6, so
    `γ = 1/(6√3) = 0.0962`.

    >>> round(Logistic().lipschitz, 4)
    0.0962
    """

    name: ClassVar[str] = "logistic"

    @property
    def lipschitz(self) -> float:
        return 1 / (6 * math.sqrt(3))

    def targets(self, target: FloatArray) -> FloatArray:
        found = set(np.unique(target).tolist())
        if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
            raise InputError(
                f"target: expected 0 and 1, or -1 and 1, for the logistic loss, got {len(found)} different values from "
                f"{target.min():g} to {target.max():g}. Pass target > threshold, or take another loss."
            )
        return np.where(target > 0, 1.0, -1.0)

    def value(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return np.logaddexp(0.0, -y * z)

    def slope(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return -y * expit(-y * z)

    def curvature(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return expit(z) * expit(-z)

    def third(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return expit(z) * expit(-z) * (expit(-z) - expit(z))


@dataclass(frozen=True)
class PseudoHuber:
    """`δ² (√(1 + (e/δ)²) − 1)` of the error e = z − y: half its square where it is small, δ|e| where it is large.

    With t = e/δ: `ℓ'' = (1 + t²)^(−3/2)` and `ℓ''' = −3t (1 + t²)^(−5/2) / δ`, largest at t = ½, so
    `γ = 48 / (25 √5 δ) = 0.859 / δ`.

    Attributes:
        width: δ, in units of the target. Errors far above it count by their size, not by its square.

    >>> round(PseudoHuber(0.1).lipschitz, 3)
    8.587
    """

    width: float = 0.3

    name: ClassVar[str] = "pseudo_huber"

    def __post_init__(self) -> None:
        require_positive("width", self.width)

    @property
    def lipschitz(self) -> float:
        return 48 / (25 * math.sqrt(5) * self.width)

    def targets(self, target: FloatArray) -> FloatArray:
        return target

    def value(self, z: FloatArray, y: FloatArray) -> FloatArray:
        t = (z - y) / self.width
        return (z - y) ** 2 / (1 + np.sqrt(1 + t**2))

    def slope(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return (z - y) / np.sqrt(1 + ((z - y) / self.width) ** 2)

    def curvature(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return (1 + ((z - y) / self.width) ** 2) ** -1.5

    def third(self, z: FloatArray, y: FloatArray) -> FloatArray:
        t = (z - y) / self.width
        return -3 * t * (1 + t**2) ** -2.5 / self.width


@dataclass(frozen=True)
class SmoothPinball:
    """The pinball loss of a quantile τ, averaged over a triangle of half-width h around the error e = z − y.

    `ℓ'' = (1 − |e|/h)₊ / h`: the triangle itself. It is continuous, and `ℓ''' = −sign(e) / h²` within the triangle and
    0 outside, so `γ = 1/h²`. Beyond h the loss is the pinball loss exactly, `τ(y − z)` below the target and
    `(1 − τ)(z − y)` above it.

    Attributes:
        tau: τ, between 0 and 1; 0.5 is half the absolute error.
        width: h, in units of the target. A small one is closer to the pinball loss and costs more noise, with 1/h². One
            above the spread of the errors shifts all forecasts: were all errors 0 but for the shift, by 0.37 h at τ of
            0.8.

    >>> SmoothPinball(0.9, width=0.5).lipschitz
    4.0
    """

    tau: float = 0.5
    width: float = 0.2

    name: ClassVar[str] = "smooth_pinball"

    def __post_init__(self) -> None:
        require_fraction("tau", self.tau)
        require_positive("width", self.width)

    @property
    def lipschitz(self) -> float:
        return 1 / self.width**2

    def targets(self, target: FloatArray) -> FloatArray:
        return target

    def value(self, z: FloatArray, y: FloatArray) -> FloatArray:
        # -τ e + max(e, 0), the latter smoothed: it is even in |e| but for the ramp itself.
        left = np.maximum(1 - np.abs(z - y) / self.width, 0.0)
        return -self.tau * (z - y) + np.maximum(z - y, 0.0) + self.width * left**3 / 6

    def slope(self, z: FloatArray, y: FloatArray) -> FloatArray:
        left = np.maximum(1 - np.abs(z - y) / self.width, 0.0)
        return -self.tau + np.where(z < y, left**2 / 2, 1 - left**2 / 2)

    def curvature(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return np.maximum(1 - np.abs(z - y) / self.width, 0.0) / self.width

    def third(self, z: FloatArray, y: FloatArray) -> FloatArray:
        return np.where(np.abs(z - y) < self.width, -np.sign(z - y), 0.0) / self.width**2


#: Losses by name. An object of one's own that satisfies `CertifiedLoss` needs no name.
CERTIFIED_LOSSES: Registry[type[CertifiedLoss]] = Registry(
    "loss", {"logistic": Logistic, "pseudo_huber": PseudoHuber, "smooth_pinball": SmoothPinball}
)
