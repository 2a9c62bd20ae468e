"""What is kept under a key of everything that it depends on, and what is removed with the data that it learnt from."""

import datetime as dt
import multiprocessing
import stat
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError
from unlearn.store import Store, canonical, discard
from unlearn.store.__main__ import main


@dataclass(frozen=True)
class Options:
    """Settings of a fit."""

    rate: float = 0.1
    steps: tuple[int, ...] = (1, 2)
    inner: "Options | None" = None
    threads: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Other:
    """Other settings of the same names."""

    rate: float = 0.1
    steps: tuple[int, ...] = (1, 2)
    inner: None = None


class Kind(Enum):
    """A choice."""

    ONE = 1
    TWO = 2


@dataclass(frozen=True)
class Data:
    """A data set."""

    fingerprint: str
    name: str = "meters"


class Fit:
    """Something that is expensive to make, and counts how often it was."""

    def __init__(self) -> None:
        self.made = 0

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_bytes(b"weights")

    def read(self, folder: Path) -> bytes:
        return (folder / "deep" / "weights").read_bytes()

    def get(self, store: Store, **more: object) -> bytes:
        return store.get("model", "linear", make=self.make, read=self.read, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


DEPENDS = {"options": Options(), "data": {"train": Data("a")}, "code": (Store,), "packages": ("numpy",)}


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        ({}, False),
        ({"options": Options(threads=4)}, False),
        ({"options": Options(rate=0.2)}, True),
        ({"options": Options(inner=Options(steps=()))}, True),
        ({"options": Other()}, True),
        ({"options": None}, True),
        ({"data": {"train": Data("b")}}, True),
        ({"data": {"train": Data("a", "other meters")}}, True),
        ({"data": {"test": Data("a")}}, True),
        ({"code": ()}, True),
        ({"code": (Store, Store)}, False),
        ({"packages": ("numpy", "torch")}, True),
    ],
)
def test_it_is_made_once_for_all_that_it_depends_on(store: Store, changed: dict[str, object], anew: bool) -> None:
    fit = Fit()
    assert fit.get(store, **DEPENDS) == fit.get(store, **{**DEPENDS, **changed}) == b"weights"
    assert fit.made == 1 + anew
    places = {store.artefact("model", "linear", **depends) for depends in (DEPENDS, {**DEPENDS, **changed})}
    assert places == set(store.artefacts())


def test_the_card_says_what_it_was_made_from(store: Store) -> None:
    Fit().get(store, **DEPENDS)
    (found,) = store.artefacts()
    assert found.key.startswith("model/linear-")
    assert found.card is not None
    assert found.card["data"] == {"train": {"fingerprint": "a", "name": "meters"}}
    assert found.card["options"] == {"class": "Options", "rate": 0.1, "steps": [1, 2], "inner": None}
    assert found.card["packages"] == {"numpy": np.__version__}
    assert set(found.card["files"]) == {"deep/weights"}
    assert found.size > 7
    assert found.written.tzinfo is not None


@pytest.mark.parametrize("damage", ["flipped", "missing", "card", "no card"])
def test_a_damaged_one_is_made_anew_or_refused(
    store: Store, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    fit = Fit()
    fit.get(store)
    (found,) = store.artefacts()
    file = found.folder / ("artefact.json" if "card" in damage else "deep/weights")
    if damage in ("missing", "no card"):
        file.unlink()
    else:
        file.write_bytes(b"x" + file.read_bytes()[1:])
    if damage != "no card":
        assert main(["verify", str(store.folder)]) == 1
        assert str(file) in capsys.readouterr().out
    with pytest.raises(DataError, match=f"{file}.*privacy.*Remove {found.folder}"):
        fit.get(store, remake=False)
    assert fit.get(store) == b"weights"
    assert fit.made == 2
    assert "made anew" in caplog.text
    assert main(["verify", str(store.folder)]) == 0


def test_a_table_comes_back(store: Store) -> None:
    frame, made = pd.DataFrame({"value": [1.0, 2.0], "metric": ["a", None]}), []
    for _ in range(2):
        found = store.table("records", "cost", make=lambda: made.append(1) or frame, options={"seed": 1})
        pd.testing.assert_frame_equal(found, frame)
    assert made == [1]


def test_what_fails_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        store.get("model", make=fail, read=Fit().read)
    assert not list(store.folder.rglob("*half"))
    assert store.artefacts() == []


def test_what_is_confidential_is_for_the_owner(tmp_path: Path) -> None:
    secret, public = Store(tmp_path / "secret", confidential=True), Store(tmp_path / "public")
    (tmp_path / "secret" / "model").mkdir(parents=True)  # open to others
    for store in (secret, public):
        Fit().get(store)
    for store, modes in ((secret, {0o700, 0o600}), (public, {0o755, 0o644})):
        paths = list((store.folder / "model").rglob("*"))
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == modes
    assert stat.S_IMODE((secret.folder / "model").stat().st_mode) == 0o700


def _work(folder: Path, once: bool, barrier: object, queue: object) -> None:
    fit = Fit()
    barrier.wait()  # type: ignore[attr-defined]
    queue.put((fit.get(Store(folder), once=once), fit.made))  # type: ignore[attr-defined]


@pytest.mark.parametrize("once", [True, False])
def test_processes_agree_on_one(tmp_path: Path, once: bool) -> None:
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_work, args=(tmp_path, once, barrier, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert {content for content, _ in found} == {b"weights"}
    assert len(Store(tmp_path).artefacts()) == 1
    if once:
        assert sum(made for _, made in found) == 1


@pytest.fixture
def family(store: Store) -> Store:
    """A model of data a, records of it, a summary of those, and a model of data b in a folder below."""
    fit = Fit()
    fit.get(store, data={"train": "a"})
    model = store.artefact("model", "linear", data={"train": "a"})
    frame = pd.DataFrame({"value": [1.0]})
    store.table("records", make=lambda: frame, data={"model": model})
    records = store.artefact("records", data={"model": model})
    store.table("summary", make=lambda: frame, data={"records": records, "more": "c"})
    Store(store.folder / "below").table("records", "b", make=lambda: frame, data={"train": "b"})
    return store


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (["--data", "a"], {"b"}),
        (["--data", "b"], {"linear", "records", "summary"}),
        (["--data", "c"], {"linear", "records", "b"}),
        (["--data", "nobody's"], {"linear", "records", "summary", "b"}),
        (["--older", "1"], {"linear", "records", "summary", "b"}),
        (["--older", "-1"], set()),
        (["--stale"], {"linear", "records", "summary", "b"}),
        (["--all"], set()),
    ],
)
def test_what_learnt_from_data_goes_with_all_that_was_made_from_it(
    family: Store, capsys: pytest.CaptureFixture[str], asked: list[str], left: set[str]
) -> None:
    assert main(["prune", str(family.folder), *asked, "--dry-run"]) == 0
    would = capsys.readouterr().out
    assert len(family.artefacts()) == 4
    assert main(["prune", str(family.folder), *asked]) == 0
    did = capsys.readouterr().out
    assert {artefact.name for artefact in family.artefacts()} == left
    assert f"{4 - len(left)} artefacts would be removed" in would
    assert f"{4 - len(left)} artefacts are removed" in did


