"""The files of the Low Carbon London trial as a stream of rows: one household after the other, in bounded memory."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, require_distinct, short_repr
from unlearn.data.files import as_path, foreign_errors, refuse_other_content
from unlearn.data.text_tables import number_fault
from unlearn.data.times import time_fault
from unlearn.errors import DataError, said
from unlearn.limits import require_unpackable

ENERGY = "KWH/hh (per half hour)"
LABELS = ("stdorToU", "Acorn", "Acorn_grouped")
COLUMNS = ("LCLid", "DateTime", ENERGY, *LABELS)

#: The five values of `Acorn_grouped` in the trial; the last two are homes that Acorn does not classify.
LCL_SEGMENTS = ("Affluent", "Comfortable", "Adversity", "ACORN-U", "ACORN-")

# Numbers may stand between blanks, and so may their absence.
_NULLS = [before + null + after for null in ("Null", "NULL", "null", "") for before in ("", " ") for after in ("", " ")]
_BLOCK_BYTES = 1 << 20
_LONGEST_HEADER = 1 << 16
_TEXT = pa.dictionary(pa.int32(), pa.string())


@short_repr
@dataclass
class HouseholdRows:
    """All rows of one household, as they stand in the files.

    Attributes:
        household_id: LCLid.
        labels: values of `LABELS`.
        time_ns: stamps in nanoseconds since 1970, parts in the order of the files.
        kwh: energy; NaN where the file says Null.
    """

    household_id: str
    labels: tuple[str, ...]
    time_ns: list[IntArray] = field(default_factory=list)
    kwh: list[FloatArray] = field(default_factory=list)


def stream_households(path: str | Path) -> Iterator[HouseholdRows]:
    """Read a file, a folder of files or a zip archive household by household.

    It relies on the rows of a household standing together, if need be across the end of one file and the beginning of
    the next; files are taken in the order of the numbers in their names. Their order in time does not matter.

    Args:
        path: a CSV file, a folder with CSV files, or a zip archive with them.

    Yields:
        Each household once its last row has been read. Beside it some blocks of rows are held (1 MB each, read ahead).

    Raises:
        DataError: files that cannot be read, missing columns, a time or energy that is none, negative energy, an
            unknown group, labels that change, or a household that comes again after another one; names file and line.
    """
    open_household: HouseholdRows | None = None
    closed: set[str] = set()
    for block in _blocks(path):
        for run, rows in enumerate(block.runs):
            name = block.ids[run]
            labels = tuple(block.labels[label][rows.start] for label in LABELS)
            if open_household is None or open_household.household_id != name:
                if open_household is not None:
                    closed.add(open_household.household_id.strip())
                    yield open_household
                if name.strip() in closed:
                    raise DataError(
                        f"{block.where(rows.start)}: expected the rows of a household to stand together, got {name} "
                        "again after another household. Sort the files by household."
                    )
                if labels[-1] not in LCL_SEGMENTS:
                    raise DataError(
                        f"{block.where(rows.start)}: expected Acorn_grouped among {', '.join(LCL_SEGMENTS)}; got "
                        f"{labels[-1]!r}. Mend the label."
                    )
                open_household = HouseholdRows(name, labels)
            changed = block.first_other(open_household.labels, rows)
            if changed is not None:
                raise DataError(
                    f"{block.where(changed)}: expected {name} to keep its tariff and Acorn group "
                    f"({', '.join(open_household.labels)}), got others. Make them one."
                )
            open_household.time_ns.append(block.time_ns[rows])
            open_household.kwh.append(block.kwh[rows])
    if open_household is not None:
        yield open_household


@short_repr
@dataclass(frozen=True)
class _Block:
    """Some rows of one file."""

    file: str
    first_line: int
    ids: list[str]
    runs: list[slice]
    time_ns: IntArray
    kwh: FloatArray
    labels: dict[str, NDArray]

    def where(self, row: int) -> str:
        return f"{self.file} line {self.first_line + row}"

    def first_other(self, labels: tuple[str, ...], rows: slice) -> int | None:
        """First of these rows with other labels."""
        other = np.zeros(rows.stop - rows.start, dtype=bool)
        for name, value in zip(LABELS, labels, strict=True):
            other |= self.labels[name][rows] != value
        return rows.start + int(np.argmax(other)) if other.any() else None


def _blocks(path: str | Path) -> Iterator[_Block]:
    path = as_path("path", path)
    with foreign_errors(path, "a CSV file, a folder of them or a zip archive"):
        sources = _sources(path)
    total = sum(source.size for source in sources)
    with tqdm(total=total, desc="Low Carbon London", unit="B", unit_scale=True, delay=1) as bar:
        for source in sources:
            with foreign_errors(source.name, source.wanted, "Fetch it again."):
                with source.open() as raw:
                    header = _header(source.name, raw.readline(_LONGEST_HEADER))
                with source.open() as raw:
                    yield from _file_blocks(source.name, _Counted(raw, bar), header)


def _file_blocks(name: str, stream: _Counted, header: dict[str, str]) -> Iterator[_Block]:
    types = {header[column]: _TEXT for column in ("LCLid", *LABELS)}
    convert = pc.ConvertOptions(
        column_types={**types, header["DateTime"]: pa.timestamp("ns"), header[ENERGY]: pa.float64()},
        include_columns=[header[column] for column in COLUMNS],
        null_values=_NULLS,
    )
    # Without threads errors tell the row.
    read = pc.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
    line = 2
    try:
        with pc.open_csv(pa.PythonFile(stream, mode="r"), read_options=read, convert_options=convert) as batches:
            for batch in batches:
                if batch.num_rows:
                    yield _block(name, line, batch.rename_columns(list(COLUMNS)))
                    line += batch.num_rows
    except pa.ArrowInvalid as error:
        raise _refused(name, error) from error


def _refused(name: str, error: pa.ArrowInvalid) -> DataError:
    text = said(error)
    row = re.search(r"Row #(\d+)", text)
    place = f"{name} line {row[1]}" if row else name
    value = re.search(r"invalid value '(.*)'$", text)
    if value and "timestamp" in text:
        return DataError(
            f"{place}: expected times such as 2012-10-12 00:30:00.0000000 in DateTime, got {value[1]!r}. "
            f"{time_fault([value[1]])} This layout takes no other format."
        )
    if value:
        return DataError(
            f"{place}: expected energy in kWh or Null in {ENERGY}, got {value[1]!r}. {number_fault(value[1].strip())}"
        )
    if "UTF8" in text:
        text = "text in another encoding than UTF-8; save it as CSV UTF-8"
    return DataError(f"{place}: expected rows of the Low Carbon London trial, got: {text}. Fetch the file again.")


def _block(name: str, line: int, batch: pa.RecordBatch) -> _Block:
    """Turn a batch into arrays, refusing values that can be none."""
    codes, names = batch["LCLid"].indices.to_numpy(), batch["LCLid"].dictionary.to_pylist()
    nameless = np.array([not name.strip() for name in names], dtype=bool)[codes]
    timeless = batch["DateTime"].is_null().to_numpy(zero_copy_only=False)
    for column, missing in (("LCLid", nameless), ("DateTime", timeless)):
        if missing.any():
            row = int(np.argmax(missing))
            raise DataError(f"{name} line {line + row}: expected a value in {column}, got none. Drop the row.")
    kwh = batch[ENERGY].to_numpy(zero_copy_only=False)
    written = batch[ENERGY].is_valid().to_numpy(zero_copy_only=False)
    bad = written & ~((kwh >= 0) & np.isfinite(kwh))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{name} line {line + row}: expected energy of at least 0 kWh, got {kwh[row]:g}. Drop the row.")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
    return _Block(
        file=name,
        first_line=line,
        ids=[names[codes[edge]] for edge in edges[:-1]],
        runs=[slice(int(a), int(b)) for a, b in pairwise(edges)],
        time_ns=batch["DateTime"].cast(pa.int64()).to_numpy(),
        kwh=kwh,
        labels={label: _texts(batch[label]) for label in LABELS},
    )


def _texts(column: pa.DictionaryArray) -> NDArray:
    return np.array(column.dictionary.to_pylist(), dtype=object)[column.indices.to_numpy()]


def _header(name: str, line: bytes) -> dict[str, str]:
    """Return how the file writes each column: the energy column ends with a blank in the trial's files."""
    if not line.strip():
        raise DataError(f"{name}: expected the columns {', '.join(COLUMNS)}, got an empty file. Fetch it again.")
    refuse_other_content(name, line)
    written = line.decode("utf-8-sig", errors="replace").rstrip("\r\n").split(",")
    require_distinct(f"{name} line 1", written)
    header = {column.strip().strip('"').strip(): column.strip('"') for column in written}
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        if any(text in line for text in (b";", b"\t")):
            mend = "Values must be separated by commas."
        else:
            mend = "Take the release with Acorn groups, and leave its line of titles in each file."
        raise DataError(
            f"{name} line 1: expected the columns {', '.join(COLUMNS)}; missing {', '.join(missing)}. {mend}"
        )
    return header


