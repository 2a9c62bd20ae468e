"""Tables from CSV and parquet, as they stand: nothing is taken for a number or a date before somebody asks for one."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unlearn.checks import BoolArray, FloatArray, as_identifiers, require_distinct, short_repr
from unlearn.data.files import as_path, foreign_errors, read_bytes, refuse_other_content
from unlearn.errors import DataError
from unlearn.limits import COLUMNS, require_at_most, require_footer, require_parquet
from unlearn.records import unmarked

#: What programs write where a number is missing. In a column of names these are names.
MISSING = frozenset((
    "", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "Null", "null", "None", "none",
))  # fmt: skip

_NUMBER = re.compile(r"[+-]?(\d++\.?\d*+|\.\d++)([eE][+-]?\d+)?", re.ASCII)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LISTED = 10
_LONGEST = 100
_WANTED = "a CSV or parquet table"


@short_repr
@dataclass(frozen=True, eq=False)
class Table:
    """A table whose cells are as they were written.

    Attributes:
        where: file, for messages.
        titles: of the columns, in their order.
        data: the columns, named by their position; of a CSV file all are text, of parquet as they were saved.
        content: bytes of the CSV file; None for parquet.
    """

    where: str
    titles: tuple[str, ...]
    data: pa.Table
    content: bytes | None = None

    def __len__(self) -> int:
        return self.data.num_rows

    def row(self, i: int) -> int:
        """Number of a row for messages: the line of a CSV file, in parquet the row from 1."""
        return i + 1 if self.content is None else self._lines[i + 1]

    @cached_property
    def _lines(self) -> list[int]:
        """Number of each line that is not empty, which is where rows are (quoted line breaks apart)."""
        assert self.content is not None
        lines = [number for number, line in enumerate(self.content.splitlines(), 1) if line]
        return lines + [lines[-1]] * max(0, len(self) + 1 - len(lines))

    def has(self, title: str) -> bool:
        return title in map(str.strip, self.titles)

    def require(self, titles: Sequence[str], mend: str) -> None:
        """Refuse a table without one of these columns.

        Args:
            titles: of the columns.
            mend: what to do about it.
        """
        missing = [title for title in titles if not self.has(title)]
        if not missing:
            return
        if any(
            _NUMBER.fullmatch(title.strip()) or re.match(r"\d{4}-\d\d-\d\d", title.strip()) for title in self.titles
        ):
            mend = "The first line holds values, not titles: write the titles of the columns above it."
        raise DataError(
            f"{self.where}: expected the columns {listed(titles)}, missing {', '.join(missing)}; got "
            f"{listed(self.titles)}. {mend}"
        )

    def column(self, title: str) -> pa.ChunkedArray:
        """The cells of a column, which may have blanks around its title."""
        return self.data.column([own.strip() for own in self.titles].index(title.strip()))

    def cell(self, i: int, title: str) -> str:
        """A cell for messages."""
        value = self.column(title)[i].as_py()
        text = (
            "a blank"
            if value is None or not str(value).strip()
            else repr(value)
            if isinstance(value, str)
            else str(value)
        )
        return text if len(text) <= 80 else f"{text[:80]}..."

    def identifiers(self, title: str) -> list[str]:
        """Names, exactly as they are written.

        Raises:
            DataError: a blank, or a column of anything but text and whole numbers; names column and row.
        """
        column = self.column(title)
        self.refuse(_blanks(column), [title], "a name", "Give it one, or drop the row.")
        where = f"{self.where} column {title}"
        if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
            raise DataError(
                f"{where}: expected names as text or whole numbers, got {column.type}. Write them as text: other types "
                "lose leading zeros."
            )
        coded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
        written = coded.dictionary.to_pylist()
        names = as_identifiers(where, written if self.content is None else list(map(unmarked, written)))
        require_distinct(where, names, "name", any_case=False)
        return [names[code] for code in coded.indices.to_pylist()]

    def labels(self, title: str) -> list[object]:
        """Values of a further column: text as written, but flags where all cells are True or False; other types "
        "stay."""
        cells = self.column(title).to_pylist()
        flags = {"True": True, "False": False}
        return [flags[cell] for cell in cells] if cells and all(cell in flags for cell in cells) else cells

    def numbers(self, titles: Sequence[str], wanted: str = "a number or a blank") -> FloatArray:
        """Numbers of some columns, NaN where a cell is blank or says that there is none; shape (rows, columns).

        Raises:
            DataError: a cell that is no number; names column and row, and what the cell may be.
        """
        return np.array([self._numbers(title, wanted) for title in titles]).reshape(len(titles), len(self)).T

    def _numbers(self, title: str, wanted: str) -> FloatArray:
        column = self.column(title)
        if pa.types.is_boolean(column.type) or not (
            pa.types.is_string(column.type)
            or pa.types.is_null(column.type)
            or pa.types.is_integer(column.type)
            or pa.types.is_floating(column.type)
            or pa.types.is_decimal(column.type)
        ):
            raise DataError(f"{self.where}: expected {wanted} in column {title}, got a column of {column.type}.")
        if not pa.types.is_string(column.type):
            return column.cast(pa.float64()).to_numpy().astype(np.float64)
        text = pc.utf8_trim_whitespace(column)
        text = pc.if_else(pc.is_in(text, value_set=pa.array(sorted(MISSING))), pa.scalar(None, pa.string()), text)
        try:
            return text.cast(pa.float64()).to_numpy().astype(np.float64)
        except pa.ArrowInvalid:
            pass
        cells = text.to_pylist()
        bad = [cell is not None and not _is_number(cell) for cell in cells]
        self.refuse(np.array(bad), [title], wanted, number_fault(cells[bad.index(True)]) if any(bad) else "")
        return np.array([np.nan if cell is None else float(cell) for cell in cells])

    def refuse(
        self, bad: BoolArray, titles: Sequence[str], wanted: str, mend: str, times: pd.DatetimeIndex | None = None
    ) -> None:
        """Refuse cells of some columns, naming the first.

        Args:
            bad: mask, shape (rows, columns), or (rows,) of one column.
            titles: of the columns.
            wanted: what was expected in them.
            mend: what to do about it.
            times: of the rows.
        """
        if not bad.any():
            return
        i, c = (int(k) for k in np.argwhere(bad.reshape(len(bad), -1))[0])
        when = "" if times is None else f" ({times[i]})"
        raise DataError(
            f"{self.where}: expected {wanted}, got {self.cell(i, titles[c])} in column {titles[c]} at row "
            f"{self.row(i)}{when}; {int(bad.sum())} such values. {mend}"
        )


