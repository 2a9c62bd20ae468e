"""Parts of an audit, each measured once: an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import unlearn
from experiments.build import build_study
from experiments.schema import Config
from unlearn.records import COLUMNS, config_hash, kept_table, provenance, source_fingerprint
from unlearn.studies.deletion.measure import PARTS, Audit
from unlearn.studies.deletion.options import AuditOptions

log = logging.getLogger(__name__)

#: Rooms of the library whose source the records depend on.
MEASURING = ("data", "grid", "linalg", "forecasters", "influence", "unlearning", "attacks", "studies")


def audit_options(config: Config) -> AuditOptions:
    """The library's options of the configured audit."""
    own = {name: value for name, value in asdict(config.unlearning_audit).items() if name != "folder"}
    own |= {name: tuple(own[name]) for name in ("criteria", "fprs", "row_fprs")}
    return AuditOptions(**own, l1_budgets=tuple(config.unlearning.l1_budgets))


def audited(config: Config) -> pd.DataFrame:
    """Records of all parts of the configured audit; those that were measured before are read."""
    options = audit_options(config)  # refused before anything is fitted
    audit = Audit(build_study(config), config.unlearning.share, options)
    key = {**_key(audit), "grid": asdict(config.grid)}
    tables = []
    for part in PARTS:
        file = Path(config.unlearning_audit.folder) / f"{part}-{config_hash({**key, 'part': part})}.parquet"

        def measure(part: str = part, file: Path = file) -> pd.DataFrame:
            start = time.perf_counter()
            found = audit.records(part)
            log.info("%s measured in %.1f s, kept in %s", part, time.perf_counter() - start, file)
            return found

        tables.append(kept_table(file, measure))
    records = pd.concat([table.dropna(axis="columns", how="all") for table in tables], ignore_index=True)
    return records.reindex(columns=[*COLUMNS, *(column for column in records if column not in COLUMNS)])


def _key(audit: Audit) -> dict[str, Any]:
    """Everything that an audit's records depend on."""
    study, library = audit.study, Path(unlearn.__file__).parent
    return {
        "options": asdict(audit.options),
        "model": hashlib.sha256(study.model.theta.numpy().tobytes()).hexdigest(),
        "data": study.dataset.fingerprint,
        "case": study.cost.case.fingerprint,
        "rows": hashlib.sha256(audit.rows.tobytes()).hexdigest(),
        "study": [study.protocol, study.selection_label, study.hours, study.linf_budget, study.seed, str(study.ihvp)],
        "versions": provenance()["versions"],
        "sources": {room: source_fingerprint(library / room) for room in MEASURING},
    }