@dataclass(frozen=True)
class _Source:
    """One CSV file, on its own or in an archive."""

    name: str
    size: int
    path: Path
    member: str | None = None

    @property
    def wanted(self) -> str:
        return "a readable file" if self.member is None else "a readable archive"

    def open(self) -> IO[bytes]:
        if self.member is None:
            return self.path.open("rb")
        # The stream of a member keeps the archive's file open for as long as it needs it.
        return zipfile.ZipFile(self.path).open(self.member)


def _sources(path: Path) -> list[_Source]:
    if path.is_dir():
        files = [_Source(str(file), file.stat().st_size, file) for file in path.rglob("*") if _is_csv(file.name)]
    elif path.suffix.lower() == ".zip":
        with foreign_errors(path, "a zip archive", "Fetch it again."), zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if _is_csv(entry.filename)]
            require_unpackable(path, members, path.stat().st_size)
        files = [_Source(f"{path}/{entry.filename}", entry.file_size, path, entry.filename) for entry in members]
    elif path.is_file():
        return [_Source(str(path), path.stat().st_size, path)]
    else:
        raise DataError(f"{path}: expected a CSV file, a folder of them or a zip archive, found no such file.")
    if not files:
        raise DataError(f"{path}: expected CSV files, found none.")
    return sorted(files, key=lambda file: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", file.name)])


def _is_csv(name: str) -> bool:
    # macOS puts shadows of files into archives.
    return name.lower().endswith(".csv") and not name.startswith("__MACOSX") and not Path(name).name.startswith(".")


class _Counted(io.RawIOBase):
    """A stream that tells a progress bar what is read from it."""

    def __init__(self, raw: IO[bytes], bar: Any) -> None:
        self._raw = raw
        self._bar = bar

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        self._bar.update(len(data))
        return data
