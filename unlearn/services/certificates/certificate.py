"""Certificates: a folder that proves what a request to forget did, to whoever has the registry's public key.

`certificate.json` says everything, and is signed. It names the SHA-256 of the three files beside it: `evidence.json`
with the long numbers, `page.html` for people, and `ledger.jsonl` with the rows of the ledger up to the last one of the
request. So a change of any byte in any of them is found.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn.errors import DataError, InputError, UnlearnError, system_reason
from unlearn.limits import require_text
from unlearn.services.certificates.page import page
from unlearn.services.certificates.schema import require_body, require_certificate
from unlearn.services.certificates.words import counted
from unlearn.services.ledger.canonical import canonical, parsed
from unlearn.services.ledger.chain import Row, about, exported_rows, verified_export, verified_rows
from unlearn.services.ledger.signing import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    Signer,
    fingerprint,
    from_hex,
    is_signed,
    require_public_key,
)
from unlearn.store.files import write
from unlearn.store.folders import create_folder, replace_folder

#: The files of a certificate.
CERTIFICATE, EVIDENCE, PAGE, LEDGER = "certificate.json", "evidence.json", "page.html", "ledger.jsonl"
FILES = (CERTIFICATE, EVIDENCE, PAGE, LEDGER)

#: Kinds of rows of the ledger after which a certificate of the same request holds no more.
REVOKED_BY = ("restored", "superseded")
#: The kind of row that tells that what could restore the data is destroyed.
DESTROYED = "destroyed"

_PURPOSE = "certificate"
_MEND = "Ask whoever runs the registry for the certificate as it was written."


@dataclass(frozen=True)
class Verification:
    """What a certificate is worth.

    Attributes:
        faults: why it proves nothing, in sentences; none of a valid one.
        said: what it says, and what of it was checked, in sentences.
    """

    faults: tuple[str, ...]
    said: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong with it; what it says may still be that something is not forgotten."""
        return not self.faults


