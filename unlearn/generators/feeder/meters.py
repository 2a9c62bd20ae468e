"""Meters: class, position, rating, monthly consumption and anomalies, a block at a time.

Load shapes of customer classes follow a seeded tropical climate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.generators.feeder.anomalies import AnomalyEffect, MeterUse, apply_anomaly
from unlearn.generators.feeder.config import BLOCK, CLASSES, GeneratorConfig, Stream, generator
from unlearn.generators.feeder.transformers import (
    HOURS_PER_MONTH,
    LOAD_FACTOR,
    METER,
    POWER_FACTOR,
    TRANSFORMER,
    TransformerGenerator,
    identifiers,
    meter_counts,
    scatter,
)

#: Hours by which customers' days are shifted, each as likely.
SHIFTS = (-2, -1, 0, 1, 2)

#: Rise of use per degree of cooling (K), and spread of an hour about its expectation, by class.
_COOLING = np.array([0.10, 0.08, 0.02])
_SPREAD = np.array([0.70, 0.35, 0.15])


class LoadShapes:
    """Expected load of each kind of meter, hour by hour.

    A kind is a class of customers and a shift of their day. The load of a kind is
    `activity(class, weekday, hour + shift) * (1 + rise(class) * cooling(temperature))`. Its sum over a month is the
    season, its share by hour of the day is what a night-time bypass takes from, and within a month it is the shape
    that a meter's hours follow: months and hours come from one model.

    Attributes:
        months: the M months of the configuration.
        n_kinds: K, classes times shifts; kind = class * 5 + shift.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.months = config.months
        self.n_kinds = len(CLASSES) * len(SHIFTS)
        self._seed = config.random_seed
        # The season averages 1 over the last year, so a year is there even if fewer months are wanted.
        self._covered = pd.period_range(end=self.months[-1], periods=max(12, len(self.months)), freq="M")
        self._first_hour = np.concatenate([[0], 24 * np.cumsum(self._covered.days_in_month)])
        self._unwanted = len(self._covered) - len(self.months)

    @property
    def timestamps(self) -> pd.DatetimeIndex:
        """Starts of the hours of all months."""
        end = self.months[-1].end_time.floor("h")
        return pd.date_range(self.months[0].start_time, end, freq="h", name="timestamp")

    @property
    def temperature_c(self) -> FloatArray:
        """Temperature of the region in each hour of all months, in °C, shape (H,)."""
        return self._temperature_c[self._first_hour[self._unwanted] :]

    def hours_in(self, month: int) -> int:
        """Hours of the month at this position."""
        return int(np.diff(self._first_hour)[month + self._unwanted])

    def first_hour(self, month: int) -> int:
        """Position of the month's first hour among all hours."""
        return int(self._first_hour[month + self._unwanted] - self._first_hour[self._unwanted])

    def weights(self, month: int) -> FloatArray:
        """Expected load of each kind in each hour of a month, relative, shape (K, hours)."""
        return self._weights(month + self._unwanted)

    @cached_property
    def season(self) -> FloatArray:
        """Use of each month relative to the mean month of the last year, shape (K, M)."""
        energy = self._energy_by_hour_of_day.sum(axis=2)
        return (energy / energy[:, -12:].mean(axis=1, keepdims=True))[:, self._unwanted :]

    @cached_property
    def hour_share(self) -> FloatArray:
        """Share of each month's energy by hour of the day, shape (K, M, 24)."""
        energy = self._energy_by_hour_of_day[:, self._unwanted :]
        return energy / energy.sum(axis=2, keepdims=True)

    @staticmethod
    def spread(kind: np.ndarray) -> FloatArray:
        """Standard deviation of an hour about its expectation, relative, of meters of these kinds."""
        return _SPREAD[kind // len(SHIFTS)]

    @cached_property
    def _energy_by_hour_of_day(self) -> FloatArray:
        sums = [self._weights(m).reshape(self.n_kinds, -1, 24).sum(axis=1) for m in range(len(self._covered))]
        return np.stack(sums, axis=1)

    def _weights(self, covered: int) -> FloatArray:
        month = self._covered[covered]
        weekday = (month.start_time.day_of_week + np.arange(month.days_in_month)) % 7
        # (3, days, 24) -> (3, 5, days * 24)
        activity = np.stack([np.roll(_ACTIVITY, -shift, axis=2) for shift in SHIFTS], axis=1)[:, :, weekday]
        hours = slice(self._first_hour[covered], self._first_hour[covered + 1])
        cooling = 1.5 * np.logaddexp(0.0, (self._temperature_c[hours] - 26.0) / 1.5)
        activity = activity.reshape(len(CLASSES), len(SHIFTS), -1) * (1 + _COOLING[:, None, None] * cooling)
        return activity.reshape(self.n_kinds, -1)

    @cached_property
    def _temperature_c(self) -> FloatArray:
        """Warmest in May, coolest in January, days of 7 K and spells of about four days."""
        random = generator(self._seed, Stream.CLIMATE)
        n_hours = int(self._first_hour[-1])
        memory = np.exp(-np.arange(40) / 4.0)
        shocks = random.standard_normal(n_hours // 24 + 1 + len(memory) - 1)
        spells = np.convolve(shocks, memory / np.linalg.norm(memory), mode="valid")
        hour = np.arange(n_hours)
        start = self._covered[0].start_time
        day_of_year = start.day_of_year + hour / 24
        return (
            27.6
            + 1.8 * np.cos(2 * np.pi * (day_of_year - 130) / 365.25)
            + 3.5 * np.cos(2 * np.pi * (hour % 24 - 14) / 24)
            + np.interp(hour / 24, np.arange(len(spells)), spells)
        )


def _activity() -> FloatArray:
    """What each class uses by weekday (Monday first) and hour, before weather, shape (3, 7, 24)."""
    hour = np.arange(24.0)

    def bump(centre: float, width: float) -> FloatArray:
        distance = (hour - centre + 12) % 24 - 12
        return np.exp(-0.5 * (distance / width) ** 2)

    residential = 0.40 + 0.20 * bump(6.5, 1.5) + 0.25 * bump(12.5, 2.5) + 0.60 * bump(20.0, 2.5)
    commercial = 0.30 + 0.75 * bump(13.5, 4.0)
    industrial = 0.75 + 0.25 * bump(11.0, 4.5)
    weekend = 0.42 + 0.15 * bump(8.0, 2.0) + 0.40 * bump(13.0, 3.5) + 0.58 * bump(20.0, 3.0)
    days = {
        "working": np.stack([residential, commercial, industrial]),
        "saturday": np.stack([weekend, 0.9 * commercial, 0.85 * industrial]),
        "sunday": np.stack([1.05 * weekend, 0.65 * commercial, 0.6 * industrial]),
    }
    return np.stack([days["working"]] * 5 + [days["saturday"], days["sunday"]], axis=1)


_ACTIVITY = _activity()


#: Bands of risk, from the least severe.
RISK_BANDS = ("Low", "Medium", "High")

#: Meters that are held at once while files are written.
CHUNK_METERS = 65_536

#: No service is rated lower: 5 A at 230 V.
_LEAST_KVA = 1.15

_NOISE = 0.08
_GROWTH = (0.01, 0.03)


@short_repr
@dataclass(frozen=True)
class MeterBlock:
    """Up to `BLOCK` successive meters.

    Attributes:
        start: position of the first one among all meters.
        transformer: position of each one's transformer, shape (n,).
        customer_class: position in `CLASSES`, shape (n,).
        kind: kind of load shape, see `LoadShapes`, shape (n,).
        lat: latitude in degrees, shape (n,).
        lon: longitude in degrees, shape (n,).
        kva: apparent power that the service is rated for, shape (n,).
        baseline_kwh: mean monthly use without anomaly, about which seasons, trend and noise move, shape (n,).
        kwh: energy of each month, to 0.01 kWh, shape (n, M).
        anomalous: rows of anomalous meters in the block, ascending, shape (a,).
        anomaly_type: type of each of these, shape (a,).
        severity: share of normal energy that the anomaly adds or removes, at most 1, shape (a,).
        effects: by type, its rows in the block and what it does to their hours.
    """

    start: int
    transformer: IntArray
    customer_class: IntArray
    kind: IntArray
    lat: FloatArray
    lon: FloatArray
    kva: FloatArray
    baseline_kwh: FloatArray
    kwh: FloatArray
    anomalous: IntArray
    anomaly_type: np.ndarray
    severity: FloatArray
    effects: dict[str, tuple[IntArray, AnomalyEffect]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.transformer)


class MeterGenerator:
    """Meters of all transformers.

    Meters are numbered by transformer. Those of a block share a random stream of their own, so any block can be made
    by itself and chunks change nothing. A meter's month is
    `baseline * season(kind, month) * growth ** years * noise`, with the baseline lognormal by class, years counted
    from the middle of all months, growth about 1 % a year and noise of 8 %, rounded to 0.01 kWh.

    Attributes:
        config: the settings.
        transformers: the transformers, as `TransformerGenerator.generate` gives them.
        offsets: first meter of each transformer, and the number of meters, shape (T + 1,).
        shapes: load shapes and climate.
    """

    def __init__(self, config: GeneratorConfig, transformers: pd.DataFrame | None = None) -> None:
        self.config = config
        self.transformers = TransformerGenerator(config).generate() if transformers is None else transformers
        if len(self.transformers) != config.num_transformers:
            raise InputError(
                f"transformers: expected {config.num_transformers} rows as in the configuration, got "
                f"{len(self.transformers)}."
            )
        self.offsets: IntArray = np.concatenate([[0], np.cumsum(meter_counts(config))])
        self.shapes = LoadShapes(config)
        random = generator(config.random_seed, Stream.ANOMALOUS)
        chosen = random.choice(config.num_meters, config.num_anomalies, replace=False, shuffle=False)
        self._anomalous: IntArray = np.sort(chosen)
        self._transformer_ids = identifiers(TRANSFORMER, np.arange(1, config.num_transformers + 1))
        self._positions = self.transformers[["lat", "lon"]].to_numpy(np.float64)
        # Meters are near their transformer, nearer than clusters are wide.
        self._radius_km = min(0.3, 0.1 * TransformerGenerator(config).clusters.radius_km)
        share, mean, sd = config.class_table()
        # The last class that occurs takes what rounding leaves of 1.
        self._class_bounds = np.cumsum(share)
        self._class_bounds[np.flatnonzero(share)[-1] :] = 1.0
        log_variance = np.log1p((sd / mean) ** 2)
        self._lognormal = np.log(mean) - log_variance / 2, np.sqrt(log_variance)

    @property
    def n_blocks(self) -> int:
        return -(-self.config.num_meters // BLOCK)

    def block(self, index: int) -> MeterBlock:
        """Make the meters from `index * BLOCK` on."""
        config = self.config
        start = index * BLOCK
        n = min(BLOCK, config.num_meters - start)
        random = generator(config.random_seed, Stream.METERS, index)
        transformer = np.searchsorted(self.offsets, np.arange(start, start + n), side="right") - 1
        customer_class = np.searchsorted(self._class_bounds, random.random(n), side="right")
        shift = random.integers(len(SHIFTS), size=n)
        log_mean, log_sd = self._lognormal
        baseline_kwh = np.exp(log_mean[customer_class] + log_sd[customer_class] * random.standard_normal(n))
        centre = self._positions[transformer]
        lat, lon = scatter(centre[:, 0], centre[:, 1], self._radius_km, random)
        peak_kva = baseline_kwh / HOURS_PER_MONTH / LOAD_FACTOR[customer_class] / POWER_FACTOR
        kva = np.round(np.maximum(random.uniform(1.2, 2.0, n) * peak_kva, _LEAST_KVA), 2)
        growth = random.normal(*_GROWTH, n)
        kind = customer_class * len(SHIFTS) + shift
        years = (np.arange(config.num_months) - (config.num_months - 1) / 2) / 12
        noise = _NOISE * random.standard_normal((n, config.num_months)) - _NOISE**2 / 2
        kwh = self.shapes.season[kind]
        kwh *= np.exp(noise + growth[:, None] * years)
        kwh *= baseline_kwh[:, None]
        anomalous, types, severity, effects = self._add_anomalies(index, kind, kwh)
        return MeterBlock(
            start, transformer, customer_class, kind, lat, lon, kva, baseline_kwh, np.round(kwh, 2), anomalous, types,
            severity, effects,
        )  # fmt: skip

    def frames(self, chunk_meters: int = CHUNK_METERS) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Meters and labels of anomalies, about `chunk_meters` meters at a time (whole blocks)."""
        step = max(1, chunk_meters // BLOCK)
        for first in range(0, self.n_blocks, step):
            blocks = [self.block(i) for i in range(first, min(first + step, self.n_blocks))]
            yield self._meters_frame(blocks), self._labels_frame(blocks)

    def generate(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return all meters and the labels of the anomalous ones."""
        return next(self.frames(self.n_blocks * BLOCK))

    def meter_ids(self, transformer: int) -> list[str]:
        """Identifiers of a transformer's meters."""
        first, last = self.offsets[transformer : transformer + 2]
        return identifiers(METER, np.arange(first + 1, last + 1)).to_pylist()

    def _add_anomalies(
        self, index: int, kind: IntArray, kwh: FloatArray
    ) -> tuple[IntArray, np.ndarray, FloatArray, dict[str, tuple[IntArray, AnomalyEffect]]]:
        """Draw types and apply them to `kwh` in place."""
        random = generator(self.config.random_seed, Stream.ANOMALIES, index)
        first, last = np.searchsorted(self._anomalous, [index * BLOCK, index * BLOCK + len(kwh)])
        anomalous = self._anomalous[first:last] - index * BLOCK
        names = list(self.config.anomaly_types)
        types = random.choice(len(names), size=len(anomalous), p=list(self.config.anomaly_types.values()))
        severity = np.zeros(len(anomalous))
        effects = {}
        for code in np.unique(types):
            rows = anomalous[types == code]
            normal = kwh[rows]
            effect = apply_anomaly(names[code], MeterUse(normal.copy(), self.shapes.hour_share[kind[rows]]), random)
            moved = np.abs(effect.kwh - normal).sum(axis=1) / normal.sum(axis=1)
            severity[types == code] = np.minimum(moved, 1.0)
            kwh[rows] = effect.kwh
            effects[names[code]] = (rows, effect)
        return anomalous, np.array(names)[types], severity, effects

    def _meters_frame(self, blocks: list[MeterBlock]) -> pd.DataFrame:
        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(block, name) for block in blocks])

        transformer, kwh = joined("transformer"), joined("kwh")
        first = blocks[0].start + 1
        barangay = pa.array(self.transformers["barangay"], type=pa.string())
        head = pa.table(
            {
                "meter_id": identifiers(METER, np.arange(first, first + len(kwh))),
                "transformer_id": self._transformer_ids.take(pa.array(transformer)),
                "customer_class": pa.array(CLASSES).take(pa.array(joined("customer_class"))),
                "barangay": barangay.take(pa.array(transformer)),
                "lat": joined("lat"),
                "lon": joined("lon"),
            }
        ).to_pandas()
        months = pd.DataFrame(kwh, columns=pd.Index(self.config.consumption_columns))
        return pd.concat([head, months, pd.DataFrame({"kVA": joined("kva")})], axis=1)

    def _labels_frame(self, blocks: list[MeterBlock]) -> pd.DataFrame:
        number = np.concatenate([block.start + 1 + block.anomalous for block in blocks])
        severity = np.concatenate([block.severity for block in blocks])
        band = np.searchsorted(np.array(self.config.risk_thresholds), severity, side="right")
        return pa.table(
            {
                "meter_id": identifiers(METER, number),
                "anomaly_flag": np.ones(len(number), np.int64),
                "risk_band": pa.array(RISK_BANDS).take(pa.array(band)),
                "anomaly_type": pa.array(np.concatenate([block.anomaly_type for block in blocks]), pa.string()),
            }
        ).to_pandas()
