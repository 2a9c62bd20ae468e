"""What a certificate must say: every field that is needed, of its kind, and nothing that contradicts itself.

Keys beside these are kept as they are, so that a later version may say more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from unlearn.errors import InputError
from unlearn.services.base import CUSTOMERS, GUARANTEES, SUBJECTS

#: The format of certificates that this version writes and reads.
FORMAT = 1

#: Checks a value at a place, which it names.
Check = Callable[[object, str], None]


def require_body(body: object, where: str = "certificate") -> None:
    """Refuse a body of a certificate that leaves something out, or that claims more than its parts do.

    Raises:
        InputError: a field that is missing or of another kind, or one that contradicts another.
    """
    _BODY(body, where)
    assert isinstance(body, Mapping)
    models, request = body["models"], body["request"]
    for place, model in enumerate(models):
        for constant in model["constants"]:
            if constant["saw"] and not constant["refitted"] and not constant["note"].strip():
                raise InputError(
                    f"{where}: models[{place}]: expected a note why {constant['name']}, which saw what is removed, is "
                    "kept, got none. Say why."
                )
        if not model["complete"] and not any(sentence.strip() for sentence in model["limitations"]):
            raise InputError(
                f"{where}: models[{place}]: expected a limitation that says why it is not complete, got none. Say why."
            )
    if body["complete"] != all(model["complete"] for model in models):
        raise InputError(f"{where}: complete: expected what all models are together, got {body['complete']}.")
    weakest = max((model["guarantee"] for model in models), key=GUARANTEES.index, default=body["guarantee"])
    if body["guarantee"] != weakest:
        raise InputError(
            f"{where}: guarantee: expected the weakest of the models', {weakest}, got {body['guarantee']}."
        )
    if request["subject"] == CUSTOMERS and request["n_customers"] != len(request["removed"]):
        raise InputError(
            f"{where}: request: expected a keyed hash for each customer, got {len(request['removed'])} of "
            f"{request['n_customers']}."
        )


def require_certificate(content: object, where: str) -> None:
    """Refuse what is no whole certificate: a body with the files, the row of the ledger and the key beside it.

    Raises:
        InputError: as `require_body`.
    """
    _SIGNED(content, where)
    require_body(content, where)


def _refuse(where: str, expected: str, value: object) -> InputError:
    return InputError(f"{where}: expected {expected}, got {type(value).__name__}. Say it, or correct what writes it.")


def _text(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise _refuse(where, "text", value)


def _flag(value: object, where: str) -> None:
    if not isinstance(value, bool):
        raise _refuse(where, "true or false", value)


def _count(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refuse(where, "a whole number of at least 0", value)


def _number(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refuse(where, "a finite number", value)


def _time(value: object, where: str) -> None:
    try:
        zone = datetime.fromisoformat(value).tzinfo if isinstance(value, str) else None
    except ValueError:
        zone = None
    if zone is None:
        raise _refuse(where, "a time in ISO format with its zone", value)


def _sha256(value: object, where: str) -> None:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise _refuse(where, "a SHA-256 in 64 lower-case digits", value)


def _anything(value: object, where: str) -> None:
    """Of a version: a number or a text, as the registry counts them."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _refuse(where, "a version", value)


def _format(value: object, where: str) -> None:
    if value != FORMAT or isinstance(value, bool):
        raise InputError(f"{where}: expected format {FORMAT}, got another. Use the version of unlearn that wrote it.")


def _one_of(choices: Sequence[str]) -> Check:
    def check(value: object, where: str) -> None:
        if value not in choices:
            raise InputError(f"{where}: expected one of {', '.join(choices)}; got something else.")

    return check


def _or_none(inner: Check) -> Check:
    def check(value: object, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def _each(inner: Check) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, list | tuple):
            raise _refuse(where, "a list", value)
        for place, one in enumerate(value):
            inner(one, f"{where}[{place}]")

    return check


def _pair(value: object, where: str) -> None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise _refuse(where, "the first and the last hour of a range", value)
    for one in value:
        _text(one, where)


def _by_name(inner: Check) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _refuse(where, "values by name", value)
        for name, one in value.items():
            inner(one, f"{where}.{name}")

    return check


def _fields(**checks: Check) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _refuse(where, "fields by name", value)
        if missing := [name for name in checks if name not in value]:
            raise InputError(f"{where}: expected {', '.join(checks)}; {', '.join(missing)} not said. Say it.")
        for name, inner in checks.items():
            inner(value[name], f"{where}.{name}")

    return check


_CONSTANT = _fields(name=_text, saw=_flag, refitted=_flag, note=_text)
_EFFECT = _fields(
    method=_text, split=_text, mse_pu2=_or_none(_number), mape_percent=_or_none(_number),
    cost_per_hour=_or_none(_number),
)  # fmt: skip
_MODEL = _fields(
    name=_text, kind=_text, version_before=_or_none(_anything), version_after=_or_none(_anything),
    sha256_before=_or_none(_sha256), sha256_after=_or_none(_sha256), method=_text, guarantee=_one_of(GUARANTEES),
    why=_text, complete=_flag, constants=_each(_CONSTANT), numbers=_by_name(_or_none(_number)), effect=_each(_EFFECT),
    limitations=_each(_text), seconds=_by_name(_number),
)  # fmt: skip
_REQUEST = _fields(
    id=_text, subject=_one_of(SUBJECTS), asked_utc=_time, applied_utc=_time, removed=_each(_text), n_customers=_count,
    n_hours=_or_none(_count), hours=_or_none(_each(_pair)), loads=_or_none(_each(_text)), case=_or_none(_text),
    replacement=_or_none(_text),
)  # fmt: skip
_DATA = _fields(
    name=_text, version_before=_or_none(_anything), version_after=_or_none(_anything), sha256_before=_or_none(_sha256),
    sha256_after=_or_none(_sha256), fingerprint_after=_or_none(_text),
)  # fmt: skip
_BODY = _fields(
    format=_format, request=_REQUEST, registry=_fields(id=_text, name=_text), models=_each(_MODEL), data=_each(_DATA),
    not_covered=_each(_text), retention=_fields(days=_number, destroyed_after_utc=_time),
    destroyed=_each(_fields(artefact=_text, version=_anything, at_utc=_time)), versions=_by_name(_text),
    guarantee=_one_of(GUARANTEES), complete=_flag,
)  # fmt: skip
_SIGNED = _fields(
    files=_by_name(_sha256), ledger=_fields(seq=_count, digest=_sha256), key=_fields(fingerprint=_text, public=_sha256),
)  # fmt: skip
