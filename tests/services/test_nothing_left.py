"""After the retention nothing in the store yields what was removed: searched by somebody who knows what to look for.

The searcher holds the registry's key and the removed readings. What stays by design is the physical load of customers
who object and stay on the grid (`case="objects"`); it is in no model.
"""

import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import unlearn
from tests.services.searching import Left, differences, hashes_in, left_in, likeness, runs_of, words_in
from unlearn.errors import DataError, InputError
from unlearn.forecasters import TrainingOptions
from unlearn.generators.faraday import FaradayOptions, MixtureOptions, VaeOptions
from unlearn.households import simulate_households
from unlearn.households.assignment import customer_loads
from unlearn.households.customers import CustomerLoads
from unlearn.households.meters import Meters
from unlearn.services import (
    DeletionRequest,
    DetectorLearner,
    ForecastLearner,
    GeneratorLearner,
    KeptData,
    ModelRegistry,
    certify,
    create_registry,
    forget,
    open_registry,
    plan,
    vault,
)
from unlearn.services.certificates.verifying import verify_ledger
from unlearn.services.learners.forecasting import TuneOptions
from unlearn.services.report import overview, write_overview
from unlearn.services.vault import _nonce

START = datetime(2030, 1, 1, tzinfo=UTC)
SMALL = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=1), MixtureOptions(n_components=2))
#: Five days, in training rows.
GRID, HOURS = "ieee9", ("2013-01-10", "2013-01-15")


class Store(NamedTuple):
    """A registry, its meters with names that no other text holds, and the load of each customer."""

    registry: ModelRegistry
    meters: Meters
    load_of: dict[str, str]

    @property
    def n_rows(self) -> int:
        """Rows of the data set with lags, the last ones."""
        return len(self.data("lagged").timestamps)

    def members(self, load: str) -> tuple[str, ...]:
        return tuple(own for own, to in self.load_of.items() if to == load)

    def data(self, name: str) -> CustomerLoads:
        found = self.registry.load(name)
        assert isinstance(found, CustomerLoads)
        return found

    def at(self, folder: Path, days: float = 0.0) -> ModelRegistry:
        """A copy of the registry in another folder, or the one that is there already, some days later."""
        if not folder.exists():
            shutil.copytree(self.registry.folder, folder)
        return open_registry(folder, self.registry.key, clock=lambda: START + timedelta(days=days))

    def readings(self, names: tuple[str, ...], hours: tuple[str, str] | None = None) -> np.ndarray:
        """Readings of some customers, shape (k, H), NaN in other hours."""
        kwh = self.meters.series(self.meters.positions("customers", names)).astype(float)
        if hours is not None:
            kwh[:, (self.meters.hours < hours[0]) | (self.meters.hours >= hours[1])] = np.nan
        return kwh


def _linear(made: ModelRegistry, plain: KeptData, lagged: KeptData) -> ModelRegistry:
    made.add_data("plain", plain)
    made.add_data("lagged", lagged)
    made.train("linear", ForecastLearner(), "plain")
    made.train("lagged-linear", ForecastLearner(), "lagged")
    return made


def _filled(made: ModelRegistry, plain: KeptData, lagged: KeptData) -> ModelRegistry:
    """Two data sets of the same customers, without lags and with; on each of them several kinds of models."""
    _linear(made, plain, lagged)
    made.train("tuned", ForecastLearner(tune=TuneOptions("scale", "mse")), "lagged")
    made.train("cnn", ForecastLearner("cnn", training=TrainingOptions(epochs=1)), "plain")
    made.train("faraday", GeneratorLearner(SMALL, shards=2), "plain")
    made.train("autoencoder", DetectorLearner(options={"epochs": 1}, length=24, stride=24), "plain")
    return made


@pytest.fixture(scope="module", autouse=True)
def _one_thread_for_all() -> Iterator[None]:
    """A model that is trained anew is compared with one of another registry."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Linear models alone."""
    return _store(tmp_path_factory.mktemp("small"), _linear)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return _store(tmp_path_factory.mktemp("store"), _filled)


