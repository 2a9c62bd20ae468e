"""Bad input: a clear sentence each, nothing half-done, and no readings, other customers or keys in a message."""

import base64
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import unlearn.services.tables as tables
from tests.proofs import proof_count
from tests.services.small import (
    LOADS,
    NAME,
    START,
    Clock,
    Raw,
    State,
    made,
    opened,
    raw,
    require_whole,
    state,
)
from tests.services.steps import processes, step_with_little_space
from unlearn.errors import DataError, InputError, MismatchError, StoreError, UnlearnError
from unlearn.services import (
    DeletionRequest,
    ForecastLearner,
    ModelRegistry,
    RegistryKey,
    forget,
    open_registry,
    plan,
    restore,
)
from unlearn.services.ledger.chain import rows

WHO = DeletionRequest(customers=(NAME.format(4), NAME.format(7)))
LEARNERS = {"linear": ForecastLearner(), "other": ForecastLearner(l2=0.1)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Raw, State]:
    folder, now = tmp_path_factory.mktemp("refused") / "a", raw(1, n_days=15)
    return folder, now, state(made(folder, now.data(), **LEARNERS))


@pytest.fixture
def folder(template: tuple[Path, Raw, State], tmp_path: Path) -> Path:
    shutil.copytree(template[0], tmp_path / "r")
    return tmp_path / "r"


@pytest.fixture
def registry(folder: Path) -> ModelRegistry:
    return opened(folder)


def everything(registry: ModelRegistry) -> dict[str, bytes]:
    """All files of a registry to the byte."""
    return {
        str(file.relative_to(registry.folder)): file.read_bytes()
        for file in sorted(registry.folder.rglob("*"))
        if file.is_file()
    }


def require_silent(message: str, key: RegistryKey, *asked: str) -> None:
    """Nothing stands in a message that whoever asked did not know."""
    assert set(re.findall(r"Q-customer-\d\d", message)) <= set(asked)
    assert not re.search(r"(?<![:\d])\d+\.\d{3,}", message)
    secret = key._secret
    for derived in (secret, *(key.derived(own) for own in ("wrap", "sign", "names"))):
        for text in (derived.hex(), base64.b64encode(derived).decode()):
            assert text[:8] not in message
    assert re.search(r"[.]$", message)
    assert "Traceback" not in message


def refused(
    registry: ModelRegistry, do: Callable[[], object], kind: type[UnlearnError], match: str, *asked: str
) -> str:
    """What is said of something that is refused and changes not a byte."""
    before = everything(registry)
    with pytest.raises(kind, match=match) as error:
        do()
    require_silent(str(error.value), registry.key, *asked)
    assert everything(registry) == before
    return str(error.value)


