"""Names of loads, meters, buildings and segments: text, whatever they look like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from unlearn.errors import DataError


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