def _store(folder: Path, fill: Callable[[ModelRegistry, KeptData, KeptData], ModelRegistry]) -> Store:
    meters = unlearn.hourly_meters(simulate_households(30, n_days=40))
    load_of = {own: f"street-{1 + i % 3}" for i, own in enumerate(meters.customer_ids)}
    made = create_registry(folder / "registry", folder / "registry.key", clock=_start)
    plain, lagged = (customer_loads(meters, load_of, lags=own) for own in (None, [24]))
    return Store(fill(made, KeptData(plain), KeptData.scaled(lagged, GRID)), meters, load_of)


def _start() -> datetime:
    return START


class Case(NamedTuple):
    """A request, the words that must be gone, readings that are removed and that remain, and data that never had them.

    Readings of several customers come with their sum.
    """

    request: DeletionRequest
    words: list[str]
    readings: np.ndarray
    remaining: np.ndarray
    never: tuple[KeptData, KeptData]


def _case(
    store: Store,
    request: DeletionRequest,
    words: list[str],
    groups: list[tuple[str, ...]],
    never: tuple[KeptData, KeptData],
    hours: tuple[str, str] | None = None,
) -> Case:
    removed = [store.readings(own, hours) for own in groups]
    remaining = store.readings(store.meters.customer_ids)
    for own, readings in zip(groups, removed, strict=True):
        where = store.meters.positions("customers", own)
        remaining[where] = np.where(np.isfinite(readings), np.nan, remaining[where])
    sums = [own.sum(axis=0, keepdims=True) for own in removed if len(own) > 1]
    return Case(request, words, np.concatenate([*removed, *sums]), remaining, never)


def _without(store: Store, names: tuple[str, ...]) -> tuple[CustomerLoads, CustomerLoads]:
    """The loads, without lags and with, of meters that never had some customers."""
    keep = np.array([i for i, own in enumerate(store.meters.customer_ids) if own not in names])
    meters, load_of = store.meters.take(keep), {own: to for own, to in store.load_of.items() if own not in names}
    return customer_loads(meters, load_of), customer_loads(meters, load_of, lags=[24])


def _customers(store: Store, names: tuple[str, ...]) -> Case:
    plain, lagged = _without(store, names)
    never = KeptData(plain), KeptData.scaled(lagged, GRID)
    return _case(store, DeletionRequest(customers=names), list(names), [names], never)


def _withdrawn(store: Store) -> Case:
    gone = store.members("street-2")
    plain, lagged = _without(store, gone)
    nominal = unlearn.load_case(GRID).nominal_load_mw[[0, 2]]
    scaled = lagged.scaled_to(nominal, base_mva=store.data("lagged").base_mva)
    never = KeptData(plain), KeptData(scaled)
    return _case(store, DeletionRequest(loads=("street-2",)), [*gone, "street-2"], [gone], never)


def _hours(store: Store, *loads: str) -> Case:
    never = []
    for name in ("plain", "lagged"):
        data = store.data(name)
        hours = np.array((data.timestamps >= HOURS[0]) & (data.timestamps < HOURS[1]))
        marks = hours[:, None] & np.array([not loads or own in loads for own in data.load_names])
        blank = customer_loads(store.meters, store.load_of, lags=[24] if name == "lagged" else None)
        blank = blank.blanked(np.flatnonzero(hours), loads or None)
        never.append(replace(KeptData.scaled(blank, GRID if name == "lagged" else None), left_out=marks))
    groups = [store.members(own) for own in loads or data.load_names]
    return _case(store, DeletionRequest(loads=loads, hours=(HOURS,)), [], groups, (never[0], never[1]), HOURS)


