"""A certificate says what was done, and nothing of it can be changed, taken from elsewhere or taken back unseen."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest

import unlearn.services.certificates.certificate as certificate
import unlearn.services.ledger.anchor as anchor
import unlearn.services.ledger.chain as ledger
from tests.proofs import proof_count
from tests.services.bodies import NOW, OTHER, SIGNER, at, body, certified, edits, model, registry
from unlearn.errors import InputError, StoreError
from unlearn.services.certificates.certificate import FILES, Verification, certify, verify_certificate
from unlearn.services.ledger.canonical import canonical, parsed
from unlearn.services.ledger.signing import Signer


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    _, opened = registry(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path, connection: Connection) -> Path:
    return certified(tmp_path, connection)


def check(path: Path, ledger: Connection | None = None) -> Verification:
    return verify_certificate(path, SIGNER.public, ledger=ledger, now=NOW)


def faults(path: Path, ledger: Connection | None = None) -> str:
    found = check(path, ledger)
    assert not found.valid
    return " ".join(found.faults)


def resigned(folder: Path, signer: Signer = SIGNER, **other: Any) -> None:
    """Change what a certificate says and sign it anew, as the holder of a key can."""
    content = {**parsed((folder / "certificate.json").read_bytes(), "certificate"), **other}
    unsigned = {name: value for name, value in content.items() if name != "signature"}
    signature = signer.sign(canonical(unsigned), "certificate").hex()
    (folder / "certificate.json").write_bytes(canonical({**unsigned, "signature": signature}))


def test_a_certificate_holds_by_itself_and_beside_its_registry(folder: Path, connection: Connection) -> None:
    found = check(folder)
    assert found.faults == ()
    assert "complete in 1 model; guarantee: exact" in found.said[0]
    assert "not checked" in found.said[-1]
    assert check(folder / "certificate.json").valid
    found = check(folder, connection)
    assert found.valid
    assert "has the request, and nothing of it was taken back" in found.said[-1]
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_it_says_what_it_was_given(folder: Path, connection: Connection) -> None:
    content = parsed((folder / "certificate.json").read_bytes(), "certificate")
    assert {name: value for name, value in content.items() if name in body()} == body()
    assert content["ledger"] == {"seq": 4, "digest": ledger.rows(connection)[3].digest}
    assert content["key"]["public"] == SIGNER.public.hex()
    evidence = parsed((folder / "evidence.json").read_bytes(), "evidence")
    assert evidence == {"format": 1, "request": "q3", "gradient": [1e-13, 2.5]}


def test_the_same_request_gives_the_same_bytes(folder: Path, connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = certified(tmp_path / "again", connection)
    assert {name: (folder / name).read_bytes() for name in FILES} == {
        name: (again / name).read_bytes() for name in FILES
    }


@pytest.mark.proof
@pytest.mark.parametrize("name", FILES)
def test_any_edit_of_one_byte_is_found(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for what, edited in edits(content, proof_count(1000), seed=len(name)):
        (folder / name).write_bytes(edited)
        assert not check(folder).valid, what
    (folder / name).write_bytes(content)
    assert check(folder).valid


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_a_link_and_another_file_are_found(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / name)
    assert f"got no {name}" in faults(folder)
    (folder / name).symlink_to(tmp_path / name)
    assert f"got no {name}" in faults(folder)
    (folder / name).unlink()
    (tmp_path / name).rename(folder / name)
    (folder / "notes.txt").write_text("Trust me.")
    assert "and nothing else, got 1 more" in faults(folder)


def test_a_certificate_of_another_key_is_refused(folder: Path) -> None:
    key = {"fingerprint": certificate.fingerprint(OTHER.public), "public": OTHER.public.hex()}
    resigned(folder, OTHER, key=key)
    assert "proves nothing by the key that it carries itself" in faults(folder)
    resigned(folder, OTHER, key={**key, "public": SIGNER.public.hex()})
    assert "its signature does not hold" in faults(folder)
    with pytest.raises(InputError, match="carries its own key proves nothing"):
        verify_certificate(folder, None)


def test_a_signature_in_other_digits_is_refused(folder: Path) -> None:
    content = parsed((folder / "certificate.json").read_bytes(), "certificate")
    content["signature"] = content["signature"].upper()
    (folder / "certificate.json").write_bytes(canonical(content))
    assert "its signature does not hold" in faults(folder)


def test_files_of_another_certificate_are_refused(folder: Path, connection: Connection, tmp_path: Path) -> None:
    other = tmp_path / "other"
    certify(body("q4"), SIGNER, other, ledger=ledger.export_ledger(connection, 5))
    assert check(other).valid
    for name in FILES[1:]:
        shutil.copy(other / name, folder / name)
        assert f"{name}: is not the file that the certificate names" in faults(folder)
    shutil.copy(other / "certificate.json", folder / "certificate.json")
    assert check(folder).valid


def test_even_its_signer_cannot_claim_what_the_ledger_does_not_have(folder: Path, connection: Connection) -> None:
    resigned(folder, ledger={"seq": 5, "digest": ledger.rows(connection)[4].digest})
    assert "no row of this request at the place" in faults(folder)
    resigned(folder, ledger={"seq": 4, "digest": "0" * 64})
    assert "no row of this request at the place" in faults(folder)
    resigned(folder, ledger={})
    assert "expected seq, digest; seq, digest not said" in faults(folder)


def test_a_signed_certificate_that_contradicts_itself_is_refused(folder: Path) -> None:
    resigned(folder, complete=False)
    assert "complete: expected what all models are together" in faults(folder)
    resigned(folder, models=[])
    assert not check(folder).valid


def test_another_registry_does_not_know_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, other = registry(tmp_path / "other", n_rows=3)
    assert "another registry, or an older state" in faults(folder, other)
    other.close()


@pytest.mark.parametrize("kind", certificate.REVOKED_BY)
def test_a_request_that_was_taken_back_is_found(folder: Path, connection: Connection, kind: str) -> None:
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, kind, {"request": "q2"}, SIGNER, at(6))
    assert check(folder, connection).valid
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, kind, {"request": "q3"}, SIGNER, at(7))
    assert f"row 8 of 2030-01-01T07:00:00.000000+00:00 says that the request was {kind}" in faults(folder, connection)
    assert check(folder).valid  # nobody can know without the registry, which it says


def test_an_edited_registry_vouches_for_nothing(folder: Path, connection: Connection) -> None:
    connection.execute("DROP TRIGGER ledger_keeps_rows")
    connection.execute("UPDATE ledger SET kind = 'x' WHERE seq = 6")
    assert "row 6: its digest" in faults(folder, connection)


def test_what_becomes_of_earlier_versions_is_said(folder: Path, connection: Connection, tmp_path: Path) -> None:
    assert "until then the request can be taken back" in " ".join(check(folder).said)
    later = datetime(2031, 1, 1, tzinfo=UTC)
    assert "Ask for a new one" in " ".join(verify_certificate(folder, SIGNER.public, now=later).said)
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, "destroyed", {"request": "q3"}, SIGNER, at(800))
    said = " ".join(verify_certificate(folder, SIGNER.public, ledger=connection, now=later).said)
    assert "were destroyed at 2030-02-03T08:00:00.000000+00:00" in said
    destroyed = [{"artefact": "day-ahead", "version": 1, "at_utc": "2030-02-03T08:00:00+00:00"}]
    new = certify(
        body(destroyed=destroyed), SIGNER, tmp_path / "new", ledger=ledger.export_ledger(connection)
    )  # its last row is the one of the destruction
    assert "destroyed before the certificate was written: 1." in " ".join(
        verify_certificate(new, SIGNER.public, now=later).said
    )


def test_a_time_to_come_is_found(folder: Path) -> None:
    found = verify_certificate(folder, SIGNER.public, now=at(1))
    assert "applied after now" in found.faults[0]


def test_a_path_that_is_no_certificate(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none", folder / "page.html"):
        with pytest.raises(InputError, match="expected the folder of a certificate"):
            verify_certificate(path, SIGNER.public)
    (tmp_path / "empty").mkdir()
    assert "got no certificate.json" in faults(tmp_path / "empty")
    for content in (b"[1]\n", b"{}\n", b'{"files":{},"key":{},"ledger":{},"request":{}}\n', b"\x00", b""):
        (folder / "certificate.json").write_bytes(content)
        assert not check(folder).valid


def test_nothing_is_written_over(folder: Path, connection: Connection, tmp_path: Path) -> None:
    rows = ledger.export_ledger(connection, 4)
    with pytest.raises(InputError, match="expected no folder there yet"):
        certify(body(), SIGNER, folder, ledger=rows)
    assert certify(body(not_covered=["backups"]), SIGNER, folder, ledger=rows, replace=True) == folder
    assert check(folder).valid
    with pytest.raises(InputError, match="the certificate of the same request"):
        certify(body("q4"), SIGNER, folder, ledger=ledger.export_ledger(connection, 5), replace=True)
    assert check(folder).valid
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError):
        certify(body(), SIGNER, tmp_path / "file", ledger=rows, replace=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_all_or_nothing(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = certificate.write

    def full(path: Path, *given: Any, **options: Any) -> str:
        if path.name == "ledger.jsonl":
            raise StoreError(f"{path}: cannot be written: the disk is full.")
        return whole(path, *given, **options)

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(certificate, "write", full)
    with pytest.raises(StoreError, match="the disk is full"):
        certified(tmp_path, connection)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_ledger_must_end_with_the_request(connection: Connection, tmp_path: Path) -> None:
    for rows in (ledger.export_ledger(connection), ledger.export_ledger(connection, 3), b""):
        with pytest.raises(InputError, match="up to the last row of this request"):
            certify(body(), SIGNER, tmp_path / "c", ledger=rows)
    with anchor.transaction(connection, SIGNER):
        ledger.append(connection, "restored", {"request": "q3"}, SIGNER, at(6))
    with pytest.raises(InputError, match="expected a request that stands, got one that was restored"):
        certify(body(), SIGNER, tmp_path / "c", ledger=ledger.export_ledger(connection))
    with pytest.raises(InputError, match="expected a body without key"):
        certify(body(key="mine"), SIGNER, tmp_path / "c", ledger=ledger.export_ledger(connection, 4))


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the fields of a body are; those of `numbers`, `seconds` and `versions` are free."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            if name not in ("numbers", "seconds", "versions"):
                yield from fields(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from fields(inner, (*path, place))


def written(path: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


@pytest.mark.parametrize("path", list(fields(body())), ids=written)
def test_every_field_is_needed_and_has_a_kind(path: tuple[Any, ...]) -> None:
    given = body()
    inner: Any = given
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = {1, 2}
    with pytest.raises(InputError, match="expected") as refused:
        certificate.require_body(given)
    assert written(path) in str(refused.value)
    del inner[path[-1]]
    with pytest.raises(InputError, match=f"{path[-1]} not said"):
        certificate.require_body(given)


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "complete": ({"complete": False}, "complete: expected what all models are"),
    "one is not": ({"models": [model(), model(complete=False, limitations=["x"])]}, "complete: expected what all"),
    "no reason": ({"models": [model(complete=False)], "complete": False}, "expected a limitation that says why"),
    "guarantee": ({"models": [model(), model(guarantee="empirical")]}, "guarantee: expected the weakest"),
    "better": ({"guarantee": "certified"}, "guarantee: expected the weakest"),
    "another word": ({"guarantee": "perfect"}, "expected one of exact, certified, empirical"),
    "kept without a word": (
        {"models": [model(constants=[{"name": "scaler", "saw": True, "refitted": False, "note": " "}])]},
        "expected a note why scaler, which saw what is removed, is kept",
    ),
    "no hash": ({"request": {**body()["request"], "removed": []}}, "expected a keyed hash for each customer"),
    "no zone": ({"request": {**body()["request"], "asked_utc": "2030-01-01T00:00:00"}}, "a time in ISO format"),
    "no number": ({"models": [model(numbers={"epsilon": "small"})]}, r"numbers\.epsilon: expected a finite number"),
    "not finite": ({"models": [model(seconds={"all": float("nan")})]}, r"seconds\.all: expected a finite number"),
    "no SHA-256": ({"models": [model(sha256_after="A" * 64)]}, "expected a SHA-256 in 64 lower-case digits"),
    "format": ({"format": 2}, "expected format 1, got another"),
    "one end": ({"request": {**body()["request"], "hours": [["a"]]}}, "the first and the last hour"),
}  # fmt: skip


@pytest.mark.parametrize(("other", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_body_that_contradicts_itself_is_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        certificate.require_body(body(**other))


def test_what_a_later_version_says_is_kept(connection: Connection, tmp_path: Path) -> None:
    folder = certified(tmp_path, connection, more={"a": 1})
    assert check(folder).valid
    assert parsed((folder / "certificate.json").read_bytes(), "certificate")["more"] == {"a": 1}


def test_a_request_that_concerned_no_model(connection: Connection, tmp_path: Path) -> None:
    folder = certified(tmp_path, connection, models=[])
    assert check(folder).valid
    assert "is in no model of this registry" in (folder / "page.html").read_text()
