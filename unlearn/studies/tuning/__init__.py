"""What lowers the operating cost of a forecaster after it forgot: tunings from what remains, re-weighting, training."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.tuning.audit import audit_records
    from unlearn.studies.tuning.audit_options import TuningAuditOptions
    from unlearn.studies.tuning.cells import Cell, cells_of
    from unlearn.studies.tuning.measure import Deletion
    from unlearn.studies.tuning.options import PARTS, SourceYears, TuningOptions
    from unlearn.studies.tuning.run import measure_cell
    from unlearn.studies.tuning.verdict import dominated, recommended, summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    "Cell", "Deletion", "PARTS", "SourceYears", "TuningAuditOptions", "TuningOptions", "audit_records", "cells_of",
    "dominated", "measure_cell", "recommended", "summarise",
]  # fmt: skip