def _customers_in_hours(store: Store, names: tuple[str, ...]) -> Case:
    never = []
    for name in ("plain", "lagged"):
        data = store.data(name)
        hours = data.timestamps[(data.timestamps >= HOURS[0]) & (data.timestamps < HOURS[1])]
        never.append(KeptData.scaled(data.without(names, hours=hours).purged(), GRID if name == "lagged" else None))
    request = DeletionRequest(customers=names, hours=(HOURS,))
    return _case(store, request, [], [names], (never[0], never[1]), HOURS)


CASES: dict[str, Callable[[Store], Case]] = {
    "a customer": lambda store: _customers(store, ("SIM000007",)),
}
MORE: dict[str, Callable[[Store], Case]] = {
    "hours of a load": lambda store: _hours(store, "street-1"),
    "two customers": lambda store: _customers(store, ("SIM000003", "SIM000012")),
    "hours of customers": lambda store: _customers_in_hours(store, ("SIM000003", "SIM000012")),
    "a load": _withdrawn,
    "hours": _hours,
}


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(own, marks=pytest.mark.slow) for own in MORE)])
def test_nothing_of_it_is_left(store: Store, name: str, tmp_path: Path) -> None:
    case, folder = (CASES | MORE)[name](store), tmp_path / "registry"
    registry, old = store.at(folder), tmp_path / "old"
    known = _hashes(registry, case)
    shutil.copytree(folder / "artefacts", old)
    done = forget(registry, case.request, measure=False)

    # The same search finds it all as long as the versions before are kept.
    kept = left_in(registry)
    assert runs_of(kept, case.readings, case.remaining)
    assert likeness(kept, case.readings)[0] > 0.999999
    sums_alone = replace(kept, arrays={own: values for own, values in kept.arrays.items() if "kwh" not in own})
    assert differences(sums_alone, case.readings, store.n_rows)[0] > 0.999999
    assert all(any(f"word {i}" in own for own in words_in(kept, case.words)) for i in range(len(case.words)))
    assert len({own.split()[-1] for own in hashes_in(kept, known)}) == len(known)

    after = store.at(folder, days=8)
    certify(after, done.id, tmp_path / "certificate")
    write_overview(overview(after), tmp_path / "pages" / "page.html")
    left = left_in(after, tmp_path / "certificate", tmp_path / "pages")
    assert runs_of(left, case.readings, case.remaining) == []
    # People are alike: what never had the readings is as much like them.
    made = create_registry(tmp_path / "never", tmp_path / "never.key", clock=_start)
    never = left_in(_filled(made, *case.never))
    for search in (likeness, partial(differences, n_rows=store.n_rows)):
        found, control = search(left, case.readings), search(never, case.readings)
        assert found[0] < control[0] + 1e-6 < 0.999, (found, control)
    inside = replace(left, raw={} if case.request.loads else left.raw)  # loads are named in the open
    assert words_in(inside, case.words) == []
    assert hashes_in(left, known) == []
    _assert_undecipherable(after, old)
    _assert_same(left, never)


def _hashes(registry: ModelRegistry, case: Case) -> list[str]:
    """Hashes of what models learn from, before: with them guesses at what was removed could be tried."""
    found = [registry.load(name).fingerprint for name in ("plain", "lagged")]
    data = registry.load("plain")
    found += [own for who, own in zip(data.meters.customer_ids, data.meters.digests, strict=True) if who in case.words]
    return found


def _assert_undecipherable(registry: ModelRegistry, old: Path) -> None:
    """No key that is left opens what was copied before."""
    keys = [registry.vault._read_key(own) for own in registry.vault.names()]
    for blob in old.iterdir():
        with pytest.raises(DataError, match="destroyed"):
            registry.vault._read_key(blob.stem)
        for key in (*keys, registry.key.derived("wrap")):
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(_nonce(0, True), blob.read_bytes(), blob.stem.encode())


