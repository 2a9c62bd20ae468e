"""One encoding of a value in bytes, so that a digest or signature of the bytes is one of the value.

It is JSON with sorted keys, without blanks, in ASCII, floats as Python's `repr` writes them, and one newline at the
end: files of one value end as text files do, and files of many are its concatenation, one value a line. Whoever reads
refuses every other encoding of the same value, so that no byte can change unseen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn.errors import DataError, InputError
from unlearn.limits import DEPTH, require_json

_MEND = "Use the file as it was written, without opening it in an editor."


def canonical(value: object, where: str = "value") -> bytes:
    """Encode a value; the same value always gives the same bytes.

    Args:
        value: texts, whole numbers, finite floats, truth values, None, and lists and mappings of them.
        where: what messages call it.

    Raises:
        InputError: something else in it, named by its place; or more than `parsed` would read.

    >>> canonical({"b": [1, 0.1], "a": None})
    b'{"a":null,"b":[1,0.1]}\\n'
    """
    text = _encoded(value, where)
    require_json(where, text)
    return text.encode("ascii")


def parsed(content: bytes, where: str) -> Any:
    """Decode what `canonical` wrote, and nothing that it would not have written.

    Args:
        content: the bytes.
        where: what messages call them: a file, or a file and a line.

    Raises:
        DataError: no JSON, or another encoding of its value: blanks, another order of keys, a key twice, 1.00 for 1.0.

    >>> parsed(b'{"a":null,"b":[1,0.1]}\\n', "a file")
    {'a': None, 'b': [1, 0.1]}
    """
    try:
        text = content.decode("ascii")
        require_json(where, text)
        value = json.loads(text)
        same = _encoded(value, where) == text
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # also InputError, of NaN and the like
        raise DataError(f"{where}: expected JSON as it was written, got something else or a part of it. {_MEND}") from (
            error
        )
    if not same:
        raise DataError(f"{where}: expected JSON in its canonical form, got the same values written otherwise. {_MEND}")
    return value


def _encoded(value: object, where: str) -> str:
    return json.dumps(_plain(value, where), sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _plain(value: object, where: str, depth: int = 0) -> Any:
    """The value in types that JSON gives back as they were; refuses what it would change."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where}: expected finite numbers, got {value}. Write None for what is not known.")
        return value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise InputError(f"{where}: expected text of whole characters, got half of one. Correct the text.")
        return value
    if depth >= DEPTH:
        raise InputError(f"{where}: expected at most {DEPTH} levels inside each other, got more. Write it flatter.")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InputError(f"{where}: expected texts as keys, got others. Name what the values are.")
        return {_plain(key, where): _plain(inner, f"{where}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{where}[{place}]", depth + 1) for place, inner in enumerate(value)]
    raise InputError(
        f"{where}: expected texts, numbers, truth values, None, and lists and mappings of them, got "
        f"{type(value).__name__}. Write what it is made of."
    )
