"""Tables written in pieces: CSV with fixed decimals and parquet with fixed row groups, so pieces leave no trace."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unlearn.checks import FloatArray
from unlearn.errors import DataError
from unlearn.records import marked

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            if kind is None:
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
