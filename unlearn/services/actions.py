"""What each word of the command `unlearn` does."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import unlearn.services.tables as tables
from unlearn.checks import require_each_once
from unlearn.data.text_tables import listed
from unlearn.errors import InputError, UnlearnError
from unlearn.services.command import DONE, NOT_COMPLETE, NOT_VERIFIED
from unlearn.services.deletion import DeletionRequest
from unlearn.services.registry import (
    RETENTION_DAYS,
    ModelRegistry,
    create_registry,
    discard,
    open_registry,
    require_no_registry,
)
from unlearn.services.requests import TUNINGS, Applied, PlannedModel


@dataclass
class Told:
    """What a command says.

    Attributes:
        values: as JSON.
        lines: for people.
        code: to exit with.
    """

    values: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    code: int = DONE


def _key(asked: Namespace) -> Path:
    return Path(asked.key or asked.registry.with_name(f"{asked.registry.name}.key"))


def _opened(asked: Namespace) -> ModelRegistry:
    return open_registry(asked.registry, _key(asked))


def sample(asked: Namespace) -> Told:
    """Write simulated customers."""
    from unlearn.services.sources import write_sample

    n_hours = write_sample(asked.file, asked.customers, asked.days)
    said = f"{asked.customers} simulated customers, {n_hours} hours, are in {asked.file}."
    values = {"file": str(asked.file), "n_customers": asked.customers, "n_hours": n_hours}
    return Told(values, [said, f"Next: unlearn train {asked.file} --grid ieee14"])


def train(asked: Namespace) -> Told:
    """Read meters into a registry if they are given, and train models."""
    from unlearn.services.sources import data_of_meters, learner_named

    require_each_once("model", asked.model)
    if asked.meters is None:
        _refuse_without_meters(asked)
    if asked.tune is not None and asked.grid is None:
        asked.grid = _grid_of_data(asked)
    learners = {asked.name or name: learner_named(name, asked) for name in asked.model}
    if len(learners) < len(asked.model):
        raise InputError("name: expected one model with --name, got several. Leave it out, or train one after another.")
    lines = []
    if asked.meters is not None:
        require_no_registry(asked.registry)
        kept = data_of_meters(asked)
        days = RETENTION_DAYS if asked.retention is None else asked.retention
        registry = create_registry(asked.registry, _key(asked), name=asked.meters.stem, retention_days=days)
        registry.add_data("data", kept)
        said = kept.said()
        lines += [
            f"{said['n_customers']} customers, {said['n_loads']} loads, {said['n_hours']} hours: {asked.registry}, "
            f"encrypted under {_key(asked)}. Keep that file apart, and a copy of it.",
        ]
    else:
        registry = _opened(asked)
    made: list[dict[str, Any]] = []
    for name, learner in learners.items():
        with _nothing_half_done(asked, registry, made):
            artefact = registry.train(name, learner)
        made.append({"name": name, "kind": artefact.kind, "seconds": artefact.note["fit_seconds"]})
        lines.append(f"{name}: trained in {artefact.note['fit_seconds']:.3g} s.")
    lines.append("Next: unlearn forget --customer NAME, or unlearn plan --customer NAME to see first what it does.")
    return Told({"registry": str(asked.registry), "key": str(_key(asked)), "models": made}, lines)


def _refuse_without_meters(asked: Namespace) -> None:
    """Options that say how meters are read do nothing where the data is there already."""
    own = {"loads": asked.loads, "assignment": asked.assignment, "weather": asked.weather, "retention": asked.retention}
    if asked.tune is None:
        own["grid"] = asked.grid
    if given := [f"--{name}" for name, value in own.items() if value is not None]:
        raise InputError(
            f"{', '.join(given)}: expected with METERS alone, for it says how a new registry is made of them; the data "
            f"of {asked.registry} stays as it is. Leave it out, or name meters and a new folder with --registry."
        )


def _grid_of_data(asked: Namespace) -> str:
    """The grid that registered data are scaled to, for models that are tuned for cost."""
    grid = None
    if asked.meters is None:
        registry = _opened(asked)
        with registry.alone() as connection:
            grid = tables.current(connection, tables.DATA).note["grid"]
    if grid is None:
        raise InputError(
            "tune: expected a grid, for forecasts are tuned for what they cost on it, got none. Name it with --grid, "
            "such as --grid ieee14, when the meters are read."
        )
    return str(grid)


@contextmanager
def _nothing_half_done(asked: Namespace, registry: ModelRegistry, made: list[dict[str, Any]]) -> Iterator[None]:
    """Take back a new registry whose first model cannot be trained; say what is there where a later one cannot."""
    try:
        yield
    except BaseException as error:
        if not made and asked.meters is not None:
            discard(registry, _key(asked))
        elif made and isinstance(error, UnlearnError):
            raise InputError(
                f"{error} What was trained before is kept: {listed([own['name'] for own in made])} in {asked.registry}."
            ) from error
        raise


def _asked_for(asked: Namespace) -> DeletionRequest:
    """The request that the options name."""
    hours = [tuple(own) for own in asked.hours]
    if asked.flagged is not None:
        hours += DeletionRequest.flagged(_flagged(asked.flagged)).hours
    return DeletionRequest(
        tuple(asked.customer),
        tuple(asked.load),
        tuple(hours),
        asked.case or DeletionRequest.case,
        asked.replacement,
    )


def _flagged(path: Path) -> list[pd.Timestamp]:
    from unlearn.services.sources import read_times

    table = read_times(path)
    if "flagged" in table:
        table = table[table["flagged"].astype(str).str.lower().isin(("true", "1", "1.0", "yes"))]
    if not len(table):
        raise InputError(f"{path}: expected hours that are flagged, got none.")
    return list(table.index)


def plan(asked: Namespace) -> Told:
    """Say what a request would do."""
    from unlearn.services.requests import plan as planned

    tunings = TUNINGS if asked.tunings is None else tuple(asked.tunings)
    found = planned(_opened(asked), _asked_for(asked), tunings)
    lines = [f"{found.id}: {found.said['in_words']}. Nothing is changed yet."]
    for model in found.models:
        lines += ["", *_planned(model)]
    lines += ["", f"To do it: unlearn forget {found.id}"]
    return Told(found.to_dict(), lines)


def _planned(model: PlannedModel) -> list[str]:
    said = model.to_dict()
    takes = f"about {said['seconds']:.2g} s" if said["seconds"] else "no time"
    lines = [f"{said['name']} ({said['kind']}): {said['method']}, {takes}. {said['why']}"]
    change = said["numbers"].get("parameter_change")
    if change is not None:
        lines.append(f"  parameters change by {change:.2g} of their norm")
    return [*lines, *effect_lines(said["effect"]), *(f"  {own}" for own in said["limitations"])]


def effect_lines(effect: list[Mapping[str, Any]]) -> list[str]:
    """What forecasts cost, a line per method and split."""
    if not effect:
        return []
    lines = [f"  {'':12} {'split':10} {'MSE p.u.²':>10} {'MAPE %':>8} {'cost per hour':>14}"]
    for own in effect:
        cells = [_short(own[name]) for name in ("mse_pu2", "mape_percent", "cost_per_hour")]
        lines.append(f"  {own['method']:12} {own['split']:10} {cells[0]:>10} {cells[1]:>8} {cells[2]:>14}")
    return lines


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def forget(asked: Namespace) -> Told:
    """Apply requests."""
    from unlearn.services import requests

    named = asked.customer or asked.load or asked.hours or asked.flagged
    if bool(asked.request) == bool(named):
        raise InputError(
            "forget: expected requests such as R-000001, or what to forget, such as --customer NAME; not both."
        )
    registry = _opened(asked)
    each: list[Any] = list(asked.request) or [_asked_for(asked)]
    done = [requests.forget(registry, own, retain_days=asked.retain_days, measure=not asked.no_measure) for own in each]
    lines = [line for own in done for line in _applied(own)]
    code = DONE if all(own.complete for own in done) else NOT_COMPLETE
    return Told({"requests": [{**own.evidence, "again": own.again} for own in done]}, lines, code)


def _applied(done: Applied) -> list[str]:
    evidence = done.evidence
    n = len(evidence["models"])
    what = "was forgotten before" if done.again else "is forgotten"
    kind = done.guarantee if done.complete else "NOT complete"
    lines = [f"{done.id}: what was asked for {what}, in {n} model{'s' * (n != 1)}: {kind}."]
    if done.again:
        lines.append(f"  Nothing was done now; it was applied on {evidence['request']['applied_utc']}.")
    for own in evidence["models"]:
        state = "complete" if own["complete"] else "NOT complete"
        lines.append(f"  {own['name']}: {own['method']} ({own['guarantee']}, {state})")
        lines += [f"    {own_said}" for own_said in (*own["said"], *own["limitations"])]
        lines += [f"  {line}" for line in effect_lines(own["effect"])]
    when = evidence["retention"]["destroyed_after_utc"]
    kept = datetime.fromisoformat(when) > datetime.now(UTC)
    lines.append(
        f"  The versions before are kept encrypted until {when}; unlearn restore {done.id} undoes it until then."
        if kept
        else "  The keys of the versions before are destroyed; nothing undoes it."
    )
    lines.append(f"Next: unlearn certify {done.id}")
    return lines


def certify(asked: Namespace) -> Told:
    """Write the certificate of a request."""
    from unlearn.services.certificates.certifying import certify as certified

    out = asked.out or Path("certificates") / asked.request
    folder = certified(_opened(asked), asked.request, out)
    public = asked.registry / "registry.pub"
    return Told(
        {"request": asked.request, "certificate": str(folder), "page": str(folder / "page.html")},
        [
            f"The certificate of {asked.request} is in {folder}; read {folder / 'page.html'}.",
            f"Give it away with {public}, by which anybody verifies it: unlearn verify {folder} --public-key {public}",
        ],
    )


def verify(asked: Namespace) -> Told:
    """Check a certificate or the ledger."""
    import unlearn.services.certificates.verifying as verifying

    if asked.customer and asked.certificate is None:
        raise InputError(
            "customer: expected the folder of a certificate with --customer, got none. Name it: unlearn verify "
            f"certificates/R-000001 --customer {asked.customer}."
        )
    whole = asked.registry.is_dir() and _key(asked).is_file() and asked.public_key is None
    registry = _opened(asked) if whole or asked.certificate is None or asked.customer else None
    if asked.retrain and (registry is None or asked.certificate is None):
        raise InputError(
            "retrain: expected a certificate and the registry with its key, whose data models are trained on again; "
            "got no certificate, or a public key alone. Name both, or leave --retrain out."
        )
    if asked.certificate is None:
        assert registry is not None
        found = verifying.verify_ledger(registry)
        what = f"The ledger of {asked.registry}"
    else:
        found = verifying.verify(asked.certificate, asked.public_key, registry, retrain=asked.retrain)
        what = str(asked.certificate)
    lines = [f"{what}: {'valid' if found.valid else 'NOT VALID'}."]
    lines += [f"  FAULT: {own}" for own in found.faults] + [f"  {own}" for own in found.said]
    values = {"valid": found.valid, "faults": found.faults, "said": found.said}
    about = True
    if asked.customer and registry is not None:
        about = verifying.is_about(registry, asked.certificate, asked.customer)
        values["about_customer"] = about
        lines.append(f"  It is {'' if about else 'NOT '}about the customer that was named.")
    return Told(values, lines, DONE if found.valid and about else NOT_VERIFIED)


def report(asked: Namespace) -> Told:
    """List what is in a registry."""
    from unlearn.services.report import overview, overview_lines, write_overview

    values = overview(_opened(asked))
    lines = overview_lines(values)
    if asked.page is not None:
        lines.append(f"The page is {write_overview(values, asked.page)}.")
    return Told(values, lines)


def restore(asked: Namespace) -> Told:
    """Undo a request."""
    from unlearn.services.requests import restore as restored

    kept = restored(_opened(asked), asked.request)
    return Told(
        {"request": kept.id, "state": kept.state},
        [f"{kept.id} is taken back: what was before it is in use. A certificate of it does not verify any more."],
    )
