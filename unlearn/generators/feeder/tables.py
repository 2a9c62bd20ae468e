"""What a feeder is written to: tables, GeoJSON, and their folder.

Its transformers stand on the buses of a grid case, so that their meters' hours are loads that forecasters train on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unlearn.checks import FloatArray, IntArray
from unlearn.data import FAIR, LoadDataset, SplitSpec, dataset_from_frames
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.generators.feeder.audit import TITLE
from unlearn.generators.feeder.config import GeneratorConfig
from unlearn.generators.feeder.hourly import grouped_hours
from unlearn.generators.feeder.meters import MeterGenerator
from unlearn.grid import GridCase
from unlearn.records import marked

REPORT = "generation_report.txt"
#: Every file that a run may write.
FILES = frozenset(
    {
        "transformers.csv", "meter_consumption.csv", "anomaly_labels.csv", "transformers.geojson", REPORT,
        "transformers.parquet", "meter_consumption.parquet", "anomaly_labels.parquet",
        "hourly_consumption.parquet", "bus_loads.parquet", "transformer_buses.csv",
    }
)  # fmt: skip


def require_free(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier run of the generator.

    Raises:
        InputError: it is a file, or holds other data.
    """
    if not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        if not above.is_dir():
            raise InputError(f"output_dir {folder}: expected a folder above it, got the file {above}. Choose another.")
        return
    if not folder.is_dir():
        raise InputError(f"output_dir {folder}: expected a folder, got a file. Choose another.")
    names = sorted(path.name for path in folder.iterdir())
    others = [name for name in names if name not in FILES]
    report = folder / REPORT
    if others or (names and not (report.is_file() and report.read_bytes().startswith(TITLE.encode()))):
        raise InputError(
            f"output_dir {folder}: expected no folder, an empty one or an earlier run of the generator, got a folder "
            f"that holds other data ({', '.join((others or names)[:3])}). Choose another, or move these files."
        )


#: Decimals of columns in CSV files; `monthly_consumption_*` are in kWh.
_DECIMALS = {"lat": 6, "lon": 6, "kVA": 2, "capacity_kVA": 1}
_KWH_DECIMALS = 2
#: Rows that are formatted at once, and rows of a parquet row group.
_ROWS = 65_536


class CsvTable(AbstractContextManager["CsvTable"]):
    """A CSV file that grows by frames with the same columns.

    Numbers are written through exact decimals: ten times as fast as shortest representations in pandas, always with
    the same number of places, and read back as the same floats as long as they had no more places.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._columns: list[str] | None = None

    def write(self, frame: pd.DataFrame) -> None:
        if self._columns is None:
            self._columns = list(frame.columns)
            self._file.write((",".join(map(marked, self._columns)) + "\n").encode())
        # Any other style puts quotes around every text.
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        for start in range(0, len(frame), _ROWS):
            part = frame.iloc[start : start + _ROWS]
            columns = {name: _as_text(str(name), part[name]) for name in part.columns}
            try:
                pa_csv.write_csv(pa.table(columns), self._file, options)
            except pa.ArrowInvalid as error:
                raise DataError(
                    f"{self._file.name}: expected texts without commas, quotes and line breaks, got: {error}."
                ) from error

    def __exit__(self, *error: object) -> None:
        self._file.close()


class ParquetTable(AbstractContextManager["ParquetTable"]):
    """A parquet file that grows by frames with the same columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def write(self, frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._waiting.append(table)
        n_rows = sum(map(len, self._waiting))
        if n_rows >= _ROWS:
            table = pa.concat_tables(self._waiting)
            whole = n_rows - n_rows % _ROWS
            self._writer.write_table(table.slice(0, whole), row_group_size=_ROWS)
            self._waiting = [table.slice(whole)]

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            if error[0] is None:
                self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=_ROWS)
            self._writer.close()


def _as_text(name: str, column: pd.Series) -> pa.Array:
    if pd.api.types.is_float_dtype(column.dtype):
        return _decimals(column.to_numpy(np.float64), _DECIMALS.get(name, _KWH_DECIMALS))
    array = pa.array(column)
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    if is_text and pc.any(pc.match_substring_regex(array, r"^['=+@\t\r-]")).as_py():
        return pa.array(map(marked, array.to_pylist()), array.type)
    return array


def _decimals(values: FloatArray, places: int) -> pa.Array:
    """Return values as exact decimals, made of their 128-bit integers at once."""
    integers = np.empty((len(values), 2), dtype="<i8")
    integers[:, 0] = np.rint(values * 10.0**places)
    integers[:, 1] = integers[:, 0] >> 63
    return pa.Array.from_buffers(pa.decimal128(19, places), len(values), [None, pa.py_buffer(integers)])


_PROPERTIES = ("transformer_id", "feeder_id", "barangay", "capacity_kVA")


class GeoJSONGenerator:
    """A feature per transformer; coordinates are longitude, then latitude (WGS 84).

    Properties: `transformer_id`, `feeder_id`, `barangay`, `capacity_kVA`, `num_meters`, `meter_ids`.
    """

    def generate(self, transformers_df: pd.DataFrame, meters_df: pd.DataFrame) -> dict[str, Any]:
        """Return the collection of all transformers.

        Raises:
            MismatchError: a meter names a transformer that is not among them.
        """
        known = pd.Index(transformers_df["transformer_id"])
        of_meter = known.get_indexer(pd.Index(meters_df["transformer_id"]))
        if (of_meter < 0).any():
            row = int(np.flatnonzero(of_meter < 0)[0])
            raise MismatchError(
                f"geojson: expected the transformer of each meter among {len(known)} transformers, got "
                f"{meters_df['transformer_id'].iloc[row]!r} at meter {row}."
            )
        order = np.argsort(of_meter, kind="stable")
        ids = meters_df["meter_id"].to_numpy(dtype=object)[order]
        bounds = np.searchsorted(of_meter[order], np.arange(len(known) + 1))
        features = self.features(transformers_df, lambda t: ids[bounds[t] : bounds[t + 1]].tolist())
        return {"type": "FeatureCollection", "features": list(features)}

    def features(
        self, transformers_df: pd.DataFrame, meter_ids: Callable[[int], list[str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield the feature of each transformer in turn, so that not all meters need be held at once.

        Args:
            transformers_df: the transformers.
            meter_ids: gives the meters of the transformer at a position.
        """
        for t, row in enumerate(transformers_df.to_dict("records")):
            ids = meter_ids(t)
            yield {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [row["lon"], row["lat"]]},
                "properties": {**{name: row[name] for name in _PROPERTIES}, "num_meters": len(ids), "meter_ids": ids},
            }


def write_geojson(features: Iterable[dict[str, Any]], path: Path) -> None:
    """Write a FeatureCollection, a line per feature."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        for k, feature in enumerate(features):
            file.write((",\n" if k else "") + json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")


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
    kw = grouped_hours(meters, bus, grid.n_loads)
    hours = meters.shapes.timestamps
    load_mw = pd.DataFrame(kw / 1000, index=hours, columns=pd.Index(load_names(grid)))
    weather = {"temperature_c": pd.DataFrame({"region": meters.shapes.temperature_c}, index=hours)}
    return replace(dataset_from_frames(load_mw, weather, split=split, name="feeder"), base_mva=grid.base_mva)


def load_names(grid: GridCase) -> list[str]:
    """Names of the loads, by external bus number."""
    return [f"bus_{number}" for number in grid.bus_numbers[grid.load_bus]]
