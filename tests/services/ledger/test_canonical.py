"""One value, one encoding: what is written is read back, and no other bytes are."""

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError
from unlearn.services.ledger.canonical import canonical, parsed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal with equal types and signs: 1, 1.0 and True are three values, and so are 0.0 and -0.0."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other and (not isinstance(one, float) or repr(one) == repr(other))


@given(PLAIN)
def test_what_is_written_is_read_back(value: Any) -> None:
    content = canonical(value)
    assert content.isascii()
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 1
    assert same(parsed(content, "here"), value)
    assert same(json.loads(content), value)


@given(st.dictionaries(TEXTS, st.integers(), min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(value: dict[str, int], draw: Any) -> None:
    items = list(value.items())
    draw.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


@given(PLAIN, st.data())
def test_no_edit_of_one_byte_gives_the_same_value(value: Any, data: st.DataObject) -> None:
    content = canonical(value)
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    for edited in (
        content[:place] + content[place + 1 :],
        content[:place] + bytes([byte]) + content[place:],
        content[:place] + bytes([byte]) + content[place + 1 :],
    ):
        if edited != content:
            with suppress(DataError):
                assert not same(parsed(edited, "here"), value)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        assert canonical(parsed(content, "here")) == content
    except DataError as error:
        assert str(error).startswith("here: ")  # noqa: PT017


OTHERWISE = {
    "blank": b'{"a": 1}\n', "no newline": b'{"a":1}', "two newlines": b'{"a":1}\n\n', "order": b'{"b":1,"a":2}\n',
    "key twice": b'{"a":1,"a":1}\n', "zeros": b"[1.00]\n", "exponent": b"[1e0]\n", "plus": b"[1e20]\n",
    "minus zero": b"[-0]\n", "raw letter": '["ü"]\n'.encode(), "upper-case escape": b'["\\u00FC"]\n',
    "escaped slash": b'["\\/"]\n', "escaped letter": b'["\\u0061"]\n', "half a character": b'["\\ud800"]\n',
    "NaN": b"[NaN]\n", "infinity": b"[1e999]\n", "mark of order": b"\xef\xbb\xbf[1]\n", "nothing": b"",
    "cut": b'{"a":', "deep": b"[" * 70 + b"]" * 70 + b"\n", "digits": b"[" + b"1" * 500 + b"]\n",
}  # fmt: skip


@pytest.mark.parametrize("content", OTHERWISE.values(), ids=OTHERWISE)
def test_another_encoding_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^file\.json: expected"):
        parsed(content, "file.json")


REFUSED = {
    "NaN": ({"a": [math.nan]}, r"^body\.a\[0\]: expected finite numbers"),
    "set": ({"a": {1}}, r"^body\.a: expected texts, numbers.* got set"),
    "bytes": ([b"a"], r"^body\[0\]: expected texts, numbers.* got bytes"),
    "keys": ({1: 2}, r"^body: expected texts as keys"),
    "half": (["\ud800"], r"^body\[0\]: expected text of whole characters"),
    "digits": ([10**500], r"expected numbers of at most"),
}


@pytest.mark.parametrize(("value", "said"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_be_read_back_is_not_written(value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        canonical(value, "body")


def test_a_value_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(InputError, match="at most 64 levels"):
        canonical(value)


def test_numbers_of_numpy_are_numbers() -> None:
    assert canonical({"a": np.float64(0.1), "b": np.int64(2), "c": np.bool_(True)}) == canonical(
        {"a": 0.1, "b": 2, "c": True}
    )
