"""Evidence that a deletion happened: attacks on forecasters before and after unlearning."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.deletion.measure import PARTS, Audit
    from unlearn.studies.deletion.options import AuditOptions
    from unlearn.studies.deletion.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["Audit", "AuditOptions", "PARTS", "summarise"]
