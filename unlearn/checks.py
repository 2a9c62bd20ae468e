"""Validators shared by every layer: shape, finiteness, sign, ranges, row indices; and how data shows itself in a line.

Each validator either returns the value in the form that the caller needs or raises `InputError` before any work starts.
Names of loads, meters, buildings and segments are text, whatever they look like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearn.errors import DataError, InputError, MissingPackageError, RowError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_Class = TypeVar("_Class", bound=type)
_BRIEF = 60


def short_repr(cls: _Class) -> _Class:
    """Make a data class show itself in one short line, whatever its arrays hold.

    A class decorator, above `@dataclass`. Arrays are shown by their size; a class that has a method `_in_short` shows
    the text that it returns.
    """

    def shown(self: Any) -> str:
        if hasattr(self, "_in_short"):
            return f"{type(self).__name__}({self._in_short()})"
        parts = (f"{field.name}={_brief(getattr(self, field.name))}" for field in fields(self) if field.repr)
        return f"{type(self).__name__}({', '.join(parts)})"

    setattr(cls, "__repr__", shown)  # noqa: B010 (an assignment to a method is an error to the type checker)
    return cls


def _brief(value: object) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{shape[0]} values" if len(shape) == 1 else f"{type(value).__name__} {tuple(map(int, shape))}"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float | bool):
        text = repr(value)
        return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."
    if isinstance(value, tuple | list | dict | set | frozenset):
        text = "" if len(value) > 8 else ", ".join(map(_brief, value))
        return f"({text})" if len(value) <= 8 and len(text) <= _BRIEF else f"{len(value)} items"
    return type(value).__name__


def as_floats(name: str, value: ArrayLike, ndim: int | None = None) -> FloatArray:
    """Return `value` as a float64 array, refusing what is not numeric or has the wrong rank."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers, got {type(value).__name__} ({error}).") from error
    if ndim is not None and array.ndim != ndim:
        raise InputError(f"{name}: expected {ndim} axes, got {array.ndim} (shape {array.shape}).")
    return array


def require_shape(name: str, array: NDArray, shape: Sequence[int | None]) -> None:
    """Refuse an array whose shape differs from `shape` (None stands for any length)."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise InputError(f"{name}: expected shape {wanted}, got {array.shape}.")


def require_finite(name: str, array: NDArray) -> None:
    """Refuse NaN and infinity, naming the first place where one stands."""
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name}: expected finite values, got {int(bad.sum())} NaN or infinite, first at {first}. "
            "Fill or drop them before the call."
        )


def require_positive(name: str, value: float) -> float:
    """Return `value` if it is a finite number above zero."""
    if not _is_finite(value) or value <= 0:
        raise InputError(f"{name}: expected a number above 0, got {value!r}.")
    return float(value)


def require_count(name: str, value: object) -> int:
    """Return `value` if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}.")
    return int(value)


def require_not_negative(name: str, value: float) -> float:
    """Return `value` if it is a finite number of at least zero."""
    if not _is_finite(value) or value < 0:
        raise InputError(f"{name}: expected a number of at least 0, got {value!r}.")
    return float(value)


def require_fraction(name: str, value: float) -> float:
    """Return `value` if it lies strictly between 0 and 1."""
    if not _is_finite(value) or not 0 < value < 1:
        raise InputError(f"{name}: expected a share between 0 and 1 (both excluded), got {value!r}.")
    return float(value)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return bool(np.isfinite(value))


def require_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`."""
    allowed = sorted(choices)
    if value not in allowed:
        raise InputError(f"{name}: expected one of {', '.join(allowed)}; got {value!r}.")
    return value


def require_each_once(name: str, values: Sequence[object], some: bool = True) -> None:
    """Refuse a list in which something stands twice, or, with `some`, an empty one."""
    if (some and not len(values)) or any(value in values[:i] for i, value in enumerate(values)):
        least = "at least one, " if some else ""
        raise InputError(f"{name}: expected {least}each once, got [{', '.join(map(str, values))}].")


def require_package(what: str, module: str, install: str) -> None:
    """Refuse to start `what` without an optional package.

    Args:
        what: the function, setting or module that needs it.
        module: name that the package is imported by.
        install: what follows `pip install`, such as `"unlearn[private]"`.

    Raises:
        MissingPackageError: the package cannot be imported; an `InputError` and an `ImportError`.
    """
    try:
        __import__(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{what}: expected the package {module}, which cannot be imported ({error}). Run pip install {install}."
        ) from error


def require_rows(name: str, rows: ArrayLike, size: int) -> IntArray:
    """Return `rows` as sorted, unique indices into `size` rows; a boolean mask is accepted.

    Raises:
        InputError: not integers, or duplicated.
        RowError: out of range; an `InputError` and an `IndexError`.
    """
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name}: expected a 1-D list of rows or a boolean mask, got {type(rows).__name__}."
        ) from error
    if array.ndim != 1:
        raise InputError(f"{name}: expected a 1-D list of rows or a boolean mask, got shape {array.shape}.")
    if array.dtype == bool:
        require_shape(f"{name} (boolean mask)", array, (size,))
        return np.flatnonzero(array).astype(np.int64)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: expected integer rows or a boolean mask, got {array.dtype}.")
    array = array.astype(np.int64)
    outside = array[(array < 0) | (array >= size)]
    if outside.size:
        raise RowError(
            f"{name}: expected rows from 0 to {size - 1}, got {outside.size} outside, first {int(outside[0])}."
        )
    unique, counts = np.unique(array, return_counts=True)
    if unique.size != array.size:
        raise InputError(
            f"{name}: expected each row once, got {int((counts > 1).sum())} duplicated, first "
            f"{int(unique[counts > 1][0])}. Pass numpy.unique(rows) if that is what you mean."
        )
    return unique


def as_identifiers(where: str, values: Iterable[object]) -> list[str]:
    """Return names as text.

    Text stays as it is, blanks and leading zeros included. Whole numbers become their digits, and flags True and False.
    Fractions are refused: 12.0 may have been 12 or 0012 before some program took names for numbers.

    Raises:
        DataError: a missing value, or one that is no name; names its position.
    """
    return [_as_name(where, i, value) for i, value in enumerate(values)]


def _as_name(where: str, i: int, value: object) -> str:
    if isinstance(value, str):
        if not value.strip():
            raise DataError(f"{where}: expected a name, got a blank at position {i}. Give it one, or drop it.")
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    elif isinstance(value, int | np.integer | np.bool_):
        return str(value)
    got = "a missing value" if value is None or value != value else repr(value)
    raise DataError(
        f"{where}: expected a name as text or a whole number, got {got} at position {i}. Write names as text, for "
        "numbers lose leading zeros."
    )


def require_distinct(where: str, names: Sequence[str], what: str = "column", any_case: bool = True) -> None:
    """Refuse names that occur twice, and those that differ in blanks around them, or in case, alone.

    Args:
        where: file or table, for messages.
        names: of columns, meters, ...
        what: what has these names.
        any_case: whether names that differ in case alone are taken for one.

    Raises:
        DataError: names the first such pair with its positions, from 1.
    """
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        key = name.strip().casefold() if any_case else name.strip()
        first = seen.setdefault(key, i)
        if first != i:
            again = f"{name!r} twice" if names[first] == name else f"{names[first]!r} and {name!r}"
            raise DataError(
                f"{where}: expected a different name for each {what}, got {again} ({what}s {first + 1} and {i + 1}). "
                "Rename one, or drop it if it is a copy."
            )