def test_what_nobody_can_tell_the_data_of_goes_with_any_data(family: Store) -> None:
    (family.artefact("model", "linear", data={"train": "a"}).folder / "artefact.json").write_text("{}")
    assert {artefact.name for artefact in family.prune(data="b")} == {"linear", "records", "summary", "b"}
    with pytest.raises(InputError, match="expected data, older, stale or everything"):
        family.prune()


def test_code_and_packages_that_have_changed_make_it_stale(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    Fit().get(store, code=(Store,), packages=("numpy",))
    assert store.prune(stale=True, dry_run=True) == []
    monkeypatch.setattr("unlearn.store.artefacts.sources", lambda *_: "edited")
    assert len(store.prune(stale=True, dry_run=True)) == 1
    monkeypatch.undo()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0")
    assert len(store.prune(stale=True)) == 1


def test_list_shows_kind_name_size_age_and_data(family: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(family.folder)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["kind", "name", "size", "days", "data"]
    assert len(rows) == 4
    model = next(row for row in rows if row.startswith("model"))
    assert model.split()[1].startswith("linear-")
    assert model.endswith("train: a")
    with pytest.raises(SystemExit):
        main(["list", str(family.folder / "none")])


@pytest.mark.parametrize(("kind", "name"), [("../up", None), ("model", "a/b"), ("", None), ("model", ".hidden?")])
def test_names_of_folders_stay_inside(store: Store, kind: str, name: str | None) -> None:
    with pytest.raises(InputError, match="expected a kind and a name"):
        store.artefact(kind, name)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(Kind)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@given(VALUES)
def test_options_have_one_form(value: object) -> None:
    def otherwise(one: object) -> object:
        """The same in other types and another order."""
        if isinstance(one, dict):
            return {key: otherwise(one[key]) for key in reversed(one)}
        if isinstance(one, list):
            return tuple(map(otherwise, one))
        return np.float64(one) if isinstance(one, float) else one

    store = Store("never")
    assert store.artefact("a", options=value) == store.artefact("a", options=otherwise(value))
    assert store.artefact("a", options=value) != store.artefact("a", options=[value])


@given(st.lists(SCALARS, min_size=2, max_size=2, unique_by=repr))
def test_other_options_have_another_key(values: list[object]) -> None:
    one, other = (Store("never").artefact("a", options={"value": value}) for value in values)
    assert one != other


def test_arrays_times_paths_and_code_count_with_what_they_hold() -> None:
    long = np.arange(5000.0)
    moved = long.copy()
    moved[2500] += 1
    when = dt.datetime(2020, 1, 1)
    pairs = [(long, moved), (long, long.astype(np.float32)), (when, when.date()), (Options, Other), ({1}, {2}),
             (Path("a"), Path("b")), (Data("a"), Data("b")), (canonical, discard)]  # fmt: skip
    for one, other in pairs:
        assert canonical(one) == canonical(one) != canonical(other)


@pytest.mark.parametrize("value", [object(), lambda: 1, {1: 2}, {"a": [object()]}, np.array([object()])])
def test_what_cannot_be_told_apart_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"store: options.*expected"):
        Store("never").artefact("a", options=value)
    with pytest.raises(InputError, match="train: expected a data set"):
        Store("never").artefact("a", data={"train": value})  # type: ignore[dict-item]
