"""Noise on whole numbers by OpenDP, its scale held against the formula before it is drawn.

Four mechanisms: Laplace noise for ε, Gaussian noise for ρ (zero-concentrated differential privacy), each on whole
numbers, which is the default, or on floats. And a choice by scores. OpenDP draws from the operating system's generator.

Every measurement of OpenDP says what it promises. It is asked, and must say what the formula says, for it has happened
that noise of next to no scale passed under ε = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import numpy as np

from unlearn.checks import FloatArray, IntArray, require_package
from unlearn.dp.noise import NoiseSource
from unlearn.errors import UnlearnError
from unlearn.privacy.release.accuracy import error_bound
from unlearn.privacy.release.base import Contribution, Noisy, Sensitivity, View
from unlearn.registry import Registry

#: Scales are wider than the formula's by this share, so that OpenDP, which rounds against itself, stays below the
#: promise.
_WIDER = 1e-12
#: How far OpenDP's word may be from the promise, as a share of it.
_RTOL = 1e-9


class PromiseError(UnlearnError, ArithmeticError):
    """OpenDP would promise something else than the formula; no noise was drawn."""


@dataclass(frozen=True)
class Mechanism:
    """Independent noise on each of some numbers.

    Attributes:
        name: of the distribution.
        whole: whether it adds whole numbers, not floats.
        promise: what its cost is counted in: "epsilon" or "rho".
    """

    name: str
    whole: bool = True
    promise: str = field(default="epsilon", init=False)

    def scale_for(self, sensitivity: Sensitivity, amount: float) -> float:
        """b = Δ₁ / ε, in whole steps."""
        return sensitivity.l1 / amount * (1 + _WIDER)

    def add(self, totals: IntArray, step: float, sensitivity: Sensitivity, amount: float) -> FloatArray:
        """Add noise that OpenDP draws.

        Args:
            totals: exact sums in whole steps, shape (K,).
            step: what a step stands for.
            sensitivity: how far one contributor moves them.
            amount: ε or ρ.

        Returns:
            Values in the unit of `step`, shape (K,).

        Raises:
            MissingPackageError: OpenDP is not installed.
            PromiseError: the measurement would promise something else.
        """
        dp, scale = opendp(), self.scale_for(sensitivity, amount)
        if self.whole:
            measurement, distance = self._measurement(dp, dp.i64, scale), self._distance(sensitivity)
            _require_promise(f"{self.name} noise", measurement.map(distance), amount)
            return np.array(measurement(totals.tolist()), dtype=np.float64) * step
        measurement = self._measurement(dp, float, scale * step)
        _require_promise(f"{self.name} noise", measurement.map(float(self._distance(sensitivity) * step)), amount)
        return np.array(measurement((totals * step).tolist()), dtype=np.float64)

    def simulate(self, totals: IntArray, step: float, scale: float, source: NoiseSource) -> FloatArray:
        """Add whole steps from a seed, which protects nobody."""
        noise = np.array(self._drawn(len(totals), scale, source), dtype=np.float64)
        return cast(FloatArray, (totals + noise) * step)

    @property
    def simulated_as(self) -> str:
        """Name of what `simulate` draws."""
        return "discrete_" + self.name.removeprefix("discrete_")

    def _distance(self, sensitivity: Sensitivity) -> int:
        return sensitivity.l1

    def _measurement(self, dp: Any, kind: Any, scale: float) -> Any:
        return dp.m.make_laplace(_vectors(dp, kind), dp.l1_distance(T=kind), scale=scale)

    def _drawn(self, n: int, scale: float, source: NoiseSource) -> list[int]:
        return source.discrete_laplaces(n, Fraction(scale))


@dataclass(frozen=True)
class GaussianMechanism(Mechanism):
    """Gaussian noise, whose cost is counted in ρ; see `Mechanism`."""

    promise: str = field(default="rho", init=False)

    def scale_for(self, sensitivity: Sensitivity, amount: float) -> float:
        """σ = Δ₂ / √(2ρ), in whole steps."""
        return sensitivity.l2 / math.sqrt(2 * amount) * (1 + _WIDER)

    def _distance(self, sensitivity: Sensitivity) -> int:
        return sensitivity.l2

    def _measurement(self, dp: Any, kind: Any, scale: float) -> Any:
        return dp.m.make_gaussian(_vectors(dp, kind), dp.l2_distance(T=kind), scale=scale)

    def _drawn(self, n: int, scale: float, source: NoiseSource) -> list[int]:
        return source.discrete_gaussians(n, math.ceil(Fraction(scale) ** 2))


#: Mechanisms by name.
MECHANISMS: Registry[Mechanism] = Registry(
    "mechanism",
    {
        "discrete_laplace": Mechanism("discrete_laplace"),
        "discrete_gaussian": GaussianMechanism("discrete_gaussian"),
        "laplace": Mechanism("laplace", whole=False),
        "gaussian": GaussianMechanism("gaussian", whole=False),
    },
)
#: What is taken where none is named, by what is promised.
DEFAULTS = {"epsilon": "discrete_laplace", "rho": "discrete_gaussian"}


@dataclass(frozen=True)
class Asking:
    """A question under way; see `unlearn.privacy.release.base.Asked`.

    Attributes:
        contribution: the bounds.
        view: what is public.
        confidence: of each interval.
        mechanism: of noise on numbers.
        amount: ε or ρ that the whole question costs.
        source: bits; those of a seed are drawn from instead of by OpenDP.
    """

    contribution: Contribution
    view: View
    confidence: float
    mechanism: Mechanism
    amount: float
    source: NoiseSource

    def noisy(
        self,
        totals: IntArray,
        sensitivity: Sensitivity,
        step: float,
        share: float = 1.0,
        confidence: float | None = None,
    ) -> Noisy:
        """Add noise to whole numbers, at a share of the cost."""
        own, amount = self.mechanism, self.amount * share
        scale = own.scale_for(sensitivity, amount)
        if self.source.kind == "simulated":
            name, values = own.simulated_as, own.simulate(totals, step, scale, self.source)
        else:
            name, values = own.name, own.add(totals, step, sensitivity, amount)
        bound = error_bound(name, scale, 1, self.confidence if confidence is None else confidence) * step
        return Noisy(values, values - bound, values + bound, name, scale * step)

    def selected(self, scores: IntArray, linf: int, share: float) -> int:
        """Choose a position with a high score, at a share of the cost.

        OpenDP's noisy maximum: of scores with exponential noise for ε, which is permute-and-flip (McKenna and Sheldon
        2020), with Gumbel noise for ρ, which is the exponential mechanism.
        """
        scale, rho = self.selection_scale(linf, share), self.mechanism.promise == "rho"
        if self.source.kind == "simulated":
            uniform = ((self.source.words(len(scores)) >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
            noise = -np.log(uniform)
            return int(np.argmax(scores / scale + (-np.log(noise + 1e-300) if rho else noise)))
        dp = opendp()
        measure = dp.zero_concentrated_divergence() if rho else dp.max_divergence()
        chosen = dp.m.make_noisy_max(_vectors(dp, dp.i64), dp.linf_distance(T=dp.i64), measure, scale)
        _require_promise("a choice", chosen.map(linf), self.amount * share)
        return int(chosen(scores.tolist()))

    def selection_scale(self, linf: int, share: float) -> float:
        """Scale s of such a choice: a score that is s log(m / β) below the highest of m has a chance below β.

        It is 2 Δ / ε, and Δ / √(2ρ), for then the exponential mechanism has ε = 2 Δ / s and ρ = ε² / 8 (Cesar and
        Rogers 2021).
        """
        amount = self.amount * share
        width = 1 / math.sqrt(2 * amount) if self.mechanism.promise == "rho" else 2 / amount
        return linf * width * (1 + _WIDER)


def opendp() -> Any:
    """OpenDP with the features that are needed.

    Raises:
        MissingPackageError: it is not installed.
    """
    require_package("unlearn.privacy.release", "opendp", '"unlearn[release]"')
    import opendp.prelude as dp  # half a second to import

    dp.enable_features("contrib")
    return dp


def _vectors(dp: Any, kind: Any) -> Any:
    return dp.vector_domain(dp.atom_domain(T=float, nan=False) if kind is float else dp.atom_domain(T=kind))


def _require_promise(what: str, found: float, amount: float) -> None:
    if not amount * (1 - _RTOL) <= found <= amount:
        raise PromiseError(
            f"{what}: expected a promise of {amount:g}, got {found:g} from OpenDP for the scale of the formula. "
            "Nothing was released; install the version of OpenDP that this library names."
        )
