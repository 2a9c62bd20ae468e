"""Settings of feeders: what to generate, refused before any work if it cannot be.

Feeders as a generator of daily profiles: the days of some of its meters, and its documented files beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unlearn.checks import require_choice
from unlearn.errors import InputError
from unlearn.generators.base import Generator
from unlearn.generators.feeder.anomalies import ANOMALIES

if TYPE_CHECKING:
    import pandas as pd

    from unlearn.households.profiles import DailyProfiles


#: Meters that share a random stream. Part of what a seed means: another size gives other meters.
BLOCK = 1024


class Stream(IntEnum):
    """What a random stream is for; the numbers are part of what a seed means."""

    COUNTS = 0
    TRANSFORMERS = 1
    CLIMATE = 2
    ANOMALOUS = 3
    METERS = 4
    ANOMALIES = 5
    HOURS = 6
    PROFILES = 7


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of a stream; `index` is the block, or block and month."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(stream), *index)))


#: Customer classes, in the order of their codes.
CLASSES = ("residential", "commercial", "industrial")
#: TX_9999 and FD_99 are the last identifiers of four and two digits.
MAX_TRANSFORMERS = 9_999
MAX_FEEDERS = 99
_COUNTS = {
    "num_transformers": MAX_TRANSFORMERS,
    "num_meters": 100_000_000,
    "num_months": 1_200,
    "num_feeders": MAX_FEEDERS,
}


@dataclass(frozen=True)
class FeederOptions:
    """What feeders and their meters are like; all are JSON values.

    Defaults are those of the GhostLoad Mapper document. Its baselines give a mean and a standard deviation per
    class; consumption is lognormal with that mean and deviation (a normal of mean 150 and deviation 450 would be
    negative for 37 % of meters).

    Attributes:
        num_transformers: 1 to 9,999 (identifiers TX_0001 to TX_9999).
        num_meters: at least 1. Identifiers are MTR_000001 and so on; from the millionth meter on they have
            a digit more.
        num_months: months of consumption, the last of which is `last_month`.
        anomaly_rate: share of anomalous meters, in [0, 1); round(rate * num_meters) meters are anomalous.
        customer_classes: probability of each class; residential, commercial, industrial, or some of them.
        consumption_baselines: mean and standard deviation of a meter's monthly use in kWh, by class; classes that
            are left out keep their defaults.
        geo_bounds: `lat` and `lon`, each lower and upper bound in degrees. Default: Metro Manila.
        last_month: such as 2023-12; never taken from the calendar on the wall.
        num_feeders: feeders that clusters of transformers are divided among; as many as there are clusters at most.
        anomaly_types: probability of each type, of those in `ANOMALIES`.
        risk_thresholds: severity from which an anomaly is of Medium and of High risk, else Low. Severity is the share
            of the normal energy that the anomaly adds or removes over all months, at most 1.
        parquet: write each table as parquet, too.
        hourly: write `hourly_consumption.parquet`, too: a row per meter and day, its energy of 24 hours.
        grid: name or path of a grid case; if given, the hourly load of its buses is written, too.

    Raises:
        InputError: a setting that cannot be met; the message names it.
    """

    num_transformers: int = 50
    num_meters: int = 2000
    num_months: int = 12
    anomaly_rate: float = 0.075
    customer_classes: Mapping[str, float] = field(
        default_factory=lambda: {"residential": 0.70, "commercial": 0.20, "industrial": 0.10}
    )
    consumption_baselines: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    geo_bounds: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {"lat": (14.4, 14.7), "lon": (120.9, 121.2)}
    )
    last_month: str = "2023-12"
    num_feeders: int = 10
    anomaly_types: Mapping[str, float] = field(default_factory=lambda: {"low_consumption": 1.0})
    risk_thresholds: tuple[float, float] = (0.65, 0.75)
    parquet: bool = False
    hourly: bool = False
    grid: str | None = None

    def __post_init__(self) -> None:
        for name, largest in _COUNTS.items():
            _require_integer(name, getattr(self, name), 1, largest)
        if not _is_number(self.anomaly_rate) or not 0 <= self.anomaly_rate < 1:
            raise InputError(f"anomaly_rate: expected a share of at least 0 and below 1, got {self.anomaly_rate!r}.")
        _set(self, "customer_classes", _probabilities("customer_classes", self.customer_classes, CLASSES))
        _set(self, "consumption_baselines", _baselines(self.consumption_baselines))
        _set(self, "geo_bounds", _bounds(self.geo_bounds))
        _set(self, "anomaly_types", _probabilities("anomaly_types", self.anomaly_types, ANOMALIES))
        _set(self, "last_month", str(_month(self.last_month, self.num_months)))
        medium, high = _pair("risk_thresholds", self.risk_thresholds, "severity of Medium and of High risk")
        if not 0 <= medium <= high <= 1:
            raise InputError(f"risk_thresholds: expected 0 <= Medium <= High <= 1, got {medium} and {high}.")
        _set(self, "risk_thresholds", (medium, high))
        for name in ("parquet", "hourly"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}: expected true or false, got {getattr(self, name)!r}.")
        if self.grid is not None and not (isinstance(self.grid, str) and self.grid):
            raise InputError(f"grid: expected the name of a case such as ieee14, or none, got {self.grid!r}.")


@dataclass(frozen=True)
class GeneratorConfig(FeederOptions):
    """Settings of one run of the generator: those of `FeederOptions`, and

    Attributes:
        random_seed: the same seed and settings give the same bytes.
        output_dir: folder that the files are written to, a text or a path.

    Raises:
        InputError: a setting that cannot be met; the message names it.
    """

    random_seed: int = 42
    output_dir: str | Path = "generated_data"

    def __post_init__(self) -> None:
        _require_integer("random_seed", self.random_seed, 0, 2**63 - 1)
        if not isinstance(self.output_dir, str | Path) or not str(self.output_dir):
            raise InputError(f"output_dir: expected the path of a folder, got {self.output_dir!r}.")
        super().__post_init__()

    @property
    def months(self) -> pd.PeriodIndex:
        """The months of consumption, in order."""
        import pandas as pd

        return pd.period_range(end=self.last_month, periods=self.num_months, freq="M")

    @property
    def consumption_columns(self) -> list[str]:
        """Names `monthly_consumption_YYYYMM`, in order."""
        return [f"monthly_consumption_{month:%Y%m}" for month in self.months]

    @property
    def num_anomalies(self) -> int:
        """How many meters are anomalous."""
        return round(self.anomaly_rate * self.num_meters)

    def class_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability, mean and standard deviation in kWh a month of each of `CLASSES`, each of shape (3,)."""
        share = np.array([self.customer_classes.get(name, 0.0) for name in CLASSES])
        mean_kwh, sd_kwh = np.array([self.consumption_baselines[name] for name in CLASSES]).T
        return share, mean_kwh, sd_kwh

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {"random_seed": self.random_seed, **asdict(self), "output_dir": str(self.output_dir)}


