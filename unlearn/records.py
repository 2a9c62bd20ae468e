"""Tidy result rows with provenance: parquet for tables, JSON for settings, never pickles.

A record is one measured number. Its columns say how it came about (method, forecaster,
criterion, protocol, split, proportion, l1_budget, seed, ...) and `metric`, `value`, `unit` say
what was measured. Files are written to a temporary name and renamed, so a reader never sees a
half-written one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from errno import EEXIST, ENOTEMPTY
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearn.errors import InputError, said
from unlearn.limits import require_json, require_safetensors, require_text

if TYPE_CHECKING:
    from torch import Tensor

#: Columns that every record carries, in the order in which tables show them.
COLUMNS = (
    "experiment", "data", "grid", "forecaster", "protocol", "method", "criterion", "selection",
    "proportion", "l1_budget", "linf_budget", "split", "metric", "value", "unit", "seed", "config_hash",
)  # fmt: skip

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


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes private files; results are for everyone who may read the folder.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def create_folder(path: str | Path, fill: Callable[[Path], object]) -> bool:
    """Let `fill` fill a temporary folder beside `path`, then rename it into place unless something is there.

    Of several processes or machines that create the same folder at once, the first to finish wins; the others' work
    is dropped, and no reader sees a mixture.

    Returns:
        Whether this call created the folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        fill(temporary)
        # mkdtemp makes private folders; results are for everyone who may read the folder above.
        temporary.chmod(0o755)
        temporary.rename(path)
    except OSError as error:
        if error.errno not in (EEXIST, ENOTEMPTY):
            raise
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def replace_folder(path: str | Path, fill: Callable[[Path], object], require_free: Callable[[Path], object]) -> Path:
    """Let `fill` fill a temporary folder beside `path`, then let it take the place of what stood there.

    Args:
        path: the folder.
        fill: writes into the temporary folder it is given.
        require_free: raises if `path` holds what must not be replaced; asked before the work and again before the end.

    Raises:
        InputError: another process wrote to the folder meanwhile, or whatever `require_free` raises. The folder is then
            as it was.
    """
    path = Path(path).absolute()
    require_free(path)
    aside: list[Path] = []

    def fill_and_clear(temporary: Path) -> None:
        fill(temporary)
        require_free(path)
        if path.exists():
            aside.append(Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")))
            path.rename(aside[0] / path.name)

    try:
        created = create_folder(path, fill_and_clear)
    except BaseException:
        if aside and not path.exists():
            (aside[0] / path.name).rename(path)
        raise
    finally:
        for old in aside:
            shutil.rmtree(old, ignore_errors=True)
    if not created:
        raise InputError(f"{path}: another process has just written to this folder. Choose another.")
    return path


def write_parquet(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame as parquet, all or nothing."""
    return write_atomically(path, lambda file: frame.to_parquet(file, index=False))


def write_json(value: Mapping[str, Any], path: str | Path) -> Path:
    """Write a mapping as indented JSON, all or nothing."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    return write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))


#: What a spreadsheet runs a cell for that begins with it, and the mark that tells it not to.
_FORMULAS, _TEXT = ("=", "+", "-", "@", "\t", "\r", "'"), "'"


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame without its index, all or nothing; `unmarked` gives each of its texts back.

    A text, or a title, that a spreadsheet would run as a formula gets a quote before it, and so does one that has a
    quote there already. Numbers stay as they are.
    """
    marked = frame.rename(columns=_marked)
    for place, kind in enumerate(marked.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_datetime64_any_dtype(kind):
            marked.isetitem(place, marked.iloc[:, place].map(_marked).to_numpy())
    return write_atomically(path, lambda file: marked.to_csv(file, index=False))


def _marked(value: Any) -> Any:
    return f"{_TEXT}{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def unmarked(name: str) -> str:
    """Return a text as it was before `write_csv`."""
    return name[1:] if name.startswith(_TEXT) and name[1:].startswith(_FORMULAS) else name


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object, or say which file is broken and where."""
    try:
        require_text(path, Path(path).stat().st_size)
        text = Path(path).read_text(encoding="utf-8")
        require_json(path, text)
        value = json.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: expected JSON, got an error at line {error.lineno}: {error.msg}.") from error
    except (UnicodeDecodeError, OSError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON in UTF-8, got: {said(error)}. Write it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(value).__name__}.")
    return value


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or say what is wrong with it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file.")
    try:
        require_safetensors(path)
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected safetensors, got: {said(error)}. Delete it and make it anew.") from error


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
    """Read a parquet table, or say what is wrong with the file."""
    try:
        return pd.read_parquet(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file.") from error
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's: the file itself may be sound
            raise
        raise InputError(f"{file}: expected a parquet table, got {said(error)}. Delete it; make it anew.") from error


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
def source_fingerprint(folder: Path = Path(__file__).parent) -> str:
    """Return 12 digits that identify the Python source in a folder (by default the library)."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
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
        "source": source_fingerprint(),
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