def open_table(path: str | Path, argument: str = "path") -> Table:
    """Read a CSV or parquet table.

    Args:
        path: a parquet file (told by its ending or first bytes), or else text with commas in UTF-8, if need be
            compressed by gzip, bzip2 or xz.
        argument: name of the argument, for messages.

    Raises:
        InputError: no path.
        DataError: a missing, empty or damaged file, another format, another separator or encoding, rows of differing
            length, or a title that is missing or occurs twice.
    """
    path = as_path(argument, path)
    content = read_bytes(path, "a table")
    if path.suffix.lower() == ".parquet" or content.startswith(b"PAR1"):
        return _parse_parquet(str(path), content)
    return parse_csv(str(path), content)


def parse_csv(where: str, content: bytes, wanted: str = _WANTED) -> Table:
    """Parse the bytes of a CSV file with a line of titles; see `open_table`."""
    if not content.strip(b"\xef\xbb\xbf \t\r\n,"):
        raise DataError(f"{where}: expected {wanted}, got an empty file. Fetch or write it again.")
    refuse_other_content(where, content, wanted)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where}: expected {wanted} in UTF-8, got the byte {content[error.start]:#04x} in line {line}, as "
            "Latin-1 and Windows-1252 have it. Save it as CSV UTF-8."
        ) from error
    titles = _titles(where, text)
    options = pa_csv.ConvertOptions(
        column_types={f"f{c}": pa.string() for c in range(len(titles))}, strings_can_be_null=False
    )
    # A block holds the file, for a row must not be longer than one.
    read = pa_csv.ReadOptions(autogenerate_column_names=True, block_size=min(len(content) + 1, 1 << 30))
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    try:
        data = pa_csv.read_csv(pa.BufferReader(content), read, parse, options)
    except (pa.ArrowException, ValueError) as error:
        _explain_rows(where, text, titles, error)
    data = data.slice(1)
    # Lines of commas at the end, as spreadsheets write them, mean nothing.
    written = np.flatnonzero(~np.all([_blanks(column) for column in data.columns], axis=0))
    data = data.slice(0, int(written[-1]) + 1 if written.size else 0)
    kept = [c for c, title in enumerate(titles) if title.strip() or not _blanks(data.column(c)).all()]
    return _table(where, [unmarked(titles[c]) for c in kept], data.select(kept), content)