BASELINES: dict[str, tuple[float, float]] = {
    "residential": (150.0, 450.0),
    "commercial": (800.0, 300.0),
    "industrial": (2500.0, 800.0),
}


def _set(config: FeederOptions, name: str, value: object) -> None:
    object.__setattr__(config, name, value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _require_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name}: expected a whole number from {low} to {high:,}, got {value!r}.")


def _pair(name: str, value: object, meaning: str) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(map(_is_number, pair)):
        raise InputError(f"{name}: expected two numbers ({meaning}), got {value!r}.")
    return float(pair[0]), float(pair[1])


def _mapping(name: str, value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: expected a mapping of {what}, got {value!r}.")
    return dict(value)


def _probabilities(name: str, value: object, known: Any) -> dict[str, float]:
    given = _mapping(name, value, "names to probabilities")
    for key, share in given.items():
        require_choice(name, key, known)
        if not _is_number(share) or not 0 <= share <= 1:
            raise InputError(f"{name}: expected a probability from 0 to 1 for {key}, got {share!r}.")
    total = math.fsum(given.values())
    if abs(total - 1) > 1e-9:
        raise InputError(f"{name} probabilities must sum to 1.0, got {total:.12g} from {given}. Mend one of them.")
    return {key: float(share) for key, share in given.items()}


def _baselines(value: object) -> dict[str, tuple[float, float]]:
    baselines = dict(BASELINES)
    for key, pair in _mapping("consumption_baselines", value, "classes to mean and deviation").items():
        require_choice("consumption_baselines", key, CLASSES)
        mean, deviation = _pair(f"consumption_baselines {key}", pair, "mean and standard deviation in kWh a month")
        if not 0 < mean <= 1e6 or not 0 <= deviation <= 10 * mean:
            raise InputError(
                f"consumption_baselines {key}: expected a mean above 0 and up to 1e6 kWh and a standard deviation from "
                f"0 to 10 times the mean, got {mean:g} and {deviation:g}."
            )
        baselines[key] = (mean, deviation)
    return baselines


def _bounds(value: object) -> dict[str, tuple[float, float]]:
    given = _mapping("geo_bounds", value, "lat and lon to lower and upper bounds")
    if set(given) != {"lat", "lon"}:
        raise InputError(f"geo_bounds: expected the keys lat and lon, got {sorted(map(str, given))}.")
    bounds = {}
    # Nearer the poles a degree of longitude has no length to speak of.
    for key, limit in (("lat", 85.0), ("lon", 180.0)):
        low, high = _pair(f"geo_bounds {key}", given[key], "lower and upper bound in degrees")
        if not -limit <= low < high <= limit or high - low < 0.001:
            raise InputError(
                f"geo_bounds {key}: expected lower < upper bound within -{limit:g} to {limit:g} degrees, 0.001 or "
                f"more apart, got {low:g} and {high:g}."
            )
        bounds[key] = (low, high)
    return bounds


def _month(value: object, num_months: int) -> pd.Period:
    import pandas as pd

    try:
        month = pd.Period(value, freq="M") if isinstance(value, str) and len(value) == 7 else None
    except ValueError:
        month = None
    # The generator's climate covers a year at least, and times are in nanoseconds: from 1678 to 2261.
    if month is None or month.year > 2261 or month.year - 2 - num_months // 12 < 1678:
        raise InputError(
            f"last_month: expected a month such as 2023-12 that ends {num_months} months between 1680 and 2261, "
            f"got {value!r}."
        )
    return month


@dataclass(frozen=True)
class FeederGenerator(FeederOptions, Generator):
    """Days of the meters of feeders; knows no household data. Settings are those of `FeederOptions`, and

    Attributes:
        name: of its releases.
        profile_classes: probability of each customer class among the meters whose days are released.
    """

    learns: ClassVar[bool] = False

    name: str = field(default="feeder", compare=False)
    profile_classes: Mapping[str, float] = field(default_factory=lambda: {"residential": 1.0})

    def release(
        self, train: DailyProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Release days of meters in steps of an hour; of the training households nothing is used.

        Raises:
            InputError: more days than the meters have, or probabilities that are none.
        """
        from unlearn.generators.feeder.hourly import daily_profiles

        config = self.config(seed, customer_classes=self.profile_classes)
        return replace(daily_profiles(config, n, seed), name=self.name)

    def feeder(self, seed: int, folder: Path) -> dict[str, Any]:
        """Write the documented files into a folder and return the tables.

        Raises:
            DataError: a check of what was generated failed.
        """
        from unlearn.generators.feeder.pipeline import SyntheticDataPipeline

        pipeline = SyntheticDataPipeline(self.config(seed, output_dir=folder))
        outputs = pipeline.generate_all()
        pipeline.save_outputs(outputs)
        return outputs

    def config(self, seed: int, **changed: Any) -> GeneratorConfig:
        """The settings of one run of the documented generator."""
        own = {own.name: getattr(self, own.name) for own in fields(FeederOptions)}
        return GeneratorConfig(random_seed=seed, **{**own, **changed})
