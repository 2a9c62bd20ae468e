"""Searching all that is left of a registry, as somebody who holds its key and knows what was removed."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.lib.stride_tricks import sliding_window_view

import unlearn.services.tables as tables
from unlearn.records import read_safetensors
from unlearn.services.registry import ModelRegistry

#: Readings in a row that are no coincidence, and hours of a window whose shape is compared.
RUN, WINDOW = 6, 48
_FACTORS = np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, RUN + 1, dtype=np.uint64)
_NUMBER = re.compile(rb"-?\d+\.\d+(?:[eE][-+]?\d+)?")


@dataclass
class Left:
    """What is left: every file, encrypted or not, and every array of numbers in those that could be decrypted."""

    raw: dict[str, bytes] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, bytes]:
        return self.raw | self.plain

    def of_requests(self) -> "Left":
        """What is kept of requests alone."""
        return Left(plain={name: own for name, own in self.plain.items() if name.startswith("request-")})


def left_in(registry: ModelRegistry, *more: Path) -> Left:
    """Everything in a registry's folder, and in other folders, such as that of a certificate."""
    found = Left()
    for folder in (registry.folder, *more):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                found.raw[f"{folder.name}/{file.relative_to(folder)}"] = file.read_bytes()
    with registry.alone() as connection:
        names = {own.blob: f"{own.name}/{own.state}" for own in tables.artefacts(connection)}
    for blob in sorted(registry.vault.names()):
        with registry.vault.opened(blob) as folder:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    _take(found, f"{names.get(blob, blob)}/{file.relative_to(folder)}", file)
    return found


def _take(found: Left, name: str, file: Path) -> None:
    found.plain[name] = content = file.read_bytes()
    if file.suffix == ".safetensors":
        for key, tensor in read_safetensors(file).items():
            found.arrays[f"{name}:{key}"] = tensor.numpy()
    elif file.suffix == ".parquet":
        for batch in pq.ParquetFile(file).iter_batches():
            for key, column in zip(batch.schema.names, batch.columns, strict=True):
                values = column.to_pylist()
                if values and isinstance(values[0], str):
                    found.texts[f"{name}:{key}"] = found.texts.get(f"{name}:{key}", "") + "\n".join(map(str, values))
                else:
                    rows = np.array(values, dtype=float) if values else np.zeros(0)
                    old = found.arrays.get(f"{name}:{key}")
                    found.arrays[f"{name}:{key}"] = rows if old is None else np.concatenate([old, rows])
    elif file.suffix == ".json" or content[:1] in (b"{", b"["):
        for key, values in _lists(json.loads(content)):
            found.arrays[f"{name}:{key}"] = np.array(values, dtype=float)


def _lists(value: Any, where: str = "") -> Iterator[tuple[str, list[float]]]:
    """Lists of numbers, at any depth."""
    if isinstance(value, Mapping):
        for key, own in value.items():
            yield from _lists(own, f"{where}.{key}")
    elif isinstance(value, list):
        if value and all(isinstance(own, int | float) and not isinstance(own, bool) for own in value):
            yield where, value
        for place, own in enumerate(value):
            yield from _lists(own, f"{where}[{place}]")


def runs_of(left: Left, removed: np.ndarray, remaining: np.ndarray) -> list[str]:
    """Where `RUN` removed readings stand in a row: as bytes at any place, as text, or along an axis of an array.

    Args:
        left: all that is left.
        removed: readings, shape (k, H); NaN where they are not removed.
        remaining: those that are not, alike: what stands there as well, such as zeros of a meter at rest, is no find.
    """
    windows, others = (sliding_window_view(own, RUN, axis=1).reshape(-1, RUN) for own in (removed, remaining))
    windows, others = (own[np.isfinite(own).all(axis=1)] for own in (windows, others))
    single = np.unique(np.concatenate([windows, others]))
    again = np.isin(*(_hashed(np.searchsorted(single, own)) for own in (windows, others)))
    varied = (np.diff(np.sort(windows, axis=1), axis=1) > 0).sum(axis=1) >= RUN - 3
    windows = windows[varied & ~again]
    assert len(windows)
    found = []
    for dtype in ("<f8", ">f8", "<f4", ">f4"):
        known = _known(windows.astype(dtype[1:]))
        for name, content in left.content().items():
            size = int(dtype[2])
            for offset in range(size):
                whole = content[offset : offset + (len(content) - offset) // size * size]
                values = np.frombuffer(whole, dtype)
                if _holds(values.astype(dtype[1:]), known):
                    found.append(f"{name}: {dtype} at {offset}")
    known = _known(windows)
    for name, content in left.content().items():
        numbers = np.array([float(own) for own in _NUMBER.findall(content)] or [0.0])
        if _holds(numbers, known):
            found.append(f"{name}: as text")
    kinds = {dtype: _known(windows.astype(dtype)) for dtype in ("f8", "f4")}
    for name, series in _series(left, RUN):
        if any(_holds(series.astype(dtype), own) for dtype, own in kinds.items()):
            found.append(f"{name}: along an axis")
    return found


def _known(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that occur in windows, and a hash of each window from the places of its numbers among them."""
    single = np.unique(windows)
    return single, _hashed(np.searchsorted(single, windows))


def _hashed(places: np.ndarray) -> np.ndarray:
    return places.astype(np.uint64) @ _FACTORS


def _holds(values: np.ndarray, known: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether one of the windows stands in a row of numbers, shape (n,) or (m, n)."""
    single, hashes = known
    if values.shape[-1] < RUN:
        return False
    with np.errstate(invalid="ignore"):
        near = (values >= single[0]) & (values <= single[-1])
    if not _in_a_row(near).any():
        return False
    places = np.searchsorted(single, np.where(near, values, single[0]))
    there = _in_a_row(near & (single[places] == values))
    return bool(np.isin(_hashed(sliding_window_view(places, RUN, axis=-1)[there]), hashes).any())


def _in_a_row(there: np.ndarray) -> np.ndarray:
    """Where `RUN` in a row begin, along the last axis."""
    found = there[..., RUN - 1 :].copy()
    for k in range(RUN - 1):
        found &= there[..., k : k - RUN + 1]
    return found


def _series(left: Left, least: int) -> Iterator[tuple[str, np.ndarray]]:
    """Rows along each axis of each array that has at least so many entries."""
    for name, array in left.arrays.items():
        if array.dtype.kind not in "fiu":
            continue
        for axis in range(array.ndim):
            if array.shape[axis] >= least and array.size:
                yield f"{name}/{axis}", np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]).astype(float)


