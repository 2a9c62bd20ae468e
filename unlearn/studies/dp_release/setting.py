"""Who is published of and how: households at feeders, their bounded sums, and noise at any level and ε."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray, require_package, short_repr
from unlearn.dp import SimulatedNoise, noise_source
from unlearn.dp.composition import rho_for
from unlearn.dp.noise import NoiseSource
from unlearn.grid import OperatingCost
from unlearn.households import HouseholdProfiles, hourly_meters
from unlearn.households.meters import RESOLUTION_KWH, Meters
from unlearn.privacy.release.base import Contribution, Noisy, Sensitivity, View
from unlearn.privacy.release.bounding import bounded_steps, energy_sensitivity
from unlearn.privacy.release.mechanisms import MECHANISMS, Asking
from unlearn.privacy.release.queries import by_group
from unlearn.studies._shared.feeders import AREA, PER_SUBSTATION, Feeders, feeders_of
from unlearn.studies.dp_release.options import SPANS, DpReleaseOptions

#: Places that a total is of.
PLACES = ("feeder", "substation", AREA)
#: All hours that there are, beside the spans.
ALL = "all"
#: Seed of what repeats itself of the measurement, such as which hours are looked at; noise has none.
SEED = 0


@short_repr
@dataclass(frozen=True, eq=False)
class Setting:
    """Households at feeders, and how noise is added to sums of them.

    Attributes:
        feeders: households by feeder, substation and area.
        options: what is measured.
        source: bits of noise that OpenDP does not draw.
    """

    feeders: Feeders
    options: DpReleaseOptions
    source: NoiseSource = field(repr=False)

    def _in_short(self) -> str:
        return f"{self.feeders}, noise from {self.source.kind}"

    @property
    def meters(self) -> Meters:
        return self.feeders.meters

    @property
    def n_homes(self) -> int:
        return len(self.meters)

    @property
    def delta(self) -> float:
        """δ of releases of all these homes."""
        return delta_of(self.n_homes)

    @cached_property
    def view(self) -> View:
        """All hours, by feeder."""
        return View(self.meters.hours, self.feeders.names)

    @cached_property
    def kwh(self) -> FloatArray:
        """Readings of all homes, shape (C, H)."""
        return self.meters.series(np.arange(self.n_homes))

    @cached_property
    def kwh_per_home(self) -> float:
        """Mean energy of a home in an hour."""
        return float(self.kwh.mean())

    def contribution(self, level: str) -> Contribution:
        """Bounds of a contributor at a level."""
        return Contribution(level, self.options.kwh_per_hour, self.options.kwh_per_day)

    def steps(self, level: str) -> IntArray:
        """Bounded readings of all homes in whole steps, shape (C, H)."""
        return bounded_steps(self.kwh, self.contribution(level), self.view)

    def bounded_kwh(self, level: str) -> FloatArray:
        """Bounded hourly energy of feeders, shape (B, H)."""
        found = by_group(self.steps(level), self.feeders.feeder_of, self.view)
        return found.astype(np.float64) * RESOLUTION_KWH

    def at(self, place: str, feeders: FloatArray) -> FloatArray:
        """Sums at feeders, substations or the area of values of feeders, shape (B, n)."""
        if place == PLACES[0]:
            return feeders
        if place == AREA:
            return feeders.sum(axis=0, keepdims=True)
        return np.add.reduceat(feeders, np.arange(0, len(feeders), PER_SUBSTATION), axis=0)

    def sensitivity(self, level: str, span: str) -> Sensitivity:
        """How far one contributor moves the curve of a span of hours, or of all that there are."""
        return energy_sensitivity(self.contribution(level), self.view if span == ALL else span_view(span), "h")

    def amount(self, mechanism: str, epsilon: float, delta: float | None = None) -> float:
        """What a mechanism is asked to cost: ε, or the ρ that keeps (ε, δ)."""
        if MECHANISMS[mechanism].promise == "epsilon":
            return epsilon
        return rho_for(epsilon, self.delta if delta is None else delta)

    def scale_kwh(self, mechanism: str, level: str, span: str, epsilon: float, delta: float | None = None) -> float:
        """Scale of the noise of a curve over a span, in kWh."""
        own = MECHANISMS[mechanism]
        return own.scale_for(self.sensitivity(level, span), self.amount(mechanism, epsilon, delta)) * RESOLUTION_KWH

    def asking(self, level: str, mechanism: str, amount: float, view: View | None = None) -> Asking:
        """A question under way, as a release asks it."""
        confidence = self.options.confidence
        contribution = self.contribution(level)
        return Asking(contribution, view or self.view, confidence, MECHANISMS[mechanism], amount, self.source)

    def noise(self, mechanism: str, level: str, span: str, epsilon: float, shape: tuple[int, ...]) -> FloatArray:
        """Noise of a curve over a span in kWh, as it is drawn for a release."""
        return self.drawn(mechanism, self.sensitivity(level, span), self.amount(mechanism, epsilon), shape).values

    def drawn(self, mechanism: str, sensitivity: Sensitivity, amount: float, shape: tuple[int, ...]) -> Noisy:
        """Noise on zeros in kWh: the values have the shape, all else is as in an answer."""
        zeros = np.zeros(math.prod(shape), dtype=np.int64)
        found = self.asking("event", mechanism, amount).noisy(zeros, sensitivity, RESOLUTION_KWH)
        return found._replace(values=found.values.reshape(shape))

    @property
    def fingerprint(self) -> str:
        """What identifies the readings and who is where."""
        text = "".join(self.meters.digests) + ",".join(map(str, self.feeders.feeder_of.tolist()))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        return self.meters.name


def make_setting(households: HouseholdProfiles | Meters, cost: OperatingCost, options: DpReleaseOptions) -> Setting:
    """Spread households over feeders.

    Raises:
        InputError: see `feeders_of`; or simulated noise for households that are not.
        MissingPackageError: noise is to come from OpenDP, which is not installed.
    """
    meters = hourly_meters(households) if isinstance(households, HouseholdProfiles) else households
    require_noise(options)
    source = noise_source("os" if options.noise == "os" else SimulatedNoise(SEED), meters)
    feeders = feeders_of(meters, cost, options.test_every, SEED)
    return Setting(feeders, options, source)


def require_noise(options: DpReleaseOptions) -> None:
    """Refuse a study whose noise nobody can draw, before anything is read.

    Raises:
        MissingPackageError: OpenDP is not installed.
    """
    if options.noise == "os":
        require_package("dp_release", "opendp", '"unlearn[release]"')


def delta_of(homes: float) -> float:
    """δ of a release of so many homes: a tenth of one over their number."""
    return 1 / (10 * homes)


def span_view(span: str) -> View:
    """Any hours of a span: sensitivities depend on how many there are, and on whole days."""
    hours = pd.date_range("2001-01-01", periods=SPANS[span], freq="h")
    return View(hours, ("all",))
