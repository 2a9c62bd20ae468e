"""Requests: after each of them, every model is the one that is fitted without what was asked to be forgotten."""

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn.services.ledger.database as database
from tests.proofs import proof_count
from tests.services.small import LOADS, Raw, apart, in_use, made, raw, refitted, require_whole, state
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, TrainingOptions
from unlearn.grid import load_case
from unlearn.services import (
    DeletionRequest,
    ForecastLearner,
    ModelRegistry,
    TuneOptions,
    forget,
    forget_all,
    restore,
)

SAME = 1e-8
#: What a random request may ask too much of.
REFUSED = re.compile("at least 15 members|all that is left|nothing but 0|nothing of them is left|still in the loads")
RIDGE, TUNED = ForecastLearner(l2=0.01), ForecastLearner(tune=TuneOptions("scale", "mse"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a loss of power leaves, and versions of packages, are not what is looked at here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("unlearn.services.data.load_case", functools.cache(load_case))
    monkeypatch.setattr("importlib.metadata.version", lambda package: "1")
    monkeypatch.setattr("unlearn.services.learners.forecasting._SIMULATED", 3)
    pragmas = [own.replace("EXTRA", "OFF") for own in database._PRAGMAS]
    monkeypatch.setattr(database, "_PRAGMAS", pragmas)


def drawn(now: Raw, draw: np.random.Generator, replaced: bool = True) -> DeletionRequest:
    """A request for something that is still there."""

    def hours(longest: int, alive: np.ndarray | None = None) -> tuple[tuple[str, str], ...]:
        n, found = len(now.hours), []
        there = np.ones(n, dtype=bool) if alive is None else alive
        first = int(np.flatnonzero(there)[0]) if alive is not None else now.first
        for _ in range(int(draw.integers(1, 3))):
            start = int(draw.integers(first, n - longest))
            found.append((now.hours[start], now.hours[start + int(draw.integers(1, longest))]))
        return tuple((str(a), str(b)) for a, b in found)

    kind = draw.choice(["customers", "customers", "part", "loads", "measurements", "hours", "flagged"])
    if kind in ("customers", "part"):
        present = np.flatnonzero(now.present().any(axis=0))
        chosen = draw.choice(present, int(draw.integers(1, 4)), replace=False)
        case = {"case": "leaves"} if draw.random() < 0.5 else {"case": "objects"}
        if case["case"] == "objects" and replaced:
            case["replacement"] = [None, "class_mean", "rescale"][int(draw.integers(3))]
        when = hours(48, now.alive[:, chosen].all(axis=1)) if kind == "part" else ()
        return DeletionRequest(customers=tuple(now.names[c] for c in chosen), hours=when, **case)
    loads = tuple(LOADS[b] for b in draw.choice(now.left, 1))
    if kind == "loads" and len(now.left) > 1 and draw.random() < 0.5:
        return DeletionRequest(loads=loads)
    if kind == "measurements":
        return DeletionRequest(loads=loads, hours=hours(24))
    if kind == "flagged":
        rows = np.sort(draw.choice(np.arange(now.first, len(now.hours)), 6, replace=False))
        return DeletionRequest.flagged(now.hours[rows], loads if draw.random() < 0.5 else ())
    return DeletionRequest(hours=hours(24))


def not_possible(registry: ModelRegistry, request: DeletionRequest) -> str | None:
    """Apply a request; why it was refused, for what it asks too much of, else None."""
    try:
        done = forget(registry, request, measure=False)
    except InputError as error:
        if not REFUSED.search(str(error)):
            raise
        return str(error)
    assert done.complete
    return None


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(100)))
def test_random_requests_leave_what_a_refit_gives(seed: int, tmp_path: Path) -> None:
    """10 requests each: 1,000 in all."""
    draw = np.random.default_rng(seed)
    lags, grid = ((24,) if seed % 3 == 1 else ()), ("ieee9" if seed % 4 >= 2 else None)
    tuned = seed % 5 == 4
    now = raw(seed, lags, grid, n_days=51 if tuned else 20)
    registry = made(tmp_path, now.data(), linear=ForecastLearner(), other=TUNED if tuned else RIDGE)
    applied = 0
    while applied < 10:
        request = drawn(now, draw, replaced=not tuned)
        if not_possible(registry, request) is None:
            now.changed(request)
            applied += 1
        for name, model in in_use(registry)[1].items():
            assert refitted(now, model) < SAME, (name, request.to_dict())
            if name == "other" and tuned and applied in (1, 10):
                expected = TUNED.fit(*now.plain())
                assert torch.dist(model.tuned, expected.tuned) < SAME * expected.tuned.norm()