def _assert_same(left: Left, never: Left) -> None:
    """Sums, parameters, scalers, factors and cards are those of a registry that never had what was removed."""
    assert left.arrays.keys() == never.arrays.keys()
    for name, array in left.arrays.items():
        other = never.arrays[name]
        assert array.shape == other.shape, name
        size = np.abs(other).max(initial=0)
        # Bounds of rounding errors are far below what they bound.
        assert np.allclose(array, other, rtol=0, atol=1e-9 * float(size) + 1e-15), name
    for name, content in left.plain.items():
        if name.endswith(".json"):
            assert _lasting(json.loads(content)) == _lasting(json.loads(never.plain[name])), name


def _lasting(value: Any) -> Any:
    """What a card says but for when and by which request, and numbers up to rounding."""
    if isinstance(value, dict):
        return {name: _lasting(own) for name, own in value.items() if name not in _PASSING}
    if isinstance(value, list):
        return [_lasting(own) for own in value]
    return pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value


#: When it was written, and what a forecaster says of what it forgot.
_PASSING = {"files", "seal", "written_utc", "forgotten", "provenance"}


def test_names_in_requests_that_can_be_applied_no_longer_are_destroyed(small: Store, tmp_path: Path) -> None:
    registry = small.at(tmp_path / "registry")
    both, other = (
        plan(registry, DeletionRequest(customers=own), ()) for own in (("SIM000007", "SIM000009"), ("SIM000011",))
    )
    assert words_in(left_in(registry).of_requests(), ["SIM000007", "SIM000009"])
    forget(registry, DeletionRequest(customers=("SIM000007",)), measure=False, retain_days=0)
    left = left_in(registry)
    assert words_in(left, ["SIM000007"]) == []
    assert words_in(left.of_requests(), ["SIM000009"]) == []
    with pytest.raises(InputError, match="a later request forgot some of what it names"):
        forget(registry, both.id)
    assert forget(registry, other.id, measure=False).complete
    assert verify_ledger(registry).valid


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_killed_process_leaves_plain_files_until_the_registry_is_opened(
    small: Store, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("unlearn.services.vault._MEMORY", memory)
    monkeypatch.setattr("unlearn.services.vault._fits", lambda n_bytes: where == "memory")
    registry = small.at(tmp_path / "registry")
    before = _listing(tmp_path)
    child = os.fork()
    if child == 0:
        # The data set and two models are written; now the plain files of the next one are there.
        calls = itertools.count()
        finish = vault._Encrypting.finish
        vault._Encrypting.finish = lambda own: _die() if next(calls) == 3 else finish(own)  # type: ignore[method-assign]
        try:
            own = open_registry(registry.folder, registry.key, clock=_start)
            forget(own, DeletionRequest(customers=("SIM000007",)), measure=False)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    plain = [own for own in _listing(tmp_path) - before if ".unlearn-" in own]
    assert {own.startswith("memory") for own in plain} == {where == "memory"}
    again = open_registry(registry.folder, registry.key, clock=_start)
    # Of what was begun nothing is left, the request among it.
    assert _listing(tmp_path) - before == set()
    request = DeletionRequest(customers=("SIM000007",))
    assert forget(again, request, measure=False, retain_days=0).complete
    assert words_in(left_in(again), ["SIM000007"]) == []
    assert {own for own in _listing(tmp_path) if ".unlearn-" in own} == set()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _listing(folder: Path) -> set[str]:
    return {own.relative_to(folder).as_posix() for own in folder.rglob("*")}


def test_nothing_is_written_elsewhere(small: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [tmp_path / own for own in ("memory", "temporary", "home", "cache", "here")]
    for own in places:
        own.mkdir()
    monkeypatch.setattr("unlearn.services.vault._MEMORY", places[0])
    monkeypatch.setattr(tempfile, "tempdir", str(places[1]))
    monkeypatch.setenv("HOME", str(places[2]))
    monkeypatch.setenv("UNLEARN_CACHE", str(places[3]))
    monkeypatch.chdir(places[4])
    used = []
    shred = vault.shred
    monkeypatch.setattr(vault, "shred", lambda folder: (used.append(folder.parent), shred(folder)))
    registry = small.at(tmp_path / "registry")
    forget(registry, DeletionRequest(customers=("SIM000007",)), measure=False)
    assert set(used) == {places[0]}
    assert [file for own in places for file in own.rglob("*")] == []
    assert list((registry.folder / "scratch").iterdir()) == []


def test_the_physical_load_of_who_objects_stays_and_no_model_has_it(small: Store, tmp_path: Path) -> None:
    """By design: the truth that forecasts are judged by is the load of all who are on the grid."""
    registry = small.at(tmp_path / "registry")
    names, readings = ("SIM000007",), small.readings(("SIM000007",))
    forget(registry, DeletionRequest(customers=names, case="objects"), measure=False, retain_days=0)
    left = left_in(registry)
    found, where = differences(left, readings, small.n_rows)
    assert found > 0.999999
    assert "physical_kwh" in where
    known = {own: one for own, one in left.arrays.items() if "physical_kwh" not in own and "load_mw" not in own}
    plain, lagged = _without(small, names)
    rest = replace(left, arrays=known, plain={})
    assert differences(rest, readings, small.n_rows)[0] < 0.9
    assert words_in(left, list(names)) == []
    for name, data in (("linear", plain), ("lagged-linear", KeptData.scaled(lagged, GRID).dataset)):
        assert np.allclose(registry.load(name).theta, unlearn.fit_linear(data).theta, rtol=1e-9, atol=1e-12)


def test_evidence_does_not_tell_a_single_reading(small: Store, tmp_path: Path) -> None:
    """Errors of the model before, and how far it moved, are functions of the one number that was removed."""
    registry, data = small.at(tmp_path / "registry"), small.data("plain")
    row = int(data.split.train[200])
    hour = data.timestamps[row]
    request = DeletionRequest(
        loads=("street-1",), hours=((str(hour), str(hour + pd.Timedelta(hours=1))),), data="plain"
    )
    done = forget(registry, request, retain_days=0)
    (kept,) = done.evidence["models"]
    # Whoever holds all but that reading knows the model before as a function of it, which is affine.
    fits = []
    for guess in (0.0, 0.001):
        load = data.load_mw.copy()
        load[row, 0] = guess
        fits.append(unlearn.fit_linear(data.with_loads(load)))
    guesses = np.append(np.arange(0, 20_000) / 1e6, data.load_mw[row, 0])  # in Wh; the last one is the truth
    first, second = (own.theta.numpy() for own in fits)
    thetas = first[:, None] + (second - first)[:, None] * guesses / 0.001
    after = registry.load("linear").theta.numpy()
    found = {"parameter_change": np.linalg.norm(thetas - after[:, None], axis=0) / np.linalg.norm(thetas, axis=0)}
    for split in ("validation", "test"):
        rows = getattr(data.split, split)
        first, second = (own.forecast(data.features[rows]) for own in fits)
        off = [(own - data.load_pu[rows]).ravel() for own in (first, second)]
        step = (off[1] - off[0]) / 0.001
        squares = (off[0] @ off[0], 2 * off[0] @ step, step @ step)
        found[split] = (squares[0] + squares[1] * guesses + squares[2] * guesses**2) / len(off[0])
    said = {"parameter_change": kept["numbers"]["parameter_change"]}
    said |= {own["split"]: own["mse_pu2"] for own in kept["effect"] if own["method"] == "original"}
    fitting, telling = np.ones(len(guesses), dtype=bool), np.ones(len(guesses), dtype=bool)
    for name, values in found.items():
        digits = 1 if name == "parameter_change" else 3
        fitting &= np.array([float(f"{own:.{digits}g}") == said[name] for own in values])
        telling &= np.isclose(values, values[-1], rtol=1e-6, atol=0)
    assert fitting[-1]
    assert telling.sum() <= 2  # with all their digits they do
    assert fitting.sum() > 100