def _parse_parquet(where: str, content: bytes) -> Table:
    with foreign_errors(where, _WANTED):
        require_footer(where, content[-8:])
        file = pq.ParquetFile(pa.BufferReader(content))
        require_parquet(where, file.metadata, len(content))
        names = file.schema_arrow.names
        require_distinct(where, names)
        data = file.read()
        # Numbers of rows that another program kept beside the columns.
        kept = [c for c, name in enumerate(names) if not re.fullmatch(r"__index_level_\d+__", name)]
        columns = []
        for c in kept:
            column = data.column(c)
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if column.type in (pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()):
                column = column.cast(pa.string())
            columns.append(column)
    return _table(where, [names[c] for c in kept], pa.table(columns, [f"f{c}" for c in range(len(kept))]), None)


def _table(where: str, titles: list[str], data: pa.Table, content: bytes | None) -> Table:
    for c, title in enumerate(titles):
        if not title.strip():
            raise DataError(
                f"{where}: expected a title for each column, got none for column {c + 1}. Give it one, or drop the "
                "column (if it numbers the rows, write the table without its index)."
            )
    require_distinct(where, titles)
    return Table(where, tuple(titles), data, content)


def _titles(where: str, text: str) -> list[str]:
    """The first line that is not empty, refusing other separators than commas."""
    with foreign_errors(where, _WANTED):
        titles = next(row for row in csv.reader(io.StringIO(text, newline="")) if row)
    require_at_most(where, "columns", len(titles), COLUMNS, "Split the table.")
    line = next(line for line in text.splitlines() if line)
    unquoted = re.sub(r'"[^"]*"', "", line)
    for separator, name in _SEPARATORS.items():
        if unquoted.count(separator) > unquoted.count(","):
            raise DataError(
                f"{where}: expected values separated by commas, got {name} in line 1. Save the table with commas "
                "between values and a point before decimals."
            )
    return titles


def _explain_rows(where: str, text: str, titles: list[str], error: Exception) -> NoReturn:
    """Name the first row of another length than the titles."""
    with foreign_errors(where, _WANTED):
        reader = csv.reader(io.StringIO(text, newline=""))
        for row in reader:
            if row and len(row) != len(titles):
                cause = "It is cut" if len(row) < len(titles) else "A decimal comma, or a comma within a text"
                raise DataError(
                    f"{where}: expected {len(titles)} values in each row, one for each title, got {len(row)} in line "
                    f"{reader.line_num}. {cause}: write decimals with a point, put texts with commas in quotes, or "
                    "fetch the file again."
                ) from error
        raise error
    raise AssertionError  # never reached: the line above always raises


def listed(names: Sequence[str]) -> str:
    """Some names for a message, not hundreds."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name if len(name) <= 60 else f"{name[:60]}..." for name in names[:_LISTED]) + more


def _blanks(column: pa.ChunkedArray) -> BoolArray:
    """Which cells are missing or hold nothing but blanks."""
    if pa.types.is_string(column.type):
        column = pc.equal(pc.utf8_trim_whitespace(column), "").fill_null(True)
    else:
        column = column.is_null()
    return column.to_numpy().astype(bool)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None or text.lower().lstrip("+-") in ("inf", "infinity")


def number_fault(text: str) -> str:
    """What a text that is no number may be, and what to write instead."""
    if len(text) > _LONGEST:  # the patterns below take time that grows with its square
        return "It is damaged: correct it, or leave the cell blank."
    sign, digits = re.fullmatch(r"([+-]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if re.fullmatch(r"\d{1,3},\d{3}", digits):
        return (
            f"Its comma may stand for decimals or thousands: write {text.replace(',', '.')} or {text.replace(',', '')}."
        )
    if re.fullmatch(r"\d+,\d+|\d{1,3}(\.\d{3})+,\d+", digits):
        return f"A decimal comma? Write {sign}{digits.replace('.', '').replace(',', '.')}."
    if re.fullmatch(r"\d{1,3}([,' \u00a0\u202f]\d{3})+(\.\d+)?", digits):
        return f"It has thousands separators: write {sign}{re.sub(r'[^0-9.]', '', digits)}."
    unit = re.fullmatch(r"(\d+\.?\d*)\s*([A-Za-z%µ/]+)", digits)
    if unit:
        return f"It has a unit ({unit[2]}): write the number alone, and convert it if the unit is another."
    if text.startswith("#"):
        return "It is an error of a spreadsheet: mend the formula, or leave the cell blank."
    if digits.startswith("\u2212"):
        return f"Its minus is a typographic one: write -{digits[1:]}."
    return "Mend it, or leave the cell blank."
