"""MATPOWER case files: the `.m` text, read strictly, and the `.mat` file that `savecase` writes.

A `.m` case is a MATLAB function, and a quarter of those that MATPOWER ships end in statements that
convert ohms or kilowatts. Reading their matrices and skipping the rest would give a grid that is
wrong by orders of magnitude without a word, so anything but `mpc.name = value` is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from unlearn.checks import FloatArray
from unlearn.errors import InputError
from unlearn.limits import GRID_BYTES, require_at_most, require_mat, require_words

#: Fields that are read as numbers; others, such as names of buses, are skipped.
NUMERIC = ("baseMVA", "bus", "gen", "branch", "gencost", "dcline")

_REMEDY = "Load the case in MATPOWER and write it with savecase('mine.mat', mpc), or convert it in the file."

_STRING = r"'(?:[^'\n]|'')*'|\"[^\"\n]*\""
_BLOCK_COMMENT = re.compile(r"^[ \t]*%\{[ \t]*$.*?^[ \t]*%\}[ \t]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(rf"(?P<kept>{_STRING})|%[^\n]*|\.\.\.[^\n]*(?:\n|\Z)")
_HEADER = re.compile(r"\s*function\s+(?P<struct>\w+)\s*=\s*\w+\s*(?:\(\s*\))?[ \t]*(?:[;,\n]|\Z)")
_ASSIGNMENT = re.compile(
    rf"(?P<struct>\w+)\.(?P<field>\w+)\s*=\s*(?P<value>\[[^\]]*\]|\{{(?:{_STRING}|[^}}'\"]++)*+\}}|{_STRING}|[^\s;,\[{{]+)"
    r"[ \t]*(?:[;,\n]|\Z)"
)
_GAP = re.compile(r"[\s;,]*")
_END = re.compile(r"(?:end|return)\b")


def read_m(path: Path) -> dict[str, Any]:
    """Read the matrices of a MATPOWER case of format version 2.

    Returns:
        Those of `NUMERIC` that the file holds: `baseMVA` a float, the others (rows, columns) float64.

    Raises:
        InputError: a statement that is no plain assignment, a ragged or non-numeric matrix, a field
            given twice; names the file and the line.
    """
    # Only comments and names of buses hold anything but ASCII.
    try:
        require_at_most(path, "bytes", path.stat().st_size, GRID_BYTES, "This is no grid; name the right file.")
        raw = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    require_words(path, raw)
    text = _without_comments(raw.replace("\r\n", "\n"))
    header = _HEADER.match(text)
    struct, place = (header["struct"], header.end()) if header else ("mpc", 0)
    fields: dict[str, Any] = {}
    seen: set[str] = set()
    while (place := _skip(text, place)) < len(text):
        found = _ASSIGNMENT.match(text, place)
        if found is None or found["struct"] != struct:
            if done := _END.match(text, place):
                place = done.end()
                continue
            code = text[place:].split("\n", 1)[0].strip()
            raise InputError(
                f"{path}, line {_line(text, place)}: expected only {struct}.name = value, got {code[:60]!r}, "
                f"which would have to be run. {_REMEDY}"
            )
        field = found["field"]
        if field in seen:
            raise InputError(f"{path}, line {_line(text, place)}: {struct}.{field} is given a second time.")
        seen.add(field)
        if field in NUMERIC:
            where = f"{path}, line {{line}}: {struct}.{field}"
            fields[field] = _numbers(found["value"], where, _line(text, found.start("value")))
        place = found.end()
    return fields


def read_mat(path: Path) -> dict[str, Any]:
    """Read the same from a `.mat` file that holds a case struct, or its matrices side by side.

    Raises:
        InputError: not a MATLAB file of version 5 to 7.2, or no case in it.
    """
    from scipy.io import loadmat  # only where such a file is read

    try:
        require_mat(path)
        content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except InputError:
        raise
    except Exception as error:  # on bytes that are no such file the reader ends with whatever it stumbles over
        raise InputError(
            f"{path}: expected a MATLAB file of version 7, written with save -v7 (7.3 is HDF5), got none: "
            f"{str(error).rstrip('.')}."
        ) from error
    for value in content.values():
        names = getattr(getattr(value, "dtype", None), "names", None) or ()
        if {"bus", "gen", "branch"} <= set(names) and value.size:
            content = {name: value[name].flat[0] for name in names}
            break
    fields = {name: content[name] for name in NUMERIC if name in content}
    for name, value in fields.items():
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb":
            raise InputError(f"{path}: {name}: expected numbers (real, in a full matrix), got {kind}.")
        fields[name] = value.astype(np.float64)
    return fields


def _without_comments(text: str) -> str:
    """Drop comments; line breaks stay, so that lines can be counted, as \\v where a line goes on."""
    # Behind the last end none can be found, and looking for it from every beginning would take hours.
    end = text.rfind("%}") + len("%}\n")
    blocks = _BLOCK_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text[:end]) if "%}" in text else ""
    text = blocks + text[end:] if "%}" in text else text
    return _COMMENT.sub(lambda found: found["kept"] or ("\v" if found[0].startswith("...") else ""), text)


def _skip(text: str, place: int) -> int:
    gap = _GAP.match(text, place)
    return gap.end() if gap else place


def _line(text: str, place: int) -> int:
    return 1 + text.count("\n", 0, place) + text.count("\v", 0, place)


def _numbers(value: str, where: str, line: int) -> float | FloatArray:
    if not value.startswith("["):
        return _number(value, where.format(line=line))
    rows: list[list[float]] = []
    for text in value[1:-1].split("\n"):
        for row in text.split(";"):
            if words := row.replace(",", " ").split():
                rows.append([_number(word, where.format(line=line)) for word in words])
                if len(rows[-1]) != len(rows[0]):
                    at = where.format(line=line)
                    raise InputError(f"{at}: expected {len(rows[0])} columns as in its first row, got {len(rows[-1])}.")
        line += 1 + text.count("\v")
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise InputError(f"{where}: expected a number, got {word!r}. {_REMEDY}") from error