def models(registry: ModelRegistry) -> dict[str, Forecaster]:
    return in_use(registry)[1]


def at_random(now: Raw, draw: np.random.Generator, count: int) -> list[DeletionRequest]:
    """Requests of which none rules out another: other customers each, other hours, a load that nobody names."""
    who, days = draw.permutation(len(now.names)).tolist(), (draw.permutation(18)[:count] + 1).tolist()
    found = []
    for day in days:
        start = now.hours[24 * day]
        hours = ((str(start), str(start + pd.Timedelta(hours=int(draw.integers(2, 20))))),)
        kind, names = draw.integers(4), tuple(now.names[who.pop()] for _ in range(2))
        found.append([
            DeletionRequest(customers=names),
            DeletionRequest(customers=names, case="objects", replacement=[None, "rescale"][int(draw.integers(2))]),
            DeletionRequest(hours=hours),
            DeletionRequest(loads=LOADS[:1], hours=hours),
        ][kind])  # fmt: skip
    return found


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_sequences_are_joint_removal_in_any_order_and_can_be_undone(seed: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(seed)
    now = raw(seed, *[((), None), ((24,), None), ((), "ieee9"), ((24,), "ieee9")][seed % 4])
    first, template = at_random(now, draw, 3), now.data()
    one = made(tmp_path / "one", template, linear=ForecastLearner(), other=RIDGE)
    other = made(tmp_path / "other", template, linear=ForecastLearner(), other=RIDGE)
    states = [state(one)]
    for request in first:
        forget(one, request, measure=False)
        states.append(state(one))
    forget_all(other, [first[int(i)] for i in draw.permutation(3)], measure=False)
    for name, model in models(one).items():
        assert torch.dist(model.head, models(other)[name].head) < SAME * model.head.norm()
    assert in_use(one)[0].dataset.fingerprint == in_use(other)[0].dataset.fingerprint
    for number in (3, 2, 1):
        assert state(one) == states[number]
        restore(one, f"R-{number:06d}")
        assert state(one) == states[number - 1]
    require_whole(one)
    again = forget(one, first[0], measure=False)
    assert (again.id, again.again) == ("R-000004", False)
    assert state(one) == states[1]


def test_customers_one_by_one_are_customers_at_once(tmp_path: Path) -> None:
    now = raw(3, (), "ieee9")
    one, other = (made(tmp_path / name, now.data(), linear=ForecastLearner(), other=RIDGE) for name in "ab")
    who = tuple(now.names[:3])
    forget(one, DeletionRequest(customers=who), measure=False)
    forget_all(other, [DeletionRequest(customers=(own,)) for own in who], measure=False)
    for name, model in models(one).items():
        assert torch.dist(model.head, models(other)[name].head) < SAME * model.head.norm()
    assert in_use(one)[0].dataset.fingerprint == in_use(other)[0].dataset.fingerprint


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_a_network_on_an_extractor_of_simulated_customers(seed: int, tmp_path: Path) -> None:
    """Its extractor saw nobody: it stays to the last bit, and the head over it is the one of a refit."""
    draw = np.random.default_rng(seed)
    now = raw(seed, (), "ieee9")
    cnn = ForecastLearner("cnn", training=TrainingOptions(epochs=1), extractor="simulated", l2=0.01)
    registry = made(tmp_path, now.data(), cnn=cnn)
    trained = models(registry)["cnn"]
    for request in at_random(now, draw, proof_count(20)):
        done = forget(registry, request, measure=False)
        now.changed(request)
        found = models(registry)["cnn"]
        assert done.complete
        for name, value in found.state_dict().items():
            if name.startswith(("extractor", "scaler")):
                assert torch.equal(value, trained.state_dict()[name])
        dataset, _ = now.plain()
        design = trained.design_of(dataset, now.train()).numpy()
        assert apart(found, design, now) < SAME
