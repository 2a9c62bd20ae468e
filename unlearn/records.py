"""Tidy result rows with provenance: parquet for tables, JSON for settings, never pickles.

A record is one measured number. Its columns say how it came about (method, forecaster,
criterion, protocol, split, proportion, l1_budget, seed, ...) and `metric`, `value`, `unit` say
what was measured. All files carry a seal (see `unlearn.store`) and are verified when they are read.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unlearn.errors import DataError, InputError, UnlearnError, said
from unlearn.limits import require_footer, require_json, require_parquet, require_safetensors, require_text
from unlearn.store.files import BLANK_SEAL, MEND, digests, read_verified, require_files, write

if TYPE_CHECKING:
    from torch import Tensor

#: Columns that every record carries, in the order in which tables show them.
COLUMNS = (
    "experiment", "data", "grid", "forecaster", "protocol", "method", "criterion", "selection",
    "proportion", "l1_budget", "linf_budget", "split", "metric", "value", "unit", "seed", "config_hash",
)  # fmt: skip

#: The description of a folder, and what it calls the files that it lists.
CARD, FILES = "card.json", "files"

_SEAL = "seal"
_VERSIONED = (
    "unlearn", "torch", "numpy", "pandas", "scipy", "scikit-learn", "cvxpy", "cvxpylayers", "clarabel", "PYPOWER",
)  # fmt: skip


class RecordTable:
    """Rows that share some columns (`common`); missing columns stay empty."""

    def __init__(self, **common: Any) -> None:
        self._common = common
        self._rows: list[dict[str, Any]] = []

    def add(self, metric: str, value: float, unit: str = "", **columns: Any) -> None:
        """Append one measured number."""
        self._rows.append({**self._common, **columns, "metric": metric, "value": float(value), "unit": unit})

    def __len__(self) -> int:
        return len(self._rows)

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a frame, `COLUMNS` first."""
        frame = pd.DataFrame(self._rows)
        for column in COLUMNS:
            if column not in frame:
                frame[column] = None
        extra = [column for column in frame.columns if column not in COLUMNS]
        return frame[[*COLUMNS, *extra]]


