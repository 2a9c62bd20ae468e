"""Typed schema of the audit of a deletion."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class UnlearningAuditConfig:
    """What `unlearning_audit` measures; see `unlearn.studies.deletion.AuditOptions`.

    Budgets are `unlearning.l1_budgets`.
    """

    pairs: int = MISSING
    pair_share: float = MISSING
    shadows: int = MISSING
    attacked_rows: int = MISSING
    targets: int = MISSING
    criteria: list[str] = MISSING
    fprs: list[float] = MISSING
    row_fprs: list[float] = MISSING
    folder: str = MISSING
