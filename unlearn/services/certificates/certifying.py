"""Certificates of a registry's requests."""

from __future__ import annotations

from pathlib import Path

import unlearn.services.certificates.certificate as certificate
import unlearn.services.tables as tables
from unlearn.errors import InputError
from unlearn.services.asked import known
from unlearn.services.ledger.chain import export_ledger
from unlearn.services.registry import ModelRegistry
from unlearn.services.tables import APPLIED, DESTROYED


def certify(registry: ModelRegistry, request: str, folder: str | Path) -> Path:
    """Write the signed certificate of a request, its evidence, its page and the ledger up to it.

    Once the versions before are destroyed, write it again: then it says so.

    Args:
        registry: of the request.
        request: its id.
        folder: where; an earlier certificate of the same request is replaced.

    Raises:
        InputError: no such request, or one that was not applied; a folder that holds anything else.
    """
    with registry.alone() as connection:
        kept = known(connection, request)
        if kept.state != APPLIED or kept.evidence is None:
            raise InputError(
                f"{kept.id}: expected a request that was applied, got one that is {kept.state}. Apply it first: "
                f"unlearn forget {kept.id}."
            )
        gone = [
            {"artefact": own.name, "version": own.version, "at_utc": own.destroyed}
            for own in tables.artefacts(connection, DESTROYED)
            if own.replaced_by == kept.id
        ]
        # A later request may have shortened the retention.
        retention = {**kept.evidence["retention"], "destroyed_after_utc": kept.retain_until}
        body = {**kept.evidence, "retention": retention, "destroyed": gone}
        with registry.committing(connection):
            row = registry.record(connection, "certified", {"request": kept.id, "destroyed": len(gone)})
        return certificate.certify(
            body,
            registry.signer,
            folder,
            ledger=export_ledger(connection, row.seq),
            evidence={"evidence": kept.evidence},
            replace=True,
        )
