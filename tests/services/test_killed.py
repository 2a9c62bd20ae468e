"""A process that is killed at any moment leaves a registry as it was before, or as it is to be after, never between."""

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import unlearn.services.tables as tables
from tests.proofs import proof_count
from tests.services.small import State, made, opened, raw, require_whole, state
from tests.services.steps import STEPS, WHO, processes, step
from unlearn.services import ForecastLearner, forget, plan
from unlearn.services.ledger.chain import rows

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(os.name != "posix", reason="kill -9 is for POSIX"),
]


FILES = {".lock", "artefacts", "keys", "registry.db", "registry.head", "registry.pub", "scratch"}

#: What a commit had begun and needs no more is deleted with the next one.
NEXT = {"registry.db-journal", "registry.head.next"}


@dataclass(frozen=True)
class Case:
    """A registry before a step, the state there and after it, and at how many moments the step can be killed."""

    folder: Path
    before: State
    after: State
    moments: int
    seconds: float


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


@pytest.fixture(scope="module", params=sorted(STEPS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Case]:
    name, folder = request.param, tmp_path_factory.mktemp("killed")
    registry = made(folder / "a", raw(1, n_days=15).data(), linear=ForecastLearner(), other=ForecastLearner(l2=0.1))
    if name in ("restore", "expire"):
        forget(registry, WHO, measure=False)
    elif name == "planned":
        plan(registry, WHO, tunings=())
    before, tried = state(registry), copied(folder / "a", folder / "b")
    start, moments = time.perf_counter(), died(tried, name, None)
    seconds = time.perf_counter() - start
    assert moments is not None
    return name, Case(folder / "a", before, state(opened(tried, STEPS[name][1])), moments, seconds)


def died(folder: Path, name: str, last: int | None, seconds: float | None = None) -> int | None:
    """Let a process do a step and die at a moment, or after some seconds; how many moments there were if it did not."""
    context = processes()
    here, there = context.Pipe()
    process = context.Process(target=step, args=(folder, name, there, last))  # type: ignore[attr-defined]
    process.start()
    there.close()
    assert here.recv() == "begins"
    if seconds is not None:
        process.join(seconds)
        process.kill()  # SIGKILL; nothing if it has just ended
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    found = here.recv() if process.exitcode == 0 else None
    assert left_in_memory(process.pid) == [] or found is None
    opened(folder, STEPS[name][1])
    assert left_in_memory(process.pid) == []
    return found


def left_in_memory(pid: int) -> list[str]:
    return [own for own in os.listdir("/dev/shm") if f"-{pid}-" in own] if os.path.isdir("/dev/shm") else []


def require_all_or_nothing(folder: Path, name: str, case: Case) -> None:
    """The state is one of both, files are those that are known, and the step done again is done once."""
    do, clock = STEPS[name]
    registry = opened(folder, clock)
    require_whole(registry)
    assert {own.name for own in registry.folder.iterdir()} - NEXT == FILES
    found = state(registry)
    assert found in (case.before, case.after)
    with registry.alone() as connection:
        kept = tables.requests(connection)
        states = [own.state for own in kept]
        n_removed = connection.execute("SELECT COUNT(*) FROM removed").fetchone()[0]
    if name != "expire":
        done = found == case.after
        assert (
            states
            == {
                "forget": ["applied"] * done,
                "at once": ["applied"] * done,
                "planned": ["applied" if done else "planned"],
                "restore": ["restored" if done else "applied"],
            }[name]
        )
        assert n_removed == 2 * (done != (name == "restore"))
        if name != "restore" or not done:
            do(registry)
    assert state(registry) == case.after
    require_whole(registry)
    with registry.alone() as connection:
        said = [(row.kind, row.body.get("request")) for row in rows(connection)]
        retained = tables.artefacts(connection, tables.RETAINED)
    last = {"restore": "restored", "expire": "destroyed"}.get(name, "applied")
    assert said.count((last, "R-000001")) == 1
    assert said.count(("requested", "R-000001")) == said.count(("applied", "R-000001")) == 1
    assert bool(retained) == (name in ("forget", "planned"))


def test_at_each_moment_that_is_counted(case: tuple[str, Case], tmp_path: Path) -> None:
    """Before and after every write, rename, removal and statement; all of them in `make prove`."""
    name, own = case
    every = range(1, own.moments + 1)
    if proof_count(1000) < 1000:
        every = random.Random(name).sample(every, 2)
    for moment in every:
        folder = copied(own.folder, tmp_path / str(moment))
        died(folder, name, moment)
        require_all_or_nothing(folder, name, own)
        shutil.rmtree(folder)


def test_at_random_times(case: tuple[str, Case], tmp_path: Path) -> None:
    """50 in all, by a signal from outside."""
    name, own = case
    draw = random.Random(f"{name} times")
    for number in range(proof_count(50) if name == "forget" else proof_count(20)):
        folder = copied(own.folder, tmp_path / str(number))
        died(folder, name, None, draw.uniform(0, own.seconds))
        require_all_or_nothing(folder, name, own)
        shutil.rmtree(folder)