ABSENT = "Q-customer-99"
BEFORE, OUTSIDE = ("2012-01-01", "2012-01-03"), ("2013-03-18T20:00", "2013-03-25")


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (DeletionRequest(customers=(ABSENT,)), "got 1 that it does not have: Q-customer-99. Names must be alike"),
        (DeletionRequest(customers=(ABSENT, NAME.format(3))), "got 1 that it does not have: Q-customer-99"),
        (DeletionRequest(customers=("q-customer-03",)), "got 1 that it does not have: q-customer-03"),
        (DeletionRequest(loads=("bus_9",)), "got 1 that it does not have: bus_9"),
        (DeletionRequest(loads=("bus_9",), hours=(OUTSIDE,)), "got 1 that it does not have: bus_9"),
        (DeletionRequest(hours=(BEFORE,)), "hours: expected hours of the data, got none of them"),
        (DeletionRequest(loads=LOADS[:1], hours=(BEFORE,)), "got none of them: measurements of bus_1"),
        (DeletionRequest(customers=(NAME.format(3),), hours=(BEFORE,)), "hours: expected .*got none"),
        (DeletionRequest(customers=(NAME.format(3),), data="nothing"), "name: expected one of data, linear, other"),
        (DeletionRequest(customers=(NAME.format(3),), data="linear"), "data: expected the name of a data set"),
        (DeletionRequest(loads=LOADS), "nothing would remain"),
        (DeletionRequest(hours=(("2013-01-01", "2014-01-01"),)), "nothing|no customer would be"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("do", [plan, forget])
def test_what_is_not_there(
    registry: ModelRegistry, request_: DeletionRequest, match: str, do: Callable[..., object]
) -> None:
    said = refused(registry, lambda: do(registry, request_), InputError, match, *request_.customers)
    assert "bus_1" not in said or request_.loads


def test_all_customers_of_a_load(registry: ModelRegistry, template: tuple[Path, Raw, State]) -> None:
    now = template[1]
    who = tuple(name for name, b in zip(now.names, now.load_of, strict=True) if b == 0)
    said = refused(registry, lambda: forget(registry, DeletionRequest(customers=who)), InputError, "bus_1")
    assert "Q-customer" not in said


def test_hours_before_a_meter_was_there(registry: ModelRegistry, template: tuple[Path, Raw, State]) -> None:
    now = template[1]
    late = next(name for name, there in zip(now.names, now.alive[0], strict=True) if not there)
    asked = DeletionRequest(customers=(late,), hours=(("2013-03-04", "2013-03-05"),))
    refused(registry, lambda: forget(registry, asked), InputError, "within each meter's life", late)


@pytest.mark.parametrize("id", ["R-000001", "R-1", "", "../keys", "'; DROP TABLE ledger; --"])
def test_requests_that_nobody_made(registry: ModelRegistry, id: str) -> None:
    for do in (plan, forget, restore):
        refused(registry, lambda do=do: do(registry, id), InputError, "expected the id of a request")


def test_the_same_again_is_told_and_not_done(registry: ModelRegistry) -> None:
    first = forget(registry, WHO, measure=False)
    before = everything(registry)
    for again in (WHO, DeletionRequest(customers=WHO.customers[::-1]), "R-000001"):
        told = forget(registry, again)
        assert (told.id, told.again, told.evidence) == (first.id, True, first.evidence)
    assert everything(registry) == before
    refused(registry, lambda: plan(registry, WHO), InputError, "R-000001: this was asked for before and applied on")


def test_what_overlaps_is_named(registry: ModelRegistry) -> None:
    four, five = NAME.format(4), NAME.format(5)
    forget(registry, WHO, measure=False)
    both = DeletionRequest(customers=(four, five))
    said = refused(registry, lambda: forget(registry, both), InputError, "forgotten before", four)
    assert f"{four} (by R-000001) was forgotten before. Ask for the other 1 alone" in said
    hours = (("2013-03-06", "2013-03-07"),)
    forget(registry, DeletionRequest(hours=hours), measure=False)
    inside = DeletionRequest(loads=LOADS[:2], hours=(("2013-03-06T03:00", "2013-03-06T05:00"),))
    refused(
        registry, lambda: forget(registry, inside), InputError, "all measurements that are asked for were forgotten"
    )
    # What reaches beyond is forgotten.
    wider = DeletionRequest(hours=(("2013-03-06T12:00", "2013-03-07T12:00"),))
    assert forget(registry, wider, measure=False).complete


def test_customers_of_a_withdrawn_load_were_forgotten_with_it(
    registry: ModelRegistry, template: tuple[Path, Raw, State]
) -> None:
    now = template[1]
    forget(registry, DeletionRequest(loads=LOADS[1:2]), measure=False)
    one = next(name for name, b in zip(now.names, now.load_of, strict=True) if b == 1)
    for asked in (
        DeletionRequest(customers=(one,)),
        DeletionRequest(customers=(one,), hours=(("2013-03-06", "2013-03-07"),)),
    ):
        refused(
            registry, lambda asked=asked: forget(registry, asked), InputError, "forgotten before|does not have", one
        )
    refused(registry, lambda: forget(registry, DeletionRequest(loads=LOADS[1:])), InputError, "bus_2 .by R-000001. was")


@pytest.mark.parametrize(
    "asked",
    [
        WHO,
        DeletionRequest(customers=WHO.customers, hours=(("2013-03-14", "2013-03-15"),)),
        DeletionRequest(hours=(("2013-03-14", "2013-03-15"),)),
        DeletionRequest(loads=LOADS[:1]),
    ],
)
def test_what_comes_in_other_data_is_forgotten_there(
    registry: ModelRegistry, template: tuple[Path, Raw, State], asked: DeletionRequest
) -> None:
    """A request that was applied says nothing of data that came later."""
    first = forget(registry, asked, measure=False)
    for name in ("later", "last"):
        registry.add_data(name, template[1].data())
    second = forget(registry, asked, measure=False)
    assert (second.id, second.again) == ("R-000002", False)
    assert [own["name"] for own in second.evidence["data"]] == ["later", "last"]
    one, *others = (registry.load(name).fingerprint for name in ("data", "later", "last"))
    assert others == [one, one]
    told = forget(registry, asked)
    assert (told.id, told.again) == ("R-000002", True)
    assert forget(registry, first.id).again


def blobs(registry: ModelRegistry) -> dict[str, Path]:
    with registry.alone() as connection:
        own = tables.artefacts(connection, tables.CURRENT)
    return {one.name: registry.folder / "artefacts" / f"{one.blob}.sealed" for one in own}


def exchange(one: Path, other: Path) -> None:
    middle = one.with_suffix(".middle")
    one.rename(middle)
    other.rename(one)
    middle.rename(other)


@pytest.mark.parametrize("name", ["data", "linear"])
def test_a_file_that_lies_elsewhere(registry: ModelRegistry, tmp_path: Path, name: str) -> None:
    blob, whole = blobs(registry)[name], everything(registry)
    blob.rename(tmp_path / blob.name)
    refused(registry, lambda: forget(registry, WHO), DataError, "it was moved, or removed by hand")
    refused(registry, lambda: registry.load(name), DataError, "it was moved, or removed by hand")
    (tmp_path / blob.name).rename(blob)
    assert everything(registry) == whole
    assert forget(registry, WHO, measure=False).complete


def test_files_that_are_exchanged(registry: ModelRegistry, template: tuple[Path, Raw, State]) -> None:
    one, other = (blobs(registry)[name] for name in ("linear", "other"))
    keys = [registry.folder / "keys" / f"{own.stem}.key" for own in (one, other)]
    exchange(one, other)
    refused(registry, lambda: forget(registry, WHO), DataError, "it is damaged, edited or replaced")
    exchange(*keys)
    refused(registry, lambda: forget(registry, WHO), DataError, "it is damaged, edited or replaced")
    exchange(one, other)
    refused(registry, lambda: forget(registry, WHO), DataError, "expected a key that the key of this registry opens")
    exchange(*keys)
    assert state(registry) == template[2]
    assert forget(registry, WHO, measure=False).complete


def test_an_older_version_in_place_of_the_new_one(registry: ModelRegistry) -> None:
    """The model before the deletion, under the name of the one after it."""
    before = blobs(registry)["linear"]
    forget(registry, WHO, measure=False)
    after = blobs(registry)["linear"]
    for folder, ending in (("artefacts", "sealed"), ("keys", "key")):
        shutil.copyfile(*(registry.folder / folder / f"{own.stem}.{ending}" for own in (before, after)))
    refused(registry, lambda: registry.load("linear"), DataError, "it is damaged, edited or replaced")


def test_a_wrong_key(folder: Path, registry: ModelRegistry, tmp_path: Path) -> None:
    other = RegistryKey.new()
    other.save(tmp_path / "other.key")
    said = refused(
        registry, lambda: open_registry(registry.folder, tmp_path / "other.key"), MismatchError, "expected the key that"
    )
    require_silent(said, other)
    own = (folder / "registry.key").read_bytes()
    for content in (
        b"",
        b"\xff\xfe\x00",
        b'{"key": 1}',
        own[:-9],
        own[5:],
        own + own,
        b"\0" * 4096,
        own[:40] + b"\n" + own[40:],
    ):
        (tmp_path / "bad.key").write_bytes(content)
        said = refused(
            registry, lambda: open_registry(registry.folder, tmp_path / "bad.key"), DataError, "expected the key of"
        )
        assert content[:6].decode(errors="replace") not in said or not content
    refused(registry, lambda: open_registry(registry.folder, tmp_path / "no.key"), DataError, "got no such file")
    refused(registry, lambda: open_registry(registry.folder, tmp_path), DataError, "cannot be read")
    refused(registry, lambda: open_registry(tmp_path, folder / "registry.key"), DataError, "expected a registry")


@pytest.mark.parametrize("missing", ["format", "key", "retention_days"])
def test_a_registry_that_lacks_what_it_says_of_itself(folder: Path, missing: str) -> None:
    connection = sqlite3.connect(folder / "registry" / "registry.db")
    connection.execute("DELETE FROM meta WHERE key = ?", (missing,))
    connection.commit()
    connection.close()
    with pytest.raises(UnlearnError):
        opened(folder)


def test_a_clock_that_goes_back(folder: Path, registry: ModelRegistry) -> None:
    early = opened(folder, Clock(START - timedelta(days=2)))
    for do in (lambda: forget(early, WHO), lambda: plan(early, WHO)):
        refused(early, do, InputError, "the clock went back")
    with pytest.raises(InputError, match="the clock went back"):
        early.train("third", ForecastLearner())
    require_whole(registry)
    forget(registry, WHO, measure=False)
    after = everything(registry)
    with pytest.raises(InputError, match="the clock went back"):
        restore(early, "R-000001")
    assert everything(registry) == after
    # A version before is not destroyed early, nor kept for longer once the clock is right again.
    assert len(tables_of(early, tables.RETAINED)) == 3
    opened(folder, Clock(START + timedelta(days=8)))
    assert tables_of(registry, tables.RETAINED) == []


def tables_of(registry: ModelRegistry, state_: str) -> list[tables.Artefact]:
    with registry.alone() as connection:
        return tables.artefacts(connection, state_)


def test_what_can_be_undone(folder: Path, registry: ModelRegistry) -> None:
    plan(registry, WHO, tunings=())
    forget(registry, "R-000001", measure=False)
    forget(registry, DeletionRequest(customers=(NAME.format(9),)), measure=False)
    refused(registry, lambda: restore(registry, "R-000001"), InputError, "Restore later requests first")
    restore(registry, "R-000002")
    refused(registry, lambda: restore(registry, "R-000002"), InputError, "got one that is restored")
    refused(registry, lambda: forget(registry, "R-000002"), InputError, "it was undone")
    later = opened(folder, Clock(START + timedelta(days=8)))
    refused(later, lambda: restore(later, "R-000001"), InputError, "its retention is over")


def test_versions_before_that_are_damaged_are_not_put_in_use(registry: ModelRegistry) -> None:
    """Those after the deletion are not destroyed for them."""
    before = blobs(registry)["linear"]
    forget(registry, WHO, measure=False)
    after = state(registry)
    before.write_bytes(before.read_bytes()[:-1])
    refused(registry, lambda: restore(registry, "R-000001"), DataError, "it is damaged, edited or replaced")
    before.unlink()
    refused(registry, lambda: restore(registry, "R-000001"), DataError, "it was moved, or removed by hand")
    assert state(registry) == after


def test_hours_that_stand_as_lags_alone(tmp_path: Path) -> None:
    """The first day of the meters is a lag of the second: it is not said to be forgotten."""
    now = raw(1, (24,), n_days=15)
    registry = made(tmp_path, now.data())
    for asked in (
        DeletionRequest(hours=(("2013-03-04T22:00", "2013-03-05T02:00"),)),
        DeletionRequest(hours=(("2013-03-04T20:00", "2013-03-04T22:00"),)),
        DeletionRequest(loads=LOADS[:1], hours=(("2013-03-04T20:00", "2013-03-05T02:00"),)),
    ):
        refused(registry, lambda asked=asked: forget(registry, asked), InputError, "lags|got none of them")


def test_a_full_disk_at_each_write(
    folder: Path, template: tuple[Path, Raw, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC from every sync of a file in turn: the state before, unless all of it was committed."""
    calls, last, sync = [0], [0], os.fsync

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == last[0]:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    shutil.copytree(folder, folder.with_name("whole"))
    whole = opened(folder.with_name("whole"))
    calls[0] = 0
    forget(whole, WHO, measure=False)
    after, n_syncs = state(whole), calls[0]
    stride = max(1, n_syncs // proof_count(60))
    for moment in range(1, n_syncs + 1, stride):
        place = folder.with_name(f"at {moment}")
        shutil.copytree(folder, place)
        registry = opened(place)
        calls[0], last[0] = 0, moment
        with pytest.raises(StoreError, match="the disk is full") as error:
            forget(registry, WHO, measure=False)
        require_silent(str(error.value), registry.key)
        last[0] = 0
        require_all_or_nothing(place, template[2], after)
        shutil.rmtree(place)


def require_all_or_nothing(place: Path, before: State, after: State) -> None:
    registry = opened(place)
    require_whole(registry)
    assert state(registry) in (before, after)
    forget(registry, WHO, measure=False)
    assert state(registry) == after
    require_whole(registry)
    with registry.alone() as connection:
        assert [row.kind for row in rows(connection)][3:].count("applied") == 1


def test_a_database_that_cannot_grow(
    registry: ModelRegistry, template: tuple[Path, Raw, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    have = registry.database.stat().st_size // 4096

    def small(*given: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*given, **named)
        connection.execute(f"PRAGMA max_page_count = {have}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StoreError, match="the disk is full") as error:
        forget(registry, WHO, measure=False)
    require_silent(str(error.value), registry.key)
    assert state(registry) == template[2]
    require_whole(registry)
    monkeypatch.undo()
    forget(registry, WHO, measure=False)
    require_whole(registry)


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are of POSIX")
@pytest.mark.parametrize("kb", [0, 150])
def test_files_in_the_vault_that_may_not_grow(folder: Path, template: tuple[Path, Raw, State], kb: int) -> None:
    """A process under RLIMIT_FSIZE: the system refuses what is longer."""
    require_nothing_done(folder, template[2], 1024 * kb)


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are of POSIX")
@pytest.mark.parametrize("more", [-100_000, -4096, 0])
def test_a_database_that_may_not_grow(folder: Path, template: tuple[Path, Raw, State], more: int) -> None:
    """The same where files of the vault are short enough, and the database is not."""
    registry = opened(folder)
    with registry.alone() as connection, registry.committing(connection):
        for _ in range(60):
            registry.record(connection, "noted", {"request": "none", "text": "x" * 5000})
    require_nothing_done(folder, template[2], registry.database.stat().st_size + more)


def require_nothing_done(folder: Path, before: State, n_bytes: int) -> None:
    context = processes()
    here, there = context.Pipe()
    given = folder, "forget", there, n_bytes
    process = context.Process(target=step_with_little_space, args=given)  # type: ignore[attr-defined]
    process.start()
    there.close()
    kind, said = here.recv()
    process.join()
    assert process.exitcode == 0
    assert kind == "StoreError", said
    registry = opened(folder)
    require_silent(said, registry.key)
    require_whole(registry)
    assert state(registry) == before
    forget(registry, WHO, measure=False)
    require_whole(registry)


@pytest.mark.parametrize("kind", ["data", "forecaster"])
def test_a_version_that_cannot_be_read_back_is_not_put_in_place(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The version before would be destroyed for it."""
    read = ModelRegistry.read

    def fails(self: ModelRegistry, found: tables.Artefact) -> Any:
        if found.version > 1 and found.kind == kind:
            raise DataError("mine.")
        return read(self, found)

    monkeypatch.setattr(ModelRegistry, "read", fails)
    refused(registry, lambda: forget(registry, WHO), DataError, "got one that cannot be: mine. Nothing was changed")
