"""Requests to forget: planned, applied to every model that learnt from what is named, undone within the retention.

>>> import tempfile, unlearn
>>> from pathlib import Path
>>> from unlearn.households import simulate_households, spread
>>> from unlearn.services import DeletionRequest, ForecastLearner, KeptData, create_registry, forget
>>> folder = Path(tempfile.mkdtemp())
>>> registry = create_registry(folder / "deletions", folder / "deletions.key")
>>> meters = unlearn.hourly_meters(simulate_households(30, n_days=30))
>>> data = unlearn.customer_loads(meters, spread(meters.customer_ids, 2))
>>> _ = registry.add_data("data", KeptData(data))
>>> _ = registry.train("forecast", ForecastLearner())
>>> done = forget(registry, DeletionRequest(customers=("SIM000007",)))
>>> done.id, done.complete, done.guarantee
('R-000001', True, 'exact')
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

import unlearn.services.tables as tables
from unlearn.checks import require_choice, short_repr
from unlearn.data.text_tables import listed
from unlearn.errors import InputError
from unlearn.services.applying import Written, commit, finite, is_due, learners, removed, set_state, version_of
from unlearn.services.asked import again, drafted, known, meant, parts_of, submit
from unlearn.services.base import Foreseen
from unlearn.services.deletion import DeletionRequest, changed
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import APPLIED, CURRENT, DESTROYED, PLANNED, RESTORED, RETAINED, Kept

logger = logging.getLogger(__name__)

#: Tunings that a plan compares, from the cheapest.
TUNINGS = ("scale", "affine", "quantile", "weights", "head")


@short_repr
@dataclass(frozen=True, eq=False)
class PlannedModel:
    """What a request would do to one model.

    Attributes:
        name: of the model.
        kind: of it.
        foreseen: how, what came of trying, and what forecasts would cost.
        seconds: wall time: measured where it was tried; of the last training where it would be trained anew.
    """

    name: str
    kind: str
    foreseen: Foreseen
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        route, outcome = self.foreseen.route, self.foreseen.outcome
        return {
            "name": self.name,
            "kind": self.kind,
            "method": "nothing to remove" if route is None else route.method,
            "guarantee": None if route is None else route.guarantee,
            "trains": bool(route and route.trains),
            "why": "The model was fitted to none of what is removed." if route is None else route.why,
            "complete": None if outcome is None else outcome.complete,
            "numbers": {} if outcome is None else finite(outcome.numbers),
            "limitations": [] if outcome is None else list(outcome.limitations),
            "effect": [finite(own) for own in self.foreseen.effect],
            "seconds": self.seconds,
        }


@short_repr
@dataclass(frozen=True, eq=False)
class Plan:
    """What a request would do; nothing is changed, and the request is kept to be applied by its id.

    Attributes:
        id: of the request.
        said: what is removed, in the open.
        models: what would happen to each model.
    """

    id: str
    said: Mapping[str, Any]
    models: tuple[PlannedModel, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"id": self.id, **self.said, "models": [own.to_dict() for own in self.models]}


@short_repr
@dataclass(frozen=True, eq=False)
class Applied:
    """What a request did.

    Attributes:
        id: of the request.
        evidence: all that was measured; see `unlearn.services.certificates.certificate`.
        again: whether it had been applied before, and nothing was done now.
    """

    id: str
    evidence: Mapping[str, Any]
    again: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing of what was removed is left in any model."""
        return bool(self.evidence["complete"])

    @property
    def guarantee(self) -> str:
        """The weakest of the models' guarantees."""
        return str(self.evidence["guarantee"])


def plan(registry: ModelRegistry, request: DeletionRequest | str, tunings: Sequence[str] = TUNINGS) -> Plan:
    """Say what a request would do to each model, and keep it.

    Args:
        registry: of the models.
        request: what to forget, or the id of a request that was planned before.
        tunings: methods by which the result could be tuned for cost; compared where the data are scaled to a grid.

    Raises:
        InputError: what is named is not there, or was forgotten before.
    """
    for method in tunings:
        require_choice("tunings", method, TUNINGS)
    with registry.alone() as connection:
        kept, asked = meant(registry, connection, request)
        if kept is not None and asked is None:
            raise InputError(f"{again(kept)} There is nothing to plan.")
        assert asked is not None
        parts = parts_of(registry, connection, asked)
        changes = [changed(own, before) for _, before, own in parts]  # what cannot be done is not kept
        if kept is None:
            kept = submit(registry, connection, asked, parts)
        models = []
        for (_, _, own), (change, now) in zip(parts, changes, strict=True):
            for found in tqdm(learners(connection, own.data), desc="plan", leave=False, delay=2):
                foreseen = found.learner.foresee(registry.read_model(found), change, now.pricing(), tunings)
                trains = foreseen.route is not None and foreseen.route.trains
                tried = foreseen.outcome.seconds if foreseen.outcome is not None else {}
                seconds = found.note["fit_seconds"] if trains else sum(tried.values())
                models.append(PlannedModel(found.name, found.kind, foreseen, seconds))
    return Plan(kept.id, kept.said, tuple(models))