def certify(
    body: Mapping[str, Any],
    signer: Signer,
    folder: str | Path,
    *,
    ledger: bytes,
    evidence: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Path:
    """Write the certificate of a request, all or nothing, for the owner of the account alone.

    Args:
        body: what it says; see `unlearn.services.certificates.schema`.
        signer: of the ledger.
        folder: of the certificate; there is none yet.
        ledger: what `export_ledger` gives, up to a row of this request.
        evidence: numbers too long for the certificate itself.
        replace: whether a certificate of the same request may stand there.

    Returns:
        The folder.

    Raises:
        InputError: a body that leaves something out or contradicts itself; a ledger whose last row is not of this
            request, or that says that it was taken back; a folder that is there.
        StoreError: it cannot be written.
    """
    require_body(body)
    content = parsed(canonical(dict(body), "certificate"), "certificate")  # plain values, as a reader has them
    if taken := {"files", "ledger", "key", "signature"} & set(content):
        raise InputError(f"certificate: expected a body without {', '.join(sorted(taken))}, which are added here.")
    request = content["request"]["id"]
    table = exported_rows(ledger, LEDGER)
    if not table or not about(table[-1:], request):
        raise InputError("certificate: expected the ledger up to the last row of this request, got another end.")
    if gone := [row.kind for row in about(table, request) if row.kind in REVOKED_BY]:
        raise InputError(
            f"certificate: expected a request that stands, got one that was {gone[-1]}. Make a new request."
        )
    content["ledger"] = {"seq": table[-1].seq, "digest": table[-1].digest}
    content["key"] = {"fingerprint": fingerprint(signer.public), "public": signer.public.hex()}
    beside = {
        EVIDENCE: canonical({"format": content["format"], "request": request, **(evidence or {})}, "evidence"),
        PAGE: page(content).encode("ascii", "xmlcharrefreplace"),
        LEDGER: ledger,
    }
    content["files"] = {name: hashlib.sha256(own).hexdigest() for name, own in beside.items()}
    content["signature"] = signer.sign(canonical(content), _PURPOSE).hex()
    beside[CERTIFICATE] = canonical(content, "certificate")

    def fill(temporary: Path) -> None:
        for name, own in beside.items():
            write(temporary / name, own, confidential=True)

    folder = Path(folder)
    if replace:
        return replace_folder(folder, fill, lambda path: _require_same_request(path, request), confidential=True)
    if os.path.lexists(folder) or not create_folder(folder, fill, confidential=True):
        raise InputError(f"{folder}: expected no folder there yet, got one. Choose another.")
    return folder


def verify_certificate(
    path: str | Path, public_key: bytes, *, ledger: sqlite3.Connection | None = None, now: datetime | None = None
) -> Verification:
    """Check a certificate with a public key that its reader trusts.

    Args:
        path: its folder, or `certificate.json` in it.
        public_key: of the registry, from a source that is not the certificate.
        ledger: the registry's database, to see that it knows the request and has not taken anything back since.
        now: the time of the check; None takes the clock's.

    Raises:
        InputError: no public key, or a path that is no certificate's.
    """
    public_key = require_public_key(public_key)
    folder = _folder_of(Path(path))
    try:
        contents = _read(folder)
        content = parsed(contents[CERTIFICATE], CERTIFICATE)
        require_signed(content, public_key)
        require_certificate(content, CERTIFICATE)
    except UnlearnError as error:
        return Verification((str(error),))
    faults = [
        f"{name}: is not the file that the certificate names: it is edited. {_MEND}"
        for name in FILES[1:]
        if hashlib.sha256(contents[name]).hexdigest() != content["files"].get(name)
    ]
    said = _said(content)
    table, broken = verified_export(contents[LEDGER], public_key, LEDGER)
    faults += _evidence_faults(contents[EVIDENCE], content) + (broken or _row_faults(table, content, LEDGER))
    now = datetime.now(UTC) if now is None else now
    if datetime.fromisoformat(content["request"]["applied_utc"]) > now:
        faults.append(f"{CERTIFICATE}: the request was applied after now, {now}. Set the clock of this machine right.")
    said.append(_about_destruction(content, now))
    if ledger is None:
        said.append(
            "The registry's ledger was not given: whether anything was restored since the certificate was written is "
            "not checked."
        )
    else:
        table, broken = verified_rows(ledger, public_key)
        faults += broken or _row_faults(table, content, "registry")
        if not faults:
            said.append(_about_later_rows(table, content))
    return Verification(tuple(faults), tuple(said))


def require_signed(content: Any, public_key: bytes) -> None:
    """Refuse what is no certificate, or not one of this key.

    Raises:
        DataError: another file; another key; a signature that does not hold.
    """
    known = isinstance(content, dict) and all(
        isinstance(content.get(name), dict) for name in ("files", "ledger", "key", "request")
    )
    if not known:
        raise DataError(f"{CERTIFICATE}: expected a certificate, got something else. {_MEND}")
    own = from_hex(content["key"].get("public"), KEY_BYTES)
    if own != public_key:
        raise DataError(
            f"{CERTIFICATE}: expected a certificate of the key {fingerprint(public_key)}, got one of another key. A "
            "certificate proves nothing by the key that it carries itself: name the key of its registry, if you trust "
            "that."
        )
    signature = from_hex(content.get("signature"), SIGNATURE_BYTES)
    unsigned = canonical({name: value for name, value in content.items() if name != "signature"}, CERTIFICATE)
    if signature is None or not is_signed(unsigned, signature, _PURPOSE, public_key):
        raise DataError(f"{CERTIFICATE}: its signature does not hold: it is edited. {_MEND}")


def _folder_of(path: Path) -> Path:
    if path.is_dir():
        return path
    if path.name == CERTIFICATE and path.is_file():
        return path.parent
    raise InputError(
        f"{path}: expected the folder of a certificate, or its {CERTIFICATE}, got neither. Check the path."
    )


def _read(folder: Path) -> dict[str, bytes]:
    """The content of the four files; refuses any other file, a link, and a missing one."""
    try:
        found = {entry.name: entry.is_file(follow_symlinks=False) for entry in os.scandir(folder)}
        if missing := [name for name in FILES if not found.get(name)]:
            raise DataError(f"{folder}: expected {', '.join(FILES)}; got no {', '.join(missing)}. {_MEND}")
        if len(found) > len(FILES):
            raise DataError(
                f"{folder}: expected {', '.join(FILES)} and nothing else, got {len(found) - len(FILES)} more. Nothing "
                "vouches for those: move them elsewhere."
            )
        for name in (CERTIFICATE, EVIDENCE, PAGE):
            require_text(folder / name, (folder / name).stat().st_size)
        return {name: (folder / name).read_bytes() for name in FILES}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {system_reason(error)}.") from error


def _require_same_request(path: Path, request: str) -> None:
    """Refuse to replace anything but a certificate of the same request."""
    if not os.path.lexists(path):
        return
    try:
        same = parsed(_read(path)[CERTIFICATE], CERTIFICATE)["request"]["id"] == request
    except (UnlearnError, KeyError, TypeError):
        same = False
    if not same:
        raise InputError(
            f"{path}: expected no folder, or the certificate of the same request, got another. Choose another."
        )


def _evidence_faults(content: bytes, certificate: Mapping[str, Any]) -> list[str]:
    try:
        evidence = parsed(content, EVIDENCE)
    except UnlearnError as error:
        return [str(error)]
    if not isinstance(evidence, dict) or evidence.get("request") != certificate["request"]["id"]:
        return [f"{EVIDENCE}: is the evidence of another request. {_MEND}"]
    return []


def _row_faults(table: list[Row], content: Mapping[str, Any], where: str) -> list[str]:
    """Whether a ledger has the row that the certificate names, and none that takes it back."""
    request, place = content["request"]["id"], content["ledger"]
    named = [row for row in about(table, request) if (row.seq, row.digest) == (place["seq"], place["digest"])]
    if not named:
        return [
            f"{where}: has no row of this request at the place that the certificate names. The ledger is of another "
            "registry, or an older state of this one."
        ]
    return [
        f"{where}: row {row.seq} of {row.at} says that the request was {row.kind}: the certificate holds no more."
        for row in about(table, request)
        if row.kind in REVOKED_BY
    ]


def _said(content: Mapping[str, Any]) -> list[str]:
    models = content["models"]
    n_left = sum(not model["complete"] for model in models)
    of = counted(len(models), "model")
    if content["complete"]:
        answer = f"It says that the request is complete in {of}; guarantee: {content['guarantee']}."
    else:
        answer = f"It says that the request is NOT complete in {n_left} of {of}."
    return [
        answer,
        f"Signed with the key {content['key']['fingerprint']}; row {content['ledger']['seq']} of the ledger.",
    ]


def _about_destruction(content: Mapping[str, Any], now: datetime) -> str:
    until = content["retention"]["destroyed_after_utc"]
    if content["destroyed"]:
        return f"Earlier versions destroyed before the certificate was written: {len(content['destroyed'])}."
    if datetime.fromisoformat(until) > now:
        return f"Earlier versions are kept until {until}; until then the request can be taken back."
    return (
        f"Earlier versions were to be destroyed after {until}; the certificate was written before. Ask for a new one."
    )


def _about_later_rows(table: Iterable[Row], content: Mapping[str, Any]) -> str:
    own = about(table, content["request"]["id"])
    gone = [row for row in own if row.kind == DESTROYED]
    more = f" The ledger says that earlier versions were destroyed at {gone[-1].at}." if gone else ""
    return f"The registry's ledger is whole, has the request, and nothing of it was taken back.{more}"