def likeness(left: Left, removed: np.ndarray) -> tuple[float, str]:
    """Largest correlation of `WINDOW` removed readings in a row with any window of anything stored, at any scale.

    Args:
        left: all that is left.
        removed: readings, shape (k, H); NaN where they are not removed.
    """
    windows = sliding_window_view(removed, WINDOW, axis=1)[:, :: WINDOW // 2].reshape(-1, WINDOW)
    windows, _ = _normed(windows[np.isfinite(windows).all(axis=1)])
    assert len(windows)
    best = 0.0, "nothing"
    for name, series in _series(left, WINDOW):
        for row in np.unique(series, axis=0):
            own, _ = _normed(sliding_window_view(row, WINDOW))
            if len(own):
                best = max(best, (float(np.abs(own @ windows.T).max()), name))
    return best


def _normed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without their mean, of norm 1; those that hardly vary are left out."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    kept = norm > 1e-6 * (1e-300 + np.linalg.norm(rows, axis=1))
    return centred[kept] / norm[kept, None], np.flatnonzero(kept)


def differences(left: Left, removed: np.ndarray, n_rows: int) -> tuple[float, str]:
    """Largest correlation of removed readings with any two stored series over the same hours, at any two scales.

    That is the multiple correlation: old loads minus new ones, physical minus known, a sum minus its other parts.

    Args:
        left: all that is left.
        removed: readings, shape (k, H); NaN where they are not removed.
        n_rows: the last so many of the hours are rows of the data set.
    """
    n_hours = removed.shape[1]
    names: list[str] = []
    rows: list[np.ndarray] = []
    for name, series in (*_series(left, WINDOW), *_series(_summed(left), WINDOW)):
        if series.shape[1] in (n_hours, n_rows):
            for place, row in enumerate(series):
                names.append(f"{name}[{place}]")
                rows.append(row[-n_rows:])
    stored = np.array(rows)
    best = 0.0, "nothing"
    for target in removed[:, -n_rows:]:
        there = np.isfinite(target)
        if there.sum() < WINDOW:
            continue
        own, kept = _normed(stored[:, there])
        wanted = _normed(target[None, there])[0]
        if not len(own) or not len(wanted):
            continue
        single, both = own @ wanted[0], own @ own.T
        apart = 1 - both**2
        apart[apart < 1e-9] = np.inf  # the same series twice
        squared = (single[:, None] ** 2 + single**2 - 2 * np.outer(single, single) * both) / apart
        i, j = np.unravel_index(int(squared.argmax()), squared.shape)
        best = max(best, (float(np.sqrt(squared[i, j])), f"{names[kept[i]]} and {names[kept[j]]}"))
    return best


def _summed(left: Left) -> Left:
    """Arrays of three axes, such as energy by hour, load and class, summed over the last one."""
    return Left(arrays={f"{name}, summed": own.sum(axis=2) for name, own in left.arrays.items() if own.ndim == 3})


def words_in(left: Left, words: list[str]) -> list[str]:
    """Where words stand, in any encoding that is usual; the words themselves are not said."""
    found = []
    for place, word in enumerate(words):
        encoded = {word.encode(), word.encode("utf-16-le"), word.encode().hex().encode()}
        found += [f"{name}: word {place}" for name, own in left.content().items() if any(e in own for e in encoded)]
        found += [f"{name}: word {place}" for name, own in left.texts.items() if word in own]
    return found


def hashes_in(left: Left, hashes: list[str]) -> list[str]:
    """Where hashes stand, as text or as bytes."""
    return words_in(left, hashes) + [
        f"{name}: hash {place}"
        for place, own in enumerate(hashes)
        for name, content in left.content().items()
        if bytes.fromhex(own) in content
    ]
