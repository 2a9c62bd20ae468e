"""What a file may claim: sizes checked against the file itself before anything is allocated or parsed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from unlearn.errors import DataError, InputError

#: Bytes of a text that is parsed as a whole: a card, or a grid's YAML.
TEXT_BYTES = 2**23

#: Brackets, mappings and lists inside each other.
DEPTH = 64

#: Digits of one number; a double has no more than 309 before the point.
DIGITS = 400

#: Columns of a table, far above one for each of some thousand meters.
COLUMNS = 20_000

#: Bytes that an archive may unpack to: so many times its own, or `UNPACKED_BYTES` if that is more.
UNPACKED_TIMES, UNPACKED_BYTES = 100, 2**28

# From the start of a run of digits only, so that the search takes one pass.
_DIGITS = re.compile(rf"(?<!\d)\d{{{DIGITS + 1}}}")
_OPENED_OR_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def require_at_most(
    where: str | Path, what: str, came: int, most: int, remedy: str, error: type[InputError] = DataError
) -> None:
    """Refuse a size above what is expected: says where, what, how much came, and the remedy."""
    if came > most:
        raise error(f"{where}: expected at most {most:,} {what}, got {came:,}. {remedy}")


def require_text(where: str | Path, n_bytes: int) -> None:
    """Refuse a text too long to be parsed as a whole."""
    require_at_most(where, "bytes", n_bytes, TEXT_BYTES, "This is no card or settings; name the right file.")


def require_json(where: str | Path, text: str) -> None:
    """Refuse JSON that is too long, too deep, or has a number of too many digits, before it is parsed."""
    require_text(where, len(text))
    require_digits(where, text)
    depth = 0
    for found in _OPENED_OR_CLOSED.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        require_at_most(where, "levels inside each other", depth, DEPTH, "Write the file again.")


def require_digits(where: str | Path, text: str) -> None:
    """Refuse a number of more digits than any double has."""
    if found := _DIGITS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise DataError(f"{where}: expected numbers of at most {DIGITS} digits, got more in line {line}. Correct it.")


def require_yaml(where: str | Path, text: str) -> None:
    """Refuse YAML that is too long, too deep, or whose aliases stand for each other, before it is built."""
    import yaml

    require_text(where, len(text))
    require_digits(where, text)
    opened: list[bool] = []
    for event in yaml.parse(text):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(event.anchor is not None)
            require_at_most(where, "levels inside each other", len(opened), DEPTH, "Write settings flatter.")
        elif isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
        elif isinstance(event, yaml.AliasEvent) and any(opened):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise DataError(
                f"{where}: expected aliases outside what an anchor names, got *{event.anchor} inside one in line "
                f"{line}. Write its value out."
            )


def require_unpackable(
    where: str | Path, members: Iterable[zipfile.ZipInfo], n_bytes: int, error: type[InputError] = DataError
) -> None:
    """Refuse an archive of `n_bytes` whose directory promises far more; no member unpacks to more than it promises."""
    promised, most = sum(member.file_size for member in members), max(UNPACKED_BYTES, UNPACKED_TIMES * n_bytes)
    require_at_most(where, "bytes once unpacked", promised, most, "Fetch it again, or extract it to a folder.", error)


def require_safetensors(path: str | Path) -> None:
    """Refuse a safetensors file whose header is longer than the file, or than a header can be."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    most = min(TEXT_BYTES, max(0, size - 8))
    require_at_most(path, "bytes of header", header, most, "Delete it and make it anew.")
