"""Transformers: spatial clusters within the bounds, feeders, capacities, and how many meters each one serves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.generators.feeder.config import GeneratorConfig, Stream, generator

#: Prefix and least number of digits, as `printf` would pad them.
TRANSFORMER = ("TX_", 4)
FEEDER = ("FD_", 2)
METER = ("MTR_", 6)


def identifiers(kind: tuple[str, int], numbers: ArrayLike) -> pa.Array:
    """Return the identifiers of these numbers (counted from 1)."""
    prefix, digits = kind
    text = pc.cast(pa.array(np.asarray(numbers, dtype=np.int64)), pa.string())
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(text, digits, "0"), "")


def numbers_of(kind: tuple[str, int], column: pa.Array) -> IntArray:
    """Return the number of each identifier; -1 for what is no identifier of this kind."""
    prefix, digits = kind
    text = pc.cast(pa.array(column), pa.string())
    fits = pc.fill_null(
        pc.match_substring_regex(text, f"^{prefix}([0-9]{{{digits}}}|[1-9][0-9]{{{digits},17}})$"), False
    )
    number = pc.cast(pc.if_else(fits, pc.utf8_slice_codeunits(text, len(prefix)), "-1"), pa.int64())
    return np.asarray(number)


#: Length of a degree of latitude on the mean sphere.
KM_PER_DEGREE = 111.195

#: Hours of a mean month.
HOURS_PER_MONTH = 730.5

#: Mean over peak load of a customer, by class, and the power factor of all.
LOAD_FACTOR = np.array([0.35, 0.45, 0.60])
POWER_FACTOR = 0.9

#: Sizes that transformers are built in, in kVA; above, banks of 500 kVA.
SIZES_KVA = np.array([15, 25, 37.5, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 2500])

_MAX_CLUSTERS = 100
_BARANGAYS = (
    "San Miguel", "Poblacion", "Bagumbayan", "San Antonio", "San Isidro", "Santo Tomas", "San Roque", "Santa Cruz",
    "San Jose", "Kapitolyo", "Ugong", "Bagong Silang", "Commonwealth", "Batasan Hills", "Holy Spirit", "Payatas",
    "Tandang Sora", "Culiat", "Pasong Tamo", "Fairview", "Novaliches", "Talipapa", "Bahay Toro", "Project 6",
    "Loyola Heights", "Blue Ridge", "Libis", "Bagumbuhay", "Socorro", "Kamuning", "Pinyahan", "Diliman",
    "Tatalon", "Damayang Lagi", "Sacred Heart", "Malate", "Ermita", "Paco", "Pandacan", "Sampaloc", "Tondo",
    "Binondo", "Quiapo", "Intramuros", "Bel-Air", "Magallanes", "Guadalupe Nuevo", "Pembo", "Rembo", "Ususan",
    "Western Bicutan", "Signal Village", "Napindan", "Hagonoy", "Tunasan", "Alabang", "Cupang", "Bayanan",
    "Putatan", "Sucat", "Moonwalk", "Merville", "Don Bosco", "Baclaran",
)  # fmt: skip


@short_repr
@dataclass(frozen=True)
class Clusters:
    """Where the clusters of transformers lie.

    Attributes:
        centre: latitude and longitude of each, in degrees, shape (C, 2); in an order in which neighbours follow
            each other.
        radius_km: no transformer is farther from its centre. Two of one cluster are at most twice that apart, two of
            different clusters farther, so DBSCAN with `eps` of twice the radius finds the clusters exactly.
    """

    centre: FloatArray
    radius_km: float


class TransformerGenerator:
    """Transformers with position, feeder, barangay and capacity.

    Clusters lie in the cells of a lattice over the bounds, one barangay each, at least three transformers each
    (`min_samples` of DBSCAN) where there are three. Feeders take successive clusters. A transformer's capacity is
    the smallest standard size above the expected peak of its meters times a margin of 1.1 to 1.8.

    Attributes:
        config: the settings.
        clusters: where the clusters lie.
        cluster_of: cluster of each transformer, shape (T,), ascending.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.config = config
        self._random = generator(config.random_seed, Stream.TRANSFORMERS)
        n = config.num_transformers
        n_clusters = max(1, min(n // 5, _MAX_CLUSTERS))
        self.clusters = self._place_clusters(n_clusters)
        least = min(3, n)
        share = self._random.dirichlet(np.full(n_clusters, 4.0))
        sizes = least + self._random.multinomial(n - least * n_clusters, share)
        self.cluster_of: IntArray = np.repeat(np.arange(n_clusters), sizes)
        self._frame = self._make_frame()

    def generate(self) -> pd.DataFrame:
        """Return `transformer_id, feeder_id, barangay, lat, lon, capacity_kVA`, a row per transformer."""
        return self._frame.copy()

    def _place_clusters(self, n_clusters: int) -> Clusters:
        (south, north), (west, east) = self.config.geo_bounds["lat"], self.config.geo_bounds["lon"]
        # A degree of longitude is shortest at the latitude farthest from the equator: cells are no narrower anywhere.
        height_km = (north - south) * KM_PER_DEGREE
        width_km = (east - west) * KM_PER_DEGREE * np.cos(np.radians(max(abs(south), abs(north))))
        columns = int(np.clip(round(np.sqrt(n_clusters * width_km / height_km)), 1, n_clusters))
        rows = -(-n_clusters // columns)
        cell = np.sort(self._random.permutation(rows * columns)[:n_clusters])
        row, column = np.divmod(cell, columns)
        # Every second row runs backwards, so that successive clusters are neighbours.
        column = np.where(row % 2, columns - 1 - column, column)
        jitter = self._random.uniform(-0.15, 0.15, (n_clusters, 2))
        lat = south + (north - south) * (row + 0.5 + jitter[:, 0]) / rows
        lon = west + (east - west) * (column + 0.5 + jitter[:, 1]) / columns
        # Centres are at least 0.7 of a cell apart: more than 4 radii, so clusters are more than 2 radii apart.
        radius_km = min(0.16 * min(height_km / rows, width_km / columns), 2.0)
        return Clusters(np.stack([lat, lon], axis=1), radius_km)

    def _make_frame(self) -> pd.DataFrame:
        config, n = self.config, self.config.num_transformers
        n_clusters = len(self.clusters.centre)
        centre = self.clusters.centre[self.cluster_of]
        # Rounding moves a position by less than 0.1 m.
        lat, lon = scatter(centre[:, 0], centre[:, 1], 0.99 * self.clusters.radius_km, self._random)
        names = np.array(_BARANGAYS)[self._random.permutation(len(_BARANGAYS))]
        barangay = [
            names[c % len(names)] + (f" {c // len(names) + 1}" if c >= len(names) else "") for c in range(n_clusters)
        ]
        feeder = self.cluster_of * min(config.num_feeders, n_clusters) // n_clusters
        share, mean_kwh, _ = config.class_table()
        meter_kva = float((share * mean_kwh / LOAD_FACTOR).sum()) / HOURS_PER_MONTH / POWER_FACTOR
        needed = meter_kva * meter_counts(config) * self._random.uniform(1.1, 1.8, n)
        size = SIZES_KVA[np.minimum(np.searchsorted(SIZES_KVA, needed), len(SIZES_KVA) - 1)]
        return pa.table(
            {
                "transformer_id": identifiers(TRANSFORMER, np.arange(1, n + 1)),
                "feeder_id": identifiers(FEEDER, feeder + 1),
                "barangay": pa.array(barangay).take(pa.array(self.cluster_of)),
                "lat": lat,
                "lon": lon,
                "capacity_kVA": np.maximum(size, 500 * np.ceil(needed / 500) * (needed > SIZES_KVA[-1])),
            }
        ).to_pandas()


def meter_counts(config: GeneratorConfig) -> IntArray:
    """Meters of each transformer, shape (T,): uneven, at least one where there are as many meters as transformers."""
    random = generator(config.random_seed, Stream.COUNTS)
    n = config.num_transformers
    least = int(config.num_meters >= n)
    return least + random.multinomial(config.num_meters - least * n, random.dirichlet(np.full(n, 4.0)))


def scatter(
    lat: FloatArray, lon: FloatArray, radius_km: float, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Move each position by up to a radius, evenly over the disc; six decimals of a degree."""
    distance = radius_km / KM_PER_DEGREE * np.sqrt(random.random(len(lat)))
    angle = 2 * np.pi * random.random(len(lat))
    moved_lon = lon + distance * np.cos(angle) / np.cos(np.radians(lat))
    return np.round(lat + distance * np.sin(angle), 6), np.round(moved_lon, 6)
