"""Options of the comparison of techniques, and the words that its records use."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.checks import require_choice, require_count, require_each_once, require_fraction, require_positive

#: Tasks: hourly loads of feeders, and forecasts of them a day ahead.
TOTALS, FORECAST = "totals", "forecast"
TASKS = (TOTALS, FORECAST)
#: Techniques, and what they are measured against.
NONE, SUMS, PSEUDONYMS, CLASSES, DP, SYNTHETIC, FEDERATED, SECURE, SECURE_DP, DP_SYNTHETIC = (
    "none", "sums", "pseudonyms", "classes", "dp", "synthetic", "federated", "secure_sum", "secure_sum_dp",
    "dp_synthetic",
)  # fmt: skip
#: Multiparty computation among meters, and homomorphic encryption: of totals, and of forecasts.
MPC, HE, MPC_FIT, HE_FORECAST = "mpc", "he", "mpc_fit", "he_forecast"
#: Differential privacy of all readings of a home: of totals, and of a federation's model.
DP_HOME, FEDERATED_DP = "dp_home", "federated_dp"
TECHNIQUES = (
    NONE, SUMS, PSEUDONYMS, CLASSES, DP, DP_HOME, SYNTHETIC, FEDERATED, SECURE, MPC, HE, MPC_FIT, HE_FORECAST,
    SECURE_DP, DP_SYNTHETIC, FEDERATED_DP,
)  # fmt: skip
#: Those of a utility that collects all readings.
COLLECTED = (NONE, SUMS, PSEUDONYMS, CLASSES, DP, DP_HOME, SYNTHETIC, DP_SYNTHETIC)
#: The forecast that needs nobody's data but the feeder's own meter.
WEEK = "week_before"
NOISES = ("os", "simulated")


@dataclass(frozen=True)
class ComparisonOptions:
    """How techniques are compared.

    Attributes:
        techniques: among `TECHNIQUES`; the first, no protection, is what all are compared with.
        seeds: of which home is at which feeder and retailer, and of what is drawn but noise.
        epsilons: ε of differential privacy of one reading, in all hours and feeders together.
        main_epsilon: the one of combinations.
        kwh_per_hour: a reading counts with at most this, chosen without looking at the data.
        kwh_per_day: the readings of a home's day count with at most this.
        kwh_per_home: a home counts in a private model with at most this in the root mean square of its hours, chosen
            without looking.
        delta: of differential privacy of a home, which is (ε, δ); that of a reading has no δ.
        class_size: homes that share one curve, at least.
        generator: of synthetic days, by its name.
        profiles: that it releases.
        retailers: who hold the homes among them, where nobody holds all.
        minimum: meters of which a total that meters compute together must be; fewer where feeders are smaller.
        known: half-hourly readings that an attacker knows of a home.
        targets: homes that leave between two releases, one at a time.
        sought: totals with a home that is sought in them, and as many without it.
        hours: test hours that are priced, evenly spaced; None prices all.
        test_every: every so many calendar weeks is tested on and never learnt from.
        noise: "os" through OpenDP; "simulated" repeats itself and is for simulated households alone.
    """

    techniques: tuple[str, ...] = TECHNIQUES
    seeds: tuple[int, ...] = (0, 1, 2)
    epsilons: tuple[float, ...] = (0.1, 1.0)
    main_epsilon: float = 1.0
    kwh_per_hour: float = 5.0
    kwh_per_day: float = 50.0
    kwh_per_home: float = 0.75
    delta: float = 1e-6
    class_size: int = 15
    generator: str = "independent_gaussian"
    profiles: int = 20_000
    retailers: int = 5
    minimum: int = 15
    known: int = 4
    targets: int = 20
    sought: int = 150
    hours: int | None = None
    test_every: int = 4
    noise: str = NOISES[0]

    def __post_init__(self) -> None:
        for name in ("techniques", "seeds", "epsilons"):
            require_each_once(f"comparison.{name}", getattr(self, name))
        for own in self.techniques:
            require_choice("comparison.techniques", own, TECHNIQUES)
        require_choice("comparison.techniques[0]", self.techniques[0], (NONE,))
        for epsilon in (*self.epsilons, self.main_epsilon):
            require_positive("comparison.epsilons", epsilon)
        for name in ("class_size", "profiles", "retailers", "minimum", "known", "targets", "sought"):
            require_count(f"comparison.{name}", getattr(self, name))
        for name in ("kwh_per_hour", "kwh_per_day", "kwh_per_home"):
            require_positive(f"comparison.{name}", getattr(self, name))
        require_fraction("comparison.delta", self.delta)
        if self.hours is not None:
            require_count("comparison.hours", self.hours)
        require_choice("comparison.noise", self.noise, NOISES)
