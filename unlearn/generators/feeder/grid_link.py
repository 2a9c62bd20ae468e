"""Transformers on the buses of a grid case: their meters' hours are loads that forecasters train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray, IntArray
from unlearn.data import FAIR, LoadDataset, SplitSpec, dataset_from_frames
from unlearn.errors import InputError
from unlearn.generators.feeder.config import GeneratorConfig
from unlearn.generators.feeder.hourly import grouped_hours
from unlearn.generators.feeder.meters import MeterGenerator
from unlearn.grid import GridCase


def transformer_buses(transformers_df: pd.DataFrame, grid: GridCase) -> IntArray:
    """Map transformers to the buses with load, neighbours to the same bus.

    Grid cases have no map, but transformers come in an order in which neighbours follow each other. That order is cut
    into one run per load bus, in the order of the buses, so that the capacity of a run is as near as can be to the
    bus's share of the nominal load. Runs are of whole clusters (barangays) if there are as many as buses, else of
    transformers.

    Args:
        transformers_df: the transformers, in the generator's order.
        grid: the case.

    Returns:
        Position of each transformer's bus among the grid's loads, 0 to B - 1, shape (T,), ascending; each occurs.

    Raises:
        InputError: fewer transformers than buses with load.
    """
    n, n_buses = len(transformers_df), grid.n_loads
    if n < n_buses:
        raise InputError(
            f"grid {grid.name}: expected a transformer for each of its {n_buses} buses with load, got {n} of them. "
            f"Set num_transformers to {n_buses} or more, or choose a smaller grid."
        )
    barangay = pd.factorize(transformers_df["barangay"])[0]
    unit = barangay if barangay.max() + 1 >= n_buses else np.arange(n)
    capacity = np.bincount(unit, weights=transformers_df["capacity_kVA"].to_numpy(np.float64))
    target = np.cumsum(grid.nominal_load_mw)[:-1] / grid.nominal_load_mw.sum()
    middle = (np.cumsum(capacity) - capacity / 2) / capacity.sum()
    # Bus k takes units from cut k - 1 to cut k; each takes one at least.
    k = np.arange(1, n_buses)
    cut = np.maximum.accumulate(np.maximum(np.searchsorted(middle, target) - k, 0)) + k
    cut = np.minimum(cut, len(capacity) - n_buses + k)
    bus = np.searchsorted(cut, np.arange(len(capacity)), side="right")
    return bus[unit].astype(np.int64)


def bus_loads(config: GeneratorConfig, grid: GridCase, split: SplitSpec = FAIR) -> LoadDataset:
    """Sum the meters' hours by bus.

    Args:
        config: the settings of the generator.
        grid: the case; see `transformer_buses`.
        split: how to divide the hours.

    Returns:
        Loads of B buses in MW, as the meters have them: far below the grid's, so scale them with
        `dataset.scaled_to(grid.nominal_load_mw)`. Features: the calendar and `temperature_c`, the region's
        temperature in °C, which the meters' cooling follows.

    Raises:
        InputError: fewer transformers than buses with load, or too few hours to divide.
    """
    meters = MeterGenerator(config)
    bus = transformer_buses(meters.transformers, grid)
    return _dataset(meters, grid, grouped_hours(meters, bus, grid.n_loads), split)


def _dataset(meters: MeterGenerator, grid: GridCase, kw: FloatArray, split: SplitSpec) -> LoadDataset:
    hours = meters.shapes.timestamps
    load_mw = pd.DataFrame(kw / 1000, index=hours, columns=pd.Index(load_names(grid)))
    weather = {"temperature_c": pd.DataFrame({"region": meters.shapes.temperature_c}, index=hours)}
    return replace(dataset_from_frames(load_mw, weather, split=split, name="feeder"), base_mva=grid.base_mva)


def load_names(grid: GridCase) -> list[str]:
    """Names of the loads, by external bus number."""
    return [f"bus_{number}" for number in grid.bus_numbers[grid.load_bus]]
