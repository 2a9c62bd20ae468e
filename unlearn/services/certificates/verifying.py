"""Verification: a certificate's signature, evidence and ledger; and, with the registry, its numbers computed again."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

import unlearn.services.tables as tables
from unlearn.errors import DataError, InputError
from unlearn.records import read_safetensors
from unlearn.services.applying import version_of
from unlearn.services.base import Learner
from unlearn.services.certificates.certificate import CERTIFICATE, Verification, verify_certificate
from unlearn.services.ledger.canonical import parsed
from unlearn.services.ledger.chain import rows, verify_rows
from unlearn.services.ledger.signing import read_public_key
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import CURRENT, DATA, DESTROYED

#: Largest residual gradient, and distance to a refit, of a model that is said to be exact.
TOLERANCE = 1e-8


def verify(
    folder: str | Path,
    public_key: str | Path | None = None,
    registry: ModelRegistry | None = None,
    *,
    retrain: bool = False,
) -> Verification:
    """Check a certificate.

    Args:
        folder: of the certificate, as `certify` wrote it.
        public_key: file of the key that is trusted; None takes the registry's.
        registry: with it, the ledger is compared, and numbers are computed again from the data and the models.
        retrain: with a registry, also train each model again from the data in use, and compare all its numbers.

    Raises:
        InputError: neither a key nor a registry: a certificate that vouches for itself proves nothing.
    """
    if registry is None:
        if public_key is None:
            raise InputError(
                "public key: expected the file of the key that you trust, got none, and no registry: a certificate "
                "proves nothing by the key that it carries itself. Name it with --public-key, or the registry and its "
                "key."
            )
        return verify_certificate(folder, read_public_key(public_key))
    trusted = registry.signer.public if public_key is None else read_public_key(public_key)
    with registry.alone() as connection:
        found = verify_certificate(folder, trusted, ledger=connection, now=registry.now())
        if found.faults:
            return found
        faults, said = recomputed(registry, connection, read_certificate(folder), retrain)
        return Verification((*found.faults, *faults), (*found.said, *said))


def verify_ledger(registry: ModelRegistry) -> Verification:
    """Check all rows of a registry's ledger, its head, and every file that is registered."""
    with registry.alone() as connection:
        faults = verify_rows(connection, registry.signer.public)
        versions = [own for own in tables.artefacts(connection) if own.state != DESTROYED]
        for own in tqdm(versions, desc="files", leave=False, delay=2):
            try:
                with registry.vault.opened(own.blob, own.sha256):
                    pass
            except DataError as error:
                faults.append(f"{own.name}, version {own.version}: {error}")
        n_rows = len(rows(connection))
    said = (f"{n_rows} rows in a chain, all signed; {len(versions)} encrypted files are what was registered.",)
    return Verification(tuple(faults), () if faults else said)


def is_about(registry: ModelRegistry, folder: str | Path, customer: str) -> bool:
    """Whether a certificate is about a customer; it takes the registry's key to tell."""
    request = read_certificate(folder)["request"]
    return registry.key.name_of("customer", customer, *request.get("ranges", ())) in request["removed"]


def read_certificate(folder: str | Path) -> dict[str, Any]:
    """What a certificate says; verify it first."""
    path = Path(folder)
    content = ((path if path.is_dir() else path.parent) / CERTIFICATE).read_bytes()
    return dict(parsed(content, str(path)))


def recomputed(
    registry: ModelRegistry, connection: sqlite3.Connection, body: Mapping[str, Any], retrain: bool = False
) -> tuple[list[str], list[str]]:
    """Numbers of a certificate, computed again from what is in use now.

    Returns:
        Faults, and what was found to hold, in sentences.
    """
    faults, said = [], []
    removed = set(body["request"]["removed"])
    sets = {own.name: registry.read_data(own) for own in tables.artefacts(connection, CURRENT) if own.kind == DATA}
    if body["request"]["subject"] == "customers" and not body["request"]["hours"]:
        there = {
            hashed
            for kept in sets.values()
            for hashed in registry.key.names_of("customer", getattr(kept.dataset, "customer_ids", ()))
        }
        if removed & there:
            faults.append(f"{len(removed & there)} of the customers that were removed are in the data again.")
        else:
            said.append("None of the customers that were removed is in the data that models learn from.")
    for own in body["data"]:
        version = version_of(connection, own["name"], own["version_after"])
        if version.state == CURRENT:
            tag = registry.vault.tag(version.blob, sets[version.name].dataset.fingerprint)
            if tag != own["fingerprint_after"]:
                faults.append(f"{own['name']}: the data is not what it was after the request.")
    for model in tqdm(body["models"], desc="verify", leave=False, delay=2):
        version = version_of(connection, model["name"], model["version_after"])
        if version.state != CURRENT:
            said.append(
                f"{model['name']}: version {version.version} was replaced by a later deletion, whose certificate says "
                "the rest; its numbers were not computed again."
            )
            continue
        kept = sets[str(version.learnt_from)]
        learner, found = version.learner, registry.read_model(version)
        numbers = learner.recompute(found, kept.dataset, kept.left_out)
        if retrain and learner.repeats:
            apart = distance_of(registry, learner, found, learner.fit(kept.dataset, kept.left_out))
            said.append(
                f"{model['name']}: trained again from the data in use, its numbers differ by at most {apart:.1e} of "
                "the largest of their kind. Training repeats to the last bit on one machine only."
            )
        for name, value in numbers.items():
            if value > TOLERANCE and model["complete"] and model["guarantee"] == "exact":
                faults.append(f"{model['name']}: {name} is {value:.1e}, expected at most {TOLERANCE:.0e}.")
            else:
                said.append(f"{model['name']}: {name} computed again: {value:.1e}.")
    return faults, said


def distance_of(registry: ModelRegistry, learner: Learner, one: Any, other: Any) -> float:
    """The largest difference of two models in any tensor that is saved, relative to the tensor's largest value."""
    tensors = []
    for model in (one, other):
        with registry.vault.plain() as folder:
            learner.save(model, folder)
            files = sorted(folder.rglob("*.safetensors"))
            tensors.append({f"{file.relative_to(folder)}:{key}": own for file in files for key, own in _read(file)})
    if {name: own.shape for name, own in tensors[0].items()} != {name: own.shape for name, own in tensors[1].items()}:
        return math.inf
    apart = [0.0]
    for name, own in tensors[0].items():
        largest = float(own.abs().max()) if own.numel() else 0.0
        if largest:
            apart.append(float((own - tensors[1][name]).abs().max()) / largest)
    return max(apart)


def _read(file: Path) -> list[tuple[str, Tensor]]:
    return [(name, own.double()) for name, own in read_safetensors(file).items()]
