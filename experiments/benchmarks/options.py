"""What the benchmark times, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice

PARTS = (
    "dispatch", "curvature", "influence", "scaling", "cold_start", "feeder", "anomaly", "tuning", "customers",
    "requests", "certified", "private_sums", "joint", "encrypted",
)  # fmt: skip


@dataclass(frozen=True)
class AnomalyBenchmarkOptions:
    """What the part `anomaly` searches.

    Attributes:
        model: folder of a detector that was saved; None trains one on windows of the households.
        windows: trained on at most.
        stride: hours between them.
        scored: windows searched at once, half of them with an injected anomaly where there are as many.
        households: whose windows are scored: test, or validation to choose settings by.
        singles: windows searched one at a time.
        checked: windows searched again alone and in float64, untimed.
        batch_size: of the searches at once.
        starts: of the searches with fewer steps.
        steps: of searches that end early, all windows at once.
        patience: of searches in which each window stops by itself.
        draws: of the households, for the intervals of differences between AUCs.
    """

    model: str | None = None
    windows: int = 12000
    stride: int = 12
    scored: int = 256
    households: str = "test"
    singles: int = 3
    checked: int = 2
    batch_size: int = 256
    starts: tuple[str, ...] = ("random", "encoder", "hourly")
    steps: tuple[int, ...] = (1, 30, 100)
    patience: tuple[int, ...] = (5, 10, 20)
    draws: int = 200


@dataclass(frozen=True)
class BenchmarkOptions:
    """Parts, how often, on how many hours and which grids.

    Attributes:
        parts: some of `PARTS`.
        repeats: of each timing.
        grids: of `dispatch`.
        hours: of `dispatch`, priced at once.
        sample_hours: evenly spaced test hours for the slow peers.
        stream_hours: of `scaling`, which never repeat.
        scaling_grids: of `scaling`.
        sequential_steps: of removals one after the other.
        influence_rows: of a linear problem, 140 -> 14.
        scored_rows: of the same, scored.
        network_rows: of a network 140 -> width -> width -> 14.
        network_width: 925 has a million parameters.
        network_threads: of the network's products.
        feeder_meters: written to files, 24 months.
        feeder_hourly_meters: their hours of a year summed by bus.
        customers: of the part `customers`, simulated.
        customer_days: of their meters.
        request_customers: of the part `requests`, simulated, with as many days.
        private_sum_meters: of the part `private_sums`, with a day of hours each.
        joint_intervals: half-hours of the series in the part `joint`.
        encrypted_meters: of the part `encrypted`, with a day of hours each; 2 to 1,061.
        paillier_meters: of which Paillier encrypts, for 1,000 take minutes; times are per 1,000.
        openfhe_python: interpreter that has OpenFHE and numpy, where this one has not; empty is this one.
        anomaly: of the part `anomaly`.
    """

    parts: tuple[str, ...] = PARTS
    repeats: int = 5
    grids: tuple[str, ...] = ("ieee14", "ieee118")
    hours: tuple[int, ...] = (1752, 8760)
    sample_hours: int = 50
    stream_hours: tuple[int, ...] = (1000, 10000, 100000, 1000000)
    scaling_grids: tuple[str, ...] = ("ieee9", "ieee14", "ieee30", "ieee39", "ieee57", "ieee118")
    sequential_steps: int = 1000
    influence_rows: int = 6000
    scored_rows: int = 7000
    network_rows: int = 5000
    network_width: int = 925
    network_threads: int = 2
    feeder_meters: tuple[int, ...] = (10000, 100000, 1000000)
    feeder_hourly_meters: tuple[int, ...] = (10000, 100000)
    customers: int = 10000
    customer_days: int = 365
    request_customers: int = 1000
    private_sum_meters: int = 10000
    joint_intervals: int = 1488
    encrypted_meters: int = 1000
    paillier_meters: int = 50
    openfhe_python: str = ""
    anomaly: AnomalyBenchmarkOptions = field(default_factory=AnomalyBenchmarkOptions)

    def __post_init__(self) -> None:
        for part in self.parts:
            require_choice("benchmark.parts", part, PARTS)
