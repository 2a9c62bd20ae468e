"""Several processes at once: no request is lost and none is applied twice."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

import unlearn.services.tables as tables
from tests.proofs import proof_count
from tests.services.small import LOADS, Raw, in_use, made, opened, raw, refitted, require_whole
from tests.services.steps import all_of, processes
from unlearn.services import DeletionRequest, ForecastLearner
from unlearn.services.ledger.chain import rows

N_PROCESSES = 8


def asked(now: Raw, draw: random.Random) -> list[list[DeletionRequest]]:
    """What each process asks for: 12 customers in all, one by one or in pairs that overlap, and an hour range."""
    who = draw.sample(now.names, 12)
    singles = [DeletionRequest(customers=(own,)) for own in who]
    pairs = [DeletionRequest(customers=tuple(draw.sample(who, 2))) for _ in range(6)]
    hours = DeletionRequest(loads=LOADS[:1], hours=((str(now.hours[30]), str(now.hours[40])),))
    return [draw.sample([*singles, *pairs, hours], 5) for _ in range(N_PROCESSES)]


@pytest.mark.proof
@pytest.mark.skipif(os.name != "posix", reason="processes that a server forks are of POSIX")
@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_each_customer_is_removed_once_whoever_asks(seed: int, tmp_path: Path) -> None:
    now, context = raw(seed, n_days=15), processes()
    registry = made(tmp_path, now.data(), linear=ForecastLearner(), other=ForecastLearner(l2=0.1))
    lists = asked(now, random.Random(seed))
    lines = [context.Pipe(duplex=False) for _ in lists]
    jobs = [
        context.Process(target=all_of, args=(tmp_path, own, there))  # type: ignore[attr-defined]
        for own, (_, there) in zip(lists, lines, strict=True)
    ]
    for job in jobs:
        job.start()
    answers = []
    for job, own, (here, _) in zip(jobs, lists, lines, strict=True):
        answers += [here.recv() for _ in own]
        job.join()
        assert job.exitcode == 0
    assert len(answers) == 5 * N_PROCESSES

    by_request: dict[DeletionRequest, list[tuple[str | None, bool | str]]] = {}
    for request, id, what in answers:
        by_request.setdefault(request, []).append((id, what))
    applied = {}
    for request, found in by_request.items():
        ids = {id for id, _ in found if id is not None}
        assert len(ids) <= 1
        if ids:
            # One of those who asked applied it, and all that came later were told so.
            assert sorted(what for id, what in found if id is not None) == [False] + [True] * (len(found) - 1)
            applied[ids.pop()] = request
        else:
            gone = {own for other in applied.values() for own in other.customers}
            assert all("forgotten before" in str(what) for _, what in found), gone
    who = Counter(own for request in applied.values() for own in request.customers)
    assert set(who.values()) <= {1}
    named = {own for request in by_request for own in request.customers}
    dataset, models = in_use(registry)
    there = set(dataset.dataset.customer_ids)
    assert there == set(now.names) - set(who)
    assert all(set(request.customers) & set(who) for request in by_request if request.customers)
    assert (
        {own for request in by_request if len(request.customers) == 1 for own in request.customers} <= set(who) <= named
    )

    require_whole(registry)
    with registry.alone() as connection:
        kept = tables.requests(connection)
        said = Counter((row.kind, row.body["request"]) for row in rows(connection) if "request" in row.body)
        versions = Counter(own.name for own in tables.artefacts(connection))
        hashes = [own for (own,) in connection.execute("SELECT hash FROM removed")]
    assert {own.id for own in kept} == set(applied)
    assert len({own.digest for own in kept}) == len(kept)
    assert set(versions.values()) == {1 + len(applied)}
    assert said == Counter({(kind, id): 1 for kind in ("requested", "applied") for id in applied})
    assert sorted(hashes) == sorted(own for request in applied.values() for own in request.hashes(registry.key))
    for id in sorted(applied):
        now.changed(applied[id])
    for model in models.values():
        assert refitted(now, model) < 1e-8
    assert opened(tmp_path).load("data").fingerprint == dataset.dataset.fingerprint
