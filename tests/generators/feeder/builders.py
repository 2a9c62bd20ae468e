"""Settings and oracles that the tests of the feeder generator share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from unlearn.generators.feeder import ANOMALIES, CLASSES, GeneratorConfig

#: Significance of every statistical test: each fails by chance once in a million seeds. The seeds are fixed.
ALPHA = 1e-6


def small(**changes: object) -> GeneratorConfig:
    """1,500 meters, of one whole and one partial block, over 3 months."""
    return GeneratorConfig(**{"num_meters": 1500, "num_transformers": 30, "num_months": 3, **changes})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def within(observed: np.ndarray, expected: float, sigmas: float = 4.9) -> bool:
    """Whether a mean is where a normal test at `ALPHA` (4.9 standard errors, two-sided) lets it be."""
    return abs(observed.mean() - expected) < sigmas * observed.std(ddof=1) / np.sqrt(len(observed))


def shares(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, float]]:
    """Probabilities of some of the names that sum to 1."""

    def normalised(weights: dict[str, int]) -> dict[str, float]:
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    return st.dictionaries(st.sampled_from(names), st.integers(1, 100), min_size=1).map(normalised)


def bounds(limit: int) -> st.SearchStrategy[tuple[float, float]]:
    low = st.floats(-limit, limit - 2, allow_nan=False)
    return st.tuples(low, st.floats(0.001001, 2.0)).map(lambda pair: (pair[0], pair[0] + pair[1]))


#: Any valid configuration, small enough to be quick.
CONFIGS = st.builds(
    GeneratorConfig,
    random_seed=st.integers(0, 2**63 - 1),
    num_transformers=st.integers(1, 60),
    num_meters=st.integers(1, 1300),
    num_months=st.integers(1, 26),
    anomaly_rate=st.floats(0, 0.999),
    customer_classes=shares(CLASSES),
    consumption_baselines=st.dictionaries(
        st.sampled_from(CLASSES),
        st.floats(0.01, 1e6).flatmap(lambda mean: st.tuples(st.just(mean), st.floats(0, 10 * mean))),
    ),
    geo_bounds=st.fixed_dictionaries({"lat": bounds(85), "lon": bounds(180)}),
    last_month=st.dates(pd.Timestamp("1690-01-01").date(), pd.Timestamp("2260-01-01").date()).map("{:%Y-%m}".format),
    num_feeders=st.integers(1, 99),
    anomaly_types=shares(tuple(ANOMALIES)),
)
