"""Small registries, and what their models have to be, computed by numpy from raw meters that no registry ever saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import unlearn.services.tables as tables
from unlearn.data import LoadDataset, dataset_from_frames
from unlearn.forecasters import Forecaster
from unlearn.households import customer_loads, hourly_meters
from unlearn.services import (
    DeletionRequest,
    ForecastLearner,
    KeptData,
    ModelRegistry,
    create_registry,
    open_registry,
)
from unlearn.services.ledger.anchor import check_head
from unlearn.services.ledger.chain import verify_rows

START = datetime(2030, 1, 1, tzinfo=UTC)
#: Loads of the case's buses.
NOMINAL_MW = {"ieee9": np.array([90.0, 100.0, 125.0])}
LOADS = ("bus_1", "bus_2", "bus_3")
PRESENT, LEFT, WITHOUT, CLASS_MEAN, RESCALE = range(5)
STATES = {(None): WITHOUT, "class_mean": CLASS_MEAN, "rescale": RESCALE}
#: Names that no sentence holds by chance.
NAME = "Q-customer-{:02d}"


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def moved(self, days: float) -> None:
        self.now += timedelta(days=days)


@dataclass
class Raw:
    """Readings of customers, and who is in the loads when, as plain arrays.

    Attributes:
        hours: H hours.
        kwh: readings, shape (H, C); a power of two divides them, so that sums of them are exact.
        alive: whether a meter was there, shape (H, C).
        load_of: position of each customer's load, shape (C,).
        segment: class of each, shape (C,).
        temperature: shape (H, B).
        lags: hours.
        grid: name of the case that loads are scaled to.
    """

    hours: pd.DatetimeIndex
    kwh: np.ndarray
    alive: np.ndarray
    load_of: np.ndarray
    segment: np.ndarray
    temperature: np.ndarray
    lags: tuple[int, ...] = ()
    grid: str | None = None
    state: np.ndarray = field(init=False)
    blank: np.ndarray = field(init=False)
    left: list[int] = field(init=False)
    factor: np.ndarray | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.state = np.zeros(self.kwh.shape, dtype=int)
        self.blank = np.zeros(self.temperature.shape, dtype=bool)
        self.left = list(range(self.temperature.shape[1]))

    @property
    def names(self) -> list[str]:
        return [NAME.format(c) for c in range(self.kwh.shape[1])]

    @property
    def first(self) -> int:
        """Hours before the first row."""
        return max(self.lags, default=0)

    def data(self) -> KeptData:
        """What a registry is given."""
        table = pd.DataFrame(np.where(self.alive, self.kwh, np.nan), index=self.hours, columns=self.names)
        segments = pd.Series([f"class {g}" for g in self.segment], index=self.names)
        load_of = dict(zip(self.names, (LOADS[b] for b in self.load_of), strict=True))
        weather = {"temperature": pd.DataFrame(self.temperature, index=self.hours, columns=list(LOADS))}
        meters = hourly_meters(table, segments=segments)
        made = customer_loads(meters, load_of, weather, lags=list(self.lags) or None)
        return KeptData.scaled(made, self.grid)

    def counted(self) -> np.ndarray:
        """Hours of customers in which they count, present or not, shape (H, C)."""
        there = np.isin(self.load_of, self.left)
        return self.alive & ~self.blank[:, self.load_of] & there

    def present(self) -> np.ndarray:
        return self.counted() & (self.state == PRESENT)

    def known_kwh(self) -> np.ndarray:
        """What models may learn, shape (H, B)."""
        there, counted, n_loads = self.present(), self.counted(), len(LOADS)
        at = (self.load_of[:, None] == np.arange(n_loads)).astype(float)
        total, members = np.where(there, self.kwh, 0.0) @ at, there @ at
        known = total + (counted & (self.state == RESCALE)) @ at * total / np.maximum(members, 1)
        for g in np.unique(self.segment):
            own = self.segment == g
            mean = np.where(there, self.kwh, 0.0)[:, own].sum(axis=1) / np.maximum(there[:, own].sum(axis=1), 1)
            known += ((counted & (self.state == CLASS_MEAN))[:, own] @ at[own]) * mean[:, None]
        return known

    def changed(self, request: DeletionRequest) -> None:
        """Remove what a request names."""
        asked = np.ones(len(self.hours), dtype=bool)
        if request.hours:
            asked[:] = False
            for start, end in request.hours:
                asked |= np.asarray((self.hours >= pd.Timestamp(start)) & (self.hours < pd.Timestamp(end)))
        if request.customers:
            state = LEFT if request.case == "leaves" else STATES[request.replacement]
            for own in request.customers:
                c = self.names.index(own)
                self.state[asked & self.alive[:, c] & (self.state[:, c] != LEFT), c] = state
        elif request.hours:
            columns = [LOADS.index(name) for name in request.loads] or self.left
            self.blank[np.ix_(asked, np.array(columns))] = True
        else:
            if self.grid is not None:
                self.factor, self.grid = self.factors(), None
            self.left = [b for b in self.left if LOADS[b] not in request.loads]

    def factors(self) -> np.ndarray:
        """MW per kWh of each load."""
        if self.factor is not None:
            return self.factor
        if self.grid is None:
            return np.full(len(LOADS), 1e-3)
        nominal, peak = NOMINAL_MW[self.grid], self.known_kwh()[self.first :][self.train()].max(axis=0)
        return nominal / peak

    def train(self) -> np.ndarray:
        return np.arange(int(0.7 * (len(self.hours) - self.first) + 1e-9))

    def load_mw(self) -> np.ndarray:
        return self.known_kwh() * self.factors()

    def weights(self) -> np.ndarray:
        """Of the training rows for each load, shape (n, B)."""
        gone = self.blank[self.first :][:, self.left]
        if self.lags:
            rows = np.flatnonzero(gone.any(axis=1))
            held = np.concatenate([rows + lag for lag in self.lags])
            gone = gone.copy()
            gone[held[held < len(gone)]] = True
        return 1.0 - gone[self.train()]

    def columns(self) -> dict[str, np.ndarray]:
        """Columns of the training rows by name."""
        rows = self.first + self.train()
        hours, load = self.hours[rows], self.load_mw()
        angles = (("weekday", hours.day_of_week / 7), ("hour", hours.hour / 24))
        found = {}
        for b in self.left:
            for name, share in angles:
                angle = 2 * np.pi * np.asarray(share)
                found |= {f"{LOADS[b]}:{name}_sin": np.sin(angle), f"{LOADS[b]}:{name}_cos": np.cos(angle)}
            found[f"{LOADS[b]}:temperature"] = self.temperature[rows, b]
            found |= {f"{LOADS[b]}:load_lag_{lag}h_mw": load[rows - lag, b] for lag in self.lags}
        return found

    def target(self) -> np.ndarray:
        return self.load_mw()[self.first + self.train()][:, self.left] / 100.0

    def plain(self) -> tuple[LoadDataset, np.ndarray]:
        """A data set of the loads alone as they are now, and the measurements in it that none may learn."""
        names = [LOADS[b] for b in self.left]
        load = pd.DataFrame(self.load_mw()[:, self.left], index=self.hours, columns=names)
        weather = {"temperature": pd.DataFrame(self.temperature[:, self.left], index=self.hours, columns=names)}
        made = dataset_from_frames(load, weather, lags=list(self.lags) or None)
        return made, self.blank[self.first :][:, self.left]


def raw(seed: int, lags: Sequence[int] = (), grid: str | None = None, n_customers: int = 36, n_days: int = 20) -> Raw:
    """Customers with a daily shape of their own and some that come late; 12 at each load, 18 of each class."""
    draw = np.random.default_rng(seed)
    n_hours = 24 * n_days
    hours = pd.date_range("2013-03-04", periods=n_hours, freq="h")
    phase, level = draw.uniform(0, 24, n_customers), draw.uniform(0.2, 1.5, n_customers)
    shape = 1.2 + np.cos(2 * np.pi * (np.arange(n_hours)[:, None] - phase) / 24)
    kwh = level * shape * draw.uniform(0.5, 1.5, (n_hours, n_customers))
    alive = np.ones(kwh.shape, dtype=bool)
    for c in draw.choice(n_customers, 3, replace=False):
        alive[: int(draw.integers(24, 240)), c] = False
    load_of = draw.permutation(n_customers) % len(LOADS)
    temperature = 285 + draw.normal(0, 3, (n_hours, len(LOADS))).cumsum(axis=0) * 0.3
    segment = draw.permutation(n_customers) % 2
    return Raw(
        hours,
        np.where(alive, np.round(kwh * 1024) / 1024, 0.0),
        alive,
        load_of,
        segment,
        temperature,
        tuple(lags),
        grid,
    )


def made(folder: Path, data: KeptData, clock: Clock | None = None, **learners: ForecastLearner) -> ModelRegistry:
    """A registry with a data set and models; its key lies beside it."""
    registry = create_registry(folder / "registry", folder / "registry.key", clock=clock or Clock())
    registry.add_data("data", data)
    for name, learner in (learners or {"linear": ForecastLearner()}).items():
        registry.train(name, learner)
    return registry


def opened(folder: Path, clock: Clock | None = None) -> ModelRegistry:
    return open_registry(folder / "registry", folder / "registry.key", clock=clock or Clock())


def refitted(now: Raw, model: Forecaster) -> float:
    """Relative distance of a linear forecaster's parameters to those of a refit by numpy.

    Both are taken in columns that are scaled alike, so that neither mean nor scale of one of them hides a difference.
    """
    by_name = now.columns()
    *names, intercept = model.column_names()
    assert intercept == "intercept"
    assert len(names) == 4 + (1 + len(now.lags)) * len(now.left)
    table, weights = np.stack([by_name[name] for name in names], axis=1), now.weights()
    seen = table[weights.any(axis=1)]
    mean, std = seen.mean(axis=0), seen.std(axis=0)
    design = np.column_stack([(table - mean) / std, np.ones(len(table))])
    expected = solved(design, now, model.card.l2)
    head = model.head.numpy()
    own = head[:, :-1] / model.scaler.std.numpy()  # type: ignore[operator, union-attr]
    constant = head[:, -1] - own @ model.scaler.mean.numpy()  # type: ignore[operator, union-attr]
    found = np.column_stack([own * std, constant + own @ mean])
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def solved(design: np.ndarray, now: Raw, l2: float) -> np.ndarray:
    """The head over a design, shape (B, D), by numpy."""
    target, weights, n_loads = now.target(), now.weights(), len(now.left)
    ridge = np.sqrt(0.5 * l2 * n_loads) * np.eye(design.shape[1])
    found = np.zeros((n_loads, design.shape[1]))
    for b in range(n_loads):
        rows = weights[:, b] > 0
        stacked = np.concatenate([design[rows], ridge]), np.concatenate([target[rows, b], np.zeros(len(ridge))])
        found[b] = np.linalg.lstsq(*stacked, rcond=None)[0]
    return found


def apart(model: Forecaster, design: np.ndarray, now: Raw) -> float:
    """Relative distance of a head to the one that numpy solves over a design."""
    expected = solved(design, now, model.card.l2)
    return float(np.linalg.norm(model.head.numpy() - expected) / np.linalg.norm(expected))


@dataclass(frozen=True)
class State:
    """All that a registry holds which a request may change."""

    fingerprint: str
    left_out: bytes
    parameters: dict[str, bytes]


def in_use(registry: ModelRegistry) -> tuple[KeptData, dict[str, Any]]:
    """The data set and the models by name."""
    with registry.alone() as connection:
        own = tables.artefacts(connection, tables.CURRENT)
        kept = registry.read_data(next(one for one in own if one.kind == "data"))
        return kept, {one.name: registry.read_model(one) for one in own if one.kind != "data"}


def state(registry: ModelRegistry) -> State:
    """What is in use now."""
    kept, models = in_use(registry)
    parameters = {
        name: b"".join(value.numpy().tobytes() for value in model.state_dict().values())
        for name, model in models.items()
    }
    return State(kept.dataset.fingerprint, kept.left_out.tobytes(), parameters)


def require_whole(registry: ModelRegistry) -> None:
    """The ledger and its head hold, and there is no file but those that the database knows of."""
    with registry.alone() as connection:
        assert verify_rows(connection, registry.signer.public) == []
        assert check_head(registry.database, registry.signer.public).faults == ()
        known = {own.blob for own in tables.artefacts(connection) if own.state != tables.DESTROYED}
        known |= {own.spec for own in tables.requests(connection) if own.spec}
        current = tables.artefacts(connection, tables.CURRENT)
        assert (
            len({own.name for own in current})
            == len(current)
            == len({own.name for own in tables.artefacts(connection)})
        )
    assert {file.stem for file in (registry.folder / "artefacts").iterdir()} == known
    assert {file.stem for file in (registry.folder / "keys").iterdir()} == known
    assert not list((registry.folder / "scratch").iterdir())