def write_parquet(frame: pd.DataFrame, path: str | Path, *, confidential: bool = False) -> Path:
    """Write a frame as parquet with a seal, all or nothing."""
    table = pa.Table.from_pandas(frame, preserve_index=False)

    def fill(file: Path) -> None:
        with pq.ParquetWriter(file, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({_SEAL: BLANK_SEAL})

    write(path, fill, confidential=confidential, sealed=True)
    return Path(path)


def write_json(value: Mapping[str, Any], path: str | Path, *, confidential: bool = False) -> Path:
    """Write a mapping as indented JSON with a seal, all or nothing; `read_json` returns it without the seal."""
    text = json.dumps({**value, _SEAL: BLANK_SEAL.decode()}, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write(path, text.encode(), confidential=confidential, sealed=True)
    return Path(path)


#: What a spreadsheet runs a cell for that begins with it, and the mark that tells it not to.
_FORMULAS, _TEXT = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n", "'"), "'"


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame without its index, all or nothing; `unmarked` gives each of its texts back.

    A text, or a title, that a spreadsheet would run as a formula gets a quote before it, and so does one that has a
    quote there already. Numbers stay as they are.
    """
    safe = frame.rename(columns=marked)
    for place, kind in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_datetime64_any_dtype(kind):
            safe.isetitem(place, safe.iloc[:, place].map(marked).to_numpy())
    text = safe.to_csv(index=False)
    if "\r" in text:  # pandas leaves it bare, and readers take it for the end of a row
        text = safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    write(path, text.encode())
    return Path(path)


def marked(value: Any) -> Any:
    """Return a text as it may stand in a CSV file, see `write_csv`; anything else as it is."""
    return f"{_TEXT}{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def unmarked(name: str) -> str:
    """Return a text as it was before `write_csv`."""
    return name[1:] if name.startswith(_TEXT) and name[1:].startswith(_FORMULAS) else name


def read_json(path: str | Path, *, sealed: bool = True) -> dict[str, Any]:
    """Read a JSON object, or say which file is broken and where.

    Args:
        path: the file.
        sealed: whether `write_json` wrote it, so that it is verified; one that people write has no seal.

    Raises:
        DataError: no such file, or one that is damaged, edited or no JSON object; names file and remedy.
    """
    try:
        require_text(path, Path(path).stat().st_size)
        text = Path(path).read_text(encoding="utf-8")
        require_json(path, text)
        value = json.loads(text)
    except UnlearnError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: expected JSON, got an error at line {error.lineno}: {error.msg}. Write it again."
        ) from error
    except (UnicodeDecodeError, OSError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: expected JSON in UTF-8, got: {said(error)}. Write it again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}. Write it again.")
    if sealed:
        value = json.loads(read_verified(path))
        value.pop(_SEAL, None)
    return value


def write_safetensors(
    tensors: Mapping[str, Tensor],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    confidential: bool = False,
) -> Path:
    """Write tensors as safetensors with a seal, all or nothing."""
    from safetensors.torch import save

    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write(path, save(whole, {**(metadata or {}), _SEAL: BLANK_SEAL.decode()}), confidential=confidential, sealed=True)
    return Path(path)


def read_safetensors(path: str | Path, mend: str = MEND) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file that `write_safetensors` wrote.

    Raises:
        DataError: no such file, or a damaged one; names file and remedy.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if Path(path).is_file():
        require_safetensors(path)
    content = read_verified(path, mend=mend)
    try:
        return load(content)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: expected safetensors, got: {said(error)}. {mend}") from error


def write_card(value: Mapping[str, Any], folder: Path, names: Iterable[str], *, confidential: bool = False) -> Path:
    """Write `card.json` beside the files of a folder; it lists them with SHA-256 of their bytes."""
    return write_json({**value, FILES: digests(folder, names)}, folder / CARD, confidential=confidential)


def read_card(folder: Path, mend: str = MEND) -> dict[str, Any]:
    """Read `card.json` of a folder, check every file that it lists, and return it without the list.

    Raises:
        DataError: the card or one of the files is missing, damaged or of another folder; names file and remedy.
    """
    card = read_json(folder / CARD)
    require_files(folder, card.pop(FILES, None), mend)
    return card


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Records of several tables in one, `COLUMNS` first; columns that are empty in a table do not count there."""
    records = pd.concat([table.dropna(axis="columns", how="all") for table in tables], ignore_index=True)
    return records.reindex(columns=[*COLUMNS, *(column for column in records if column not in COLUMNS)])


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Gather the records of many jobs into one table, in the order of their paths.

    Args:
        paths: parquet files, or folders that are searched for `records.parquet` files.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files.extend(sorted(path.rglob("records.parquet")) if path.is_dir() else [path])
    if not files:
        raise InputError("no records.parquet found: run an experiment first, or name another folder.")
    return pd.concat([read_parquet(file) for file in files], ignore_index=True)


def read_parquet(file: str | Path) -> pd.DataFrame:
    """Read a parquet table that `write_parquet` wrote.

    Raises:
        DataError: no such file, or a damaged one; names file and remedy.
    """
    content = read_verified(file)
    try:
        require_footer(file, content[-8:])
        require_parquet(file, pq.read_metadata(pa.BufferReader(content)), len(content))
        return pd.read_parquet(io.BytesIO(content))
    except UnlearnError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise DataError(f"{file}: expected a parquet table, got {said(error)}. {MEND}") from error


def config_hash(config: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that identify a configuration; arrays in it count with all their values."""
    text = json.dumps(config, sort_keys=True, default=_as_text)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _as_text(value: Any) -> str:
    """What JSON does not know, as text. That of a long array shows its ends alone, so its bytes stand for it."""
    array = np.asarray(value) if hasattr(value, "__array__") else None
    if array is None or array.ndim == 0 or array.dtype.hasobject:
        return repr(list(value)) if array is not None and array.ndim else str(value)
    return f"{array.dtype} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


@functools.cache
def _source_fingerprint() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def provenance() -> dict[str, Any]:
    """Return versions, source, platform and time, for the card that goes with every result."""
    versions = {}
    for package in _VERSIONED:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "versions": versions,
        "source": _source_fingerprint(),
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
