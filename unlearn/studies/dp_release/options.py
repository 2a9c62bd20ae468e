"""Options of the study of differentially private statistics, and the words that its records use."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count, require_each_once, require_fraction, require_positive
from unlearn.errors import InputError
from unlearn.forecasters.specs import FORECASTERS, TrainingOptions

#: What is measured, in the order of the page.
PARTS = ("noise", "audit", "error", "composition", "queries", "peak", "hierarchy", "local", "single", "utility")
#: Hours of a load curve, by what people call them.
SPANS = {"hour": 1, "day": 24, "week": 168, "year": 8760}
#: Mechanisms of the error and of what forecasters learn from: pure ε, and ε at δ by concentrated differential privacy.
PURE, ZCDP = "discrete_laplace", "discrete_gaussian"
#: Where noise comes from.
NOISES = ("os", "simulated")
#: Shares of a total that an error is compared with, from the document.
WITHIN = (0.01, 0.001)


@dataclass(frozen=True)
class DpReleaseOptions:
    """How statistics with noise are measured.

    Attributes:
        parts: what is measured, among `PARTS`.
        epsilons: ε of load curves and of what forecasters learn from.
        main_epsilon: ε that the page's answer is about.
        kwh_per_hour: a reading counts with at most this, chosen without looking at the data.
        kwh_per_day: the readings of a household's day count with at most this.
        draws: of each mechanism's noise, for its distribution.
        audit_epsilons: ε of audited releases.
        audit_runs: of each audited release, on each of two neighbouring data sets.
        spans: hours of a load curve that share one ε, among `SPANS`.
        samples: hours that an error is measured on.
        answers: numbers of answers whose ε is added up.
        answer_epsilon: ε of each of them.
        composition_delta: δ of all of them together.
        query_days: days that single queries cover.
        query_runs: releases of each query, for the coverage of its intervals.
        confidence: of intervals.
        peak_homes: numbers of homes whose peak is asked for.
        peak_within: relative errors of a peak.
        drop_out: share of meters whose part of distributed noise may be lost.
        forecasters: that learn from what is published.
        training: of networks.
        seeds: of networks, and how often what forecasters learn from is published anew.
        larger: times that each home stands for in feeders beside the true ones.
        hours: test hours that are priced, evenly spaced; None prices all.
        test_every: every so many calendar weeks is forecast and never learnt from.
        noise: "os" through OpenDP; "simulated" repeats itself, protects nobody, and is for simulated households alone.
    """

    parts: tuple[str, ...] = PARTS
    epsilons: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0)
    main_epsilon: float = 1.0
    kwh_per_hour: float = 5.0
    kwh_per_day: float = 50.0
    draws: int = 10_000
    audit_epsilons: tuple[float, ...] = (0.5, 1.0)
    audit_runs: int = 10_000
    spans: tuple[str, ...] = tuple(SPANS)
    samples: int = 2000
    answers: tuple[int, ...] = (1, 24, 168, 8760)
    answer_epsilon: float = 0.5
    composition_delta: float = 1e-6
    query_days: int = 28
    query_runs: int = 200
    confidence: float = 0.95
    peak_homes: tuple[int, ...] = (18, 72, 250, 1000, 10_000, 100_000)
    peak_within: tuple[float, ...] = (0.05, 0.01)
    drop_out: float = 0.1
    forecasters: tuple[str, ...] = ("linear",)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    seeds: tuple[int, ...] = (0, 1, 2)
    larger: tuple[int, ...] = (1, 100)
    hours: int | None = None
    test_every: int = 4
    noise: str = NOISES[0]

    def __post_init__(self) -> None:
        for name, allowed in (("parts", PARTS), ("spans", SPANS), ("forecasters", FORECASTERS)):
            require_each_once(f"dp_release.{name}", getattr(self, name))
            for own in getattr(self, name):
                require_choice(f"dp_release.{name}", own, allowed)
        for name in ("epsilons", "audit_epsilons", "peak_within", "seeds", "larger", "answers", "peak_homes"):
            require_each_once(f"dp_release.{name}", getattr(self, name))
        for epsilon in (*self.epsilons, *self.audit_epsilons, self.answer_epsilon):
            require_positive("dp_release.epsilons", epsilon)
        if self.main_epsilon not in self.epsilons:
            raise InputError(
                f"dp_release.main_epsilon: expected one of the epsilons {list(self.epsilons)}, got "
                f"{self.main_epsilon:g}."
            )
        for own in (self.composition_delta, self.confidence, self.drop_out, *self.peak_within):
            require_fraction("dp_release.composition_delta, .confidence, .drop_out, .peak_within", own)
        for name in ("kwh_per_hour", "kwh_per_day"):
            require_positive(f"dp_release.{name}", getattr(self, name))
        for name in ("draws", "audit_runs", "samples", "query_days", "query_runs"):
            require_count(f"dp_release.{name}", getattr(self, name))
        for own in (*self.answers, *self.peak_homes, *self.larger):
            require_count("dp_release.answers, .peak_homes, .larger", own)
        if self.hours is not None:
            require_count("dp_release.hours", self.hours)
        require_choice("dp_release.noise", self.noise, NOISES)
