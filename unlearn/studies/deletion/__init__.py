"""Evidence that a deletion happened: attacks on forecasters before and after unlearning."""

from unlearn.studies.deletion.measure import PARTS, Audit
from unlearn.studies.deletion.options import AuditOptions
from unlearn.studies.deletion.verdict import summarise_deletion

__all__ = ["Audit", "AuditOptions", "PARTS", "summarise_deletion"]