def forget(
    registry: ModelRegistry,
    request: DeletionRequest | str,
    *,
    retain_days: float | None = None,
    measure: bool = True,
) -> Applied:
    """Remove what a request names from the data and from every model that learnt from it, all or nothing.

    Args:
        registry: of the models.
        request: what to forget, or the id of one that was planned.
        retain_days: for which the versions before are kept, encrypted, so that `restore` can undo it; None takes the
            registry's.
        measure: whether evidence is measured: residual gradients, distances to a refit, an audit, effects.

    Returns:
        What was done. A request that was applied before is not applied again; its record is returned.

    Raises:
        InputError: what is named is not there, or part of it was forgotten before; nothing is changed then.
        StoreError: the disk is full; nothing is changed then.
    """
    with registry.alone() as connection:
        kept, asked = meant(registry, connection, request)
        if kept is not None and asked is None:
            logger.info(again(kept))
            return Applied(kept.id, kept.evidence or {}, again=True)
        assert asked is not None
        parts = parts_of(registry, connection, asked)
        until = registry.retained_until(retain_days, connection)
        changes = [changed(own, before) for _, before, own in parts]  # what cannot be done is not kept
        if kept is None:
            kept = drafted(registry, connection, asked, parts)
        written = Written()
        evidence = removed(registry, connection, kept, parts, changes, written, measure)
        days = float(tables.meta(connection, "retention_days")) if retain_days is None else retain_days
        evidence["retention"] = {"days": float(days), "destroyed_after_utc": until.isoformat()}
        evidence["request"]["applied_utc"] = registry.now().isoformat()
        commit(registry, connection, kept, asked, evidence, written, until)
        if kept.spec is not None:
            registry.vault.destroy(kept.spec)
        due = [own for own in tables.artefacts(connection, RETAINED) if is_due(own, registry.now())]
        if due:
            registry.destroy(connection, due)
        return Applied(kept.id, evidence)


def forget_all(
    registry: ModelRegistry,
    requests: Sequence[DeletionRequest | str],
    *,
    retain_days: float | None = None,
    measure: bool = True,
) -> list[Applied]:
    """Apply requests one after another, each as a whole; the result is that of one joint request."""
    return [
        forget(registry, own, retain_days=retain_days, measure=measure)
        for own in tqdm(requests, desc="requests", leave=False, delay=2)
    ]


def restore(registry: ModelRegistry, request: str) -> Kept:
    """Undo a request: the versions before it are in use again, those after it are destroyed.

    Of one that was planned alone, what it names is destroyed.

    Raises:
        InputError: no such request, one that was not applied, whose retention is over, or after which something
            changed.
    """
    with registry.alone() as connection:
        kept = known(connection, request)
        if kept.state == PLANNED:
            with registry.committing(connection):
                connection.execute("UPDATE request SET state = ?, spec = NULL WHERE id = ?", (RESTORED, kept.id))
                registry.record(connection, "withdrawn", {"request": kept.id})
            registry.vault.destroy(str(kept.spec))
            return known(connection, kept.id)
        made = tables.artefacts(connection, request=kept.id)
        if kept.state != APPLIED:
            raise InputError(f"{kept.id}: expected a request that was applied, got one that is {kept.state}.")
        names = {own.name for own in made}
        later = [own.name for own in made if own.state != CURRENT]
        later += [
            own.name
            for own in tables.artefacts(connection, CURRENT)
            if own.learnt_from in names and own.name not in names
        ]
        if later:
            raise InputError(
                f"{kept.id}: expected the last change of its data and models, got one after which {listed(later)} "
                "changed or was trained. Restore later requests first; once a model is trained on what remains, "
                "nothing can be undone."
            )
        before = {own.name: version_of(connection, own.name, own.note["before"]) for own in made}
        if gone := [own.name for own in before.values() if own.state != RETAINED]:
            raise InputError(
                f"{kept.id}: its retention is over: the versions before it of {listed(gone)} were destroyed, and "
                "nothing brings them back."
            )
        for own in before.values():  # versions in use are not given up for what cannot be read
            with registry.vault.opened(own.blob, own.sha256):
                pass
        with registry.committing(connection):
            when = registry.now().isoformat()
            for own in made:
                set_state(connection, own, state=DESTROYED, destroyed=when)
            for own in before.values():
                set_state(connection, own, state=CURRENT, retain_until=None, replaced_by=None)
            connection.execute("DELETE FROM removed WHERE request = ?", (kept.id,))
            connection.execute("UPDATE request SET state = ? WHERE id = ?", (RESTORED, kept.id))
            versions = [{"artefact": own.name, "version": own.version} for own in before.values()]
            registry.record(connection, "restored", {"request": kept.id, "versions": versions})
        for own in made:
            registry.vault.destroy(own.blob)
        return known(connection, kept.id)
